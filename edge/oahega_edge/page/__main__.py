"""Serves the page: `python -m oahega_edge.page`. The verb `page` starts it with the device's settings."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oahega_edge.child import forbid_dumps
from oahega_edge.control.client import Refused, ask
from oahega_edge.errors import EdgeError
from oahega_edge.text import read_text

LARGEST_TOKEN = 4096
"""Bytes of its file, as of other passwords."""
BACKLOG = 32
"""Connections that wait to be accepted. A flood of uvicorn's 2048 would be accepted before any is read."""


def main() -> None:
    """Until SIGTERM. This process imports no model and no camera."""
    import uvicorn

    from oahega_edge.page.access import access_for
    from oahega_edge.page.app import make_app
    from oahega_edge.page.connections import MOST_CONNECTIONS, BoundedConnection
    from oahega_edge.page.hub import Hub
    from oahega_edge.page.requests import Declined

    forbid_dumps()
    options = _options()
    logging.basicConfig(level="INFO", format="%(message)s")
    token = read_text(options.token_file, LARGEST_TOKEN).strip() if options.token_file else None

    def tell(request: str, value: object = None) -> Mapping[str, Any]:
        try:
            return ask(options.control, request, value)
        except Refused as error:
            raise Declined(str(error), error.reason) from error
        except EdgeError as error:
            raise OSError(str(error)) from error

    app = make_app(
        Hub(options.feed),
        access_for(options.host, options.name, token),
        notice=options.notice,
        tell=tell,
        folder=options.folder,
        samples=options.samples,
        tuning=options.tuning,
    )
    uvicorn.run(
        app,
        host=options.host,
        port=options.port,
        loop="asyncio",
        http=BoundedConnection,
        ws="none",
        log_level="error",  # its warnings are one line for each malformed request of anybody
        backlog=BACKLOG,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS + 1,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=1,
        h11_max_incomplete_event_size=16384,
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m oahega_edge.page", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--name", action="append", default=[], help="a further name of the host")
    parser.add_argument("--feed", type=Path, required=True, help="the daemon's feed socket")
    parser.add_argument("--control", type=Path, required=True, help="the daemon's control socket")
    parser.add_argument("--token-file", type=Path)
    parser.add_argument("--notice", default="", help="the operator's own words to visitors")
    parser.add_argument("--folder", type=Path, help="pages of the operator's own, served below /own/")
    parser.add_argument("--samples", action="store_true", help="ask visitors for samples")
    parser.add_argument("--tuning", action="store_true", help="let who has the token ask for expressions")
    return parser.parse_args()


if __name__ == "__main__":
    main()

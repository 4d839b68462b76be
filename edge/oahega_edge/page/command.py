"""The command line of the page's process, from the device's settings."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

from oahega_edge.control.folders import SOCKET, daemon_folder
from oahega_edge.errors import EdgeError, SettingsError
from oahega_edge.feed.socket import NAME as FEED
from oahega_edge.page.access import SHORTEST_TOKEN, is_loopback
from oahega_edge.samples.consent import ASKED
from oahega_edge.service.settings import Settings, read_password


def page_command(settings: Settings, environment: Mapping[str, str], instance: str | None) -> list[str]:
    """SettingsError when the page is off, or open to others without a token."""
    page = settings.page
    if not page.port:
        raise SettingsError("page.port = 0: the page is off; set a port, e.g. 8321, and restart the daemon")
    if importlib.util.find_spec("uvicorn") is None or importlib.util.find_spec("starlette") is None:
        raise EdgeError("the page needs starlette and uvicorn: pip install 'oahega-edge[page]'")
    token = _token_file(settings, environment)
    if token is None and not is_loopback(page.host):
        raise SettingsError(
            f"page.host = {page.host!r}: others can reach this address; name a file with a token in "
            "page.token_file, or set page.host to 127.0.0.1"
        )
    control = daemon_folder(environment, settings.device.name, instance) / SOCKET
    command = [sys.executable, "-m", "oahega_edge.page", f"--host={page.host}", f"--port={page.port}"]
    command += [f"--control={control}", f"--feed={control.with_name(FEED)}", f"--notice={page.notice}"]
    device = settings.device.name
    command += [f"--name={name}" for name in (device, f"{device}.local", *page.names)]
    if page.folder:
        if not Path(page.folder).is_dir():
            raise SettingsError(f"page.folder = {page.folder!r}: is no folder; name one, or leave it empty")
        command.append(f"--folder={page.folder}")
    if settings.samples.consent == ASKED:
        command.append("--samples")
    if token is None:
        return command
    command.append(f"--token-file={token}")
    return command if settings.trigger.min_group else [*command, "--tuning"]


def _token_file(settings: Settings, environment: Mapping[str, str]) -> Path | None:
    """The file that the settings name, else systemd's credential; checked for its length."""
    named = settings.page.token_file
    credentials = environment.get("CREDENTIALS_DIRECTORY", "")
    file = Path(named) if named else Path(credentials) / "page-token" if credentials else None
    if file is None or (not named and not file.exists()):
        return None
    if len(read_password(file, "page.token_file").get_secret_value().strip()) < SHORTEST_TOKEN:
        raise SettingsError(
            f"page.token_file = {str(file)!r}: holds fewer than {SHORTEST_TOKEN} characters; "
            "make a token with `openssl rand -hex 16`"
        )
    return file

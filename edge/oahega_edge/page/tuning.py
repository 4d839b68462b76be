"""People are asked for expressions, so that the answers are fitted to this place. Nothing is kept here.

Every request brings the page's token again: a browser that hangs beside visitors has the cookie.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from oahega_edge.page.access import WRONG_TOKEN_PAUSE, Access
from oahega_edge.page.requests import Tell, answered, body_of, json_object

DEEDS = {
    "status": "tune",
    "face": "tune-face",
    "stop": "tune-stop",
    "fit": "tune-fit",
    "undo": "tune-undo",
    "forget": "tune-forget",
}
"""What a browser may ask below `/tune/`, and the daemon's name for it."""


def tuning_routes(tell: Tell, access: Access) -> list[BaseRoute]:
    """For a page that has a token."""

    def route(request: str) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        async def handle(asked: Request) -> Response:
            given = json_object(await body_of(asked))
            if not access.is_token(str(given.get("token", ""))):
                await asyncio.sleep(WRONG_TOKEN_PAUSE)
                return PlainTextResponse("wrong token\n", 403)
            return await answered(tell, request, {"label": given.get("label")})

        return handle

    return [Route(f"/tune/{path}", route(request), methods=["POST"]) for path, request in DEEDS.items()]

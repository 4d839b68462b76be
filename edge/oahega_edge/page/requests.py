"""What browsers ask, read within bounds, and what is handed on to the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

LONGEST_BODY = 4096
"""Bytes of a request."""

_WAITING = ThreadPoolExecutor(4, thread_name_prefix="answers")
"""For what the daemon takes seconds to answer, however often it is asked: a mute does not stand in line."""

Tell = Callable[[str, object], Mapping[str, Any]]
"""Hands a request with its value to the daemon and returns the answer. It may block, and raises Declined when
the daemon says no, OSError when nobody is there."""


class Declined(ValueError):
    """The daemon says no, and why."""

    def __init__(self, sentence: str, reason: str | None = None) -> None:
        """`reason`: one word by which the page finds its own sentence."""
        super().__init__(sentence)
        self.reason = reason


async def told(tell: Tell, request: str, value: object = None) -> Response:
    """The answer to a request whose result nobody reads."""
    try:
        await asyncio.to_thread(tell, request, value)
    except Declined as error:
        return PlainTextResponse(f"{error}\n", 400)
    except OSError:
        return away()
    return Response(status_code=204)


async def answered(tell: Tell, request: str, value: object = None) -> Response:
    """The answer to a request as JSON; where the daemon says no, its word for the reason."""
    try:
        answer = await asyncio.get_running_loop().run_in_executor(_WAITING, tell, request, value)
        return JSONResponse(dict(answer))
    except Declined as error:
        return JSONResponse({"reason": error.reason}, 409)
    except OSError:
        return away()


def away() -> Response:
    """The answer while nobody is there."""
    return PlainTextResponse("the daemon does not answer; is oahega-edge running?\n", 503)


async def body_of(request: Request) -> bytes:
    """The body, or nothing when it is too long or the browser leaves before its end."""
    body = b""
    with contextlib.suppress(ClientDisconnect):
        async for part in request.stream():
            body += part
            if len(body) > LONGEST_BODY:
                break
        else:
            return body
    return b""


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object, or an empty one when it is none."""
    with contextlib.suppress(ValueError, RecursionError):
        read = json.loads(body)
        if isinstance(read, dict):
            return read
    return {}

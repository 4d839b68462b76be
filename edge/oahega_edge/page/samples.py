"""A visitor gives a sample: a press, the crop, a label, a code. Nothing of it is kept in this process.

Only a browser on the device itself may press, because somebody elsewhere would see people who did not ask
to be seen. A sample is withdrawn from wherever the page is shown.
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from oahega_edge.page.access import Access
from oahega_edge.page.requests import Tell, answered, body_of, json_object

WRONG_CODE_PAUSE = 0.5
"""Seconds, so that codes cannot be guessed."""


def sample_routes(tell: Tell, access: Access) -> list[BaseRoute]:
    """For a page whose visitors are asked."""

    def is_here(request: Request) -> bool:
        client = request.client.host if request.client else ""
        return access.may_see_picture(client, request.headers["host"], request.headers.keys())

    async def press(request: Request) -> Response:
        return await answered(tell, "sample") if is_here(request) else _elsewhere()

    async def keep(request: Request) -> Response:
        given = json_object(await body_of(request))
        if not is_here(request):
            return _elsewhere()
        return await answered(tell, "sample-keep", {"token": given.get("token"), "label": given.get("label")})

    async def discard(request: Request) -> Response:
        given = json_object(await body_of(request))
        return (
            await answered(tell, "sample-discard", {"token": given.get("token")})
            if is_here(request)
            else _elsewhere()
        )

    async def withdraw(request: Request) -> Response:
        given = json_object(await body_of(request))
        answer = await answered(tell, "samples-withdraw", {"code": given.get("code")})
        if answer.status_code == 409:
            await asyncio.sleep(WRONG_CODE_PAUSE)
        return answer

    return [
        Route("/sample", press, methods=["POST"]),
        Route("/sample/keep", keep, methods=["POST"]),
        Route("/sample/discard", discard, methods=["POST"]),
        Route("/sample/withdraw", withdraw, methods=["POST"]),
    ]


def _elsewhere() -> Response:
    return PlainTextResponse("people are asked on the device itself only\n", 403)

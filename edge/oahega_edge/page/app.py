"""The HTTP side of the page: what is served, and what may be asked."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oahega_edge.page.access import SECURITY, WRONG_TOKEN_PAUSE, Access
from oahega_edge.page.hub import MOST_STREAMS, Hub, TooManyStreams
from oahega_edge.page.requests import Tell, away, body_of, json_object, told
from oahega_edge.page.samples import sample_routes
from oahega_edge.page.texts import STATIC, chosen, filled
from oahega_edge.page.tuning import tuning_routes

KINDS = {".css": "text/css", ".svg": "image/svg+xml", ".js": "text/javascript", ".ts": "text/plain"}
EXPECTED = 'expected {"trigger.threshold": 0 to 1, "smoothing.frames": 1 to 1000}, or one of them\n'
OPEN_PATHS = ("/enter", "/page.css", "/icon.svg")
"""What a browser without the cookie may have."""


class Guard:
    """Checks every request before it reaches the page, and adds the security headers to every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope, Headers(scope=scope))

        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY)
            await send(message)

        await (refusal or self._app)(scope, receive, secured)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._access.knows_host(hosts[0]):
            return PlainTextResponse("unknown host; add it to page.names\n", 421)
        if scope["method"] == "POST" and not self._access.is_own(headers.get("origin"), hosts[0]):
            return PlainTextResponse("the request does not come from this page\n", 403)
        if scope["path"] in OPEN_PATHS or self._access.is_known(headers.get("cookie", "")):
            return None
        if scope["path"] == "/":
            return RedirectResponse("/enter", 303)
        return PlainTextResponse("open / and enter the token\n", 401)


def make_app(
    hub: Hub,
    access: Access,
    *,
    notice: str,
    tell: Tell,
    folder: Path | None = None,
    samples: bool = False,
    tuning: bool = False,
) -> ASGIApp:
    """The page. `notice`: the operator's own words to visitors; `tell` hands a request to the daemon;
    `folder`: pages of the operator's own, served below /own/; `samples`: whether visitors are asked for them;
    `tuning`: whether whoever has the token may ask people for expressions.
    """

    async def show(request: Request) -> Response:
        return _page(request, "page.html", notice=notice, tuning="yes" if tuning else "")

    async def tune(request: Request) -> Response:
        return _page(request, "tune.html")

    async def enter(request: Request) -> Response:
        if request.method == "GET":
            return _page(request, "enter.html")
        form = parse_qs((await body_of(request)).decode("utf-8", "replace"))
        if not access.is_token(form.get("token", [""])[0].strip()):
            await asyncio.sleep(WRONG_TOKEN_PAUSE)
            return PlainTextResponse("wrong token\n", 403)
        secure = request.url.scheme == "https"
        return RedirectResponse("/", 303, headers={"Set-Cookie": access.cookie(secure=secure)})

    async def picture(request: Request) -> Response:
        client = request.client.host if request.client else ""
        headers = request.headers
        if not access.may_see_picture(client, headers["host"], headers.keys()):
            return PlainTextResponse("the picture is shown on the device itself only\n", 403)
        if hub.picture is None:
            return PlainTextResponse("no picture; run `oahega-edge mount` on the device\n", 404)
        return Response(hub.picture, media_type="image/jpeg")

    async def events(request: Request) -> Response:
        stream = hub.stream()
        try:
            first = await anext(stream)
        except TooManyStreams:
            return PlainTextResponse(f"{MOST_STREAMS} browsers are served already\n", 503)
        return StreamingResponse(
            _with_first(first, stream), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
        )

    async def change(request: Request) -> Response:
        wanted = _settings(await body_of(request))
        if wanted is None:
            return PlainTextResponse(EXPECTED, 400)
        return Response(status_code=202) if hub.ask({"set": wanted}) else away()

    async def mute(request: Request) -> Response:
        return await told(tell, "mute")

    async def unmute(request: Request) -> Response:
        return await told(tell, "unmute")

    async def showing(request: Request) -> Response:
        body = json_object(await body_of(request))
        if set(body) != {"content"}:
            return PlainTextResponse('expected {"content": "poster-7"}\n', 400)
        return await told(tell, "showing", body["content"])

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        listening = asyncio.create_task(hub.run())
        yield
        listening.cancel()
        hub.close()

    routes: list[BaseRoute] = [
        *(sample_routes(tell, access) if samples else ()),
        *((Route("/tune", tune), *tuning_routes(tell, access)) if tuning else ()),
        Route("/", show),
        Route("/enter", enter, methods=["GET", "POST"]),
        Route("/events", events),
        Route("/picture", picture),
        Route("/set", change, methods=["POST"]),
        Route("/mute", mute, methods=["POST"]),
        Route("/unmute", unmute, methods=["POST"]),
        Route("/showing", showing, methods=["POST"]),
        *(
            Route(f"/{file.name}", _static(file.read_bytes(), KINDS[file.suffix]))
            for file in sorted(STATIC.iterdir())
            if file.suffix in KINDS
        ),
    ]
    if folder is not None:
        routes.append(Mount("/own", StaticFiles(directory=folder, html=True)))
    return Guard(Starlette(routes=routes, lifespan=lifespan), access)


def _page(request: Request, name: str, **values: str) -> Response:
    language = chosen(request.query_params.get("lang"), request.headers.get("accept-language", ""))
    template = (STATIC / name).read_text(encoding="utf-8")
    return Response(
        filled(template, language, values),
        media_type="text/html",
        headers={"Content-Language": language, "Vary": "Accept-Language"},
    )


def _static(content: bytes, kind: str) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    return answer


def _settings(body: bytes) -> dict[str, float] | None:
    """The two settings, if nothing else is asked for; the daemon checks them again."""
    wanted = json_object(body)
    if not wanted or set(wanted) - {"trigger.threshold", "smoothing.frames"}:
        return None
    threshold, frames = wanted.get("trigger.threshold", 0.5), wanted.get("smoothing.frames", 1)
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
        return None
    if type(frames) is not int or not 1 <= frames <= 1000:
        return None
    return {key: float(value) if key == "trigger.threshold" else value for key, value in wanted.items()}


async def _with_first(first: str, rest: AsyncGenerator[str, None]) -> AsyncIterator[str]:
    yield first
    async with contextlib.aclosing(rest):  # a browser that leaves makes room at once
        async for message in rest:
            yield message

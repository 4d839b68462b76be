"""A page on the operator's machine to look at opened samples: confirm, correct, throw away.

It is guarded as the device's page is: loopback only, a token in a cookie, changes from the page itself only.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from oahega_build.errors import BuildError
from oahega_build.samples.book import Book, Entry
from oahega_build.samples.suspicion import Suspect
from oahega_edge.files import read_file
from oahega_edge.page.access import Access, access_for
from oahega_edge.page.app import KINDS, Guard
from oahega_edge.page.requests import body_of, json_object
from oahega_edge.page.texts import STATIC as PAGE_STATIC
from oahega_edge.samples.sealed import LARGEST

HOST = "127.0.0.1"
STATIC = Path(__file__).parent / "static"
THROWN = "thrown-away"
"""What the page says instead of a label."""


def new_access() -> Access:
    """The rules of a page with a token of its own, so that no other user of the machine sees the pictures."""
    return access_for(HOST, (), secrets.token_urlsafe(24))


def address(access: Access, port: int) -> str:
    """Where a browser is let in."""
    return f"http://{HOST}:{port}/enter?token={access.token}"


def listening(port: int) -> socket.socket:
    """Where browsers come; BuildError when the port is taken."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise BuildError(f"--port {port}: cannot be used ({error.strerror}); name another one") from error


def serve(page: ASGIApp, door: socket.socket) -> None:
    """Until Ctrl-C."""
    try:
        import uvicorn
    except ImportError as error:
        raise BuildError(f"`review` needs uvicorn ({error}): pip install 'oahega-edge[page]'") from error
    uvicorn.Server(uvicorn.Config(page, log_level="error", access_log=False)).run(sockets=[door])


def review_app(book: Book, suspects: Sequence[Suspect], labels: Sequence[str], access: Access) -> ASGIApp:
    """The page. `labels`: those that may be chosen."""

    async def enter(request: Request) -> Response:
        if not access.is_token(request.query_params.get("token", "")):
            return PlainTextResponse("open the address that `review` printed\n", 403)
        return RedirectResponse("/", 303, headers={"Set-Cookie": access.cookie(secure=False)})

    async def listed(request: Request) -> Response:
        present = book.present
        rows = [_row(one, present[one.name]) for one in suspects if one.name in present]
        return JSONResponse({"labels": list(labels), "thrown": THROWN, "samples": rows})

    async def picture(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in book.present:
            return PlainTextResponse("no such sample\n", 404)
        return Response(read_file(book.picture(name), LARGEST), media_type="image/png")

    async def judge(request: Request) -> Response:
        given = json_object(await body_of(request))
        name, label = given.get("name"), given.get("label")
        if not isinstance(name, str) or name not in book.present:
            return PlainTextResponse("no such sample\n", 404)
        if label not in (*labels, THROWN):
            return PlainTextResponse(f"expected one of {', '.join(labels)}, {THROWN}\n", 400)
        book.judge(name, None if label == THROWN else label)
        return Response(status_code=204)

    routes: list[BaseRoute] = [
        Route("/", _file(STATIC / "review.html", "text/html")),
        Route("/icon.svg", _file(PAGE_STATIC / "icon.svg", KINDS[".svg"])),
        Route("/enter", enter),
        Route("/samples", listed),
        Route("/picture/{name}", picture),
        Route("/judge", judge, methods=["POST"]),
        *(
            Route(f"/{file.name}", _file(file, KINDS[file.suffix]))
            for file in sorted(STATIC.iterdir())
            if file.suffix in KINDS
        ),
    ]
    return Guard(Starlette(routes=routes), access)


def _row(one: Suspect, entry: Entry) -> dict[str, Any]:
    return {
        "name": one.name,
        "label": entry.label,
        "told": entry.told,
        "answer": one.answer,
        "confidence": round(one.confidence, 3),
        "doubt": round(one.doubt, 3),
        "reviewed": entry.reviewed,
        "day": entry.day,
        "device": entry.device,
    }


def _file(path: Path, kind: str) -> Callable[[Request], Any]:
    content = path.read_bytes()

    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    return answer

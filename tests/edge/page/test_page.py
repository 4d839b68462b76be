"""The page over HTTP: what it serves, what it refuses, and that nothing disturbs it."""

from __future__ import annotations

import base64
import json
import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from oahega_edge.page.access import access_for
from oahega_edge.page.connections import MOST_CONNECTIONS
from oahega_edge.page.hub import MOST_STREAMS
from oahega_edge.page.texts import STATIC, TEXTS, chosen, languages
from oahega_edge.page.tuning import DEEDS
from page.served import Served, served
from waiting import PATIENCE, wait_until

TOKEN = "0123456789abcdef"
WHOLE = b"POST /mute HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A page that asks for a token."""
    folder = tmp_path_factory.mktemp("closed")
    (folder / "token").write_text(TOKEN + "\n")
    with served(folder, f"--token-file={folder / 'token'}") as running:
        yield running


def stream_of(page: Served, **headers: str) -> Iterator[tuple[str, Any]]:
    """(name, data) of the stream's messages."""
    answer = page.request("GET", "/events", **headers)
    name = ""
    while line := answer.readline().decode().rstrip():
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])
            answer.readline()


def until(messages: Iterator[tuple[str, Any]], last: str) -> Iterator[tuple[str, Any]]:
    for name, data in messages:
        yield name, data
        if name == last:
            return


def test_a_browser_is_told_what_holds_and_what_happens(page: Served) -> None:
    page.seen(emotion="happy")
    messages = stream_of(page)
    first = dict(until(messages, "history"))
    wait_until(lambda: page.feed.send("event", '{"emotion":"sad","phase":"new"}') is None)

    told = next(data for name, data in messages if name == "event")

    assert first["connection"] == {"daemon": True}
    assert first["info"]["labels"]
    assert told == {"emotion": "sad", "phase": "new"}


def test_every_answer_forbids_what_is_foreign(page: Served) -> None:
    for path in ("/", "/page.css", "/page.js", "/oahega.js", "/oahega.d.ts", "/nowhere"):
        answer = page.request("GET", path)

        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe" not in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.status == (404 if path == "/nowhere" else 200)


def test_without_tuning_there_is_no_such_page(closed: Served) -> None:
    cookie = access_for("127.0.0.1", (), TOKEN).cookie(secure=False).split(";")[0]

    assert closed.request("GET", "/tune", Cookie=cookie).status == 404
    for path in DEEDS:
        assert closed.post(f"/tune/{path}", {"token": TOKEN}, Cookie=cookie).status == 404


def test_nothing_in_the_files_names_another_host() -> None:
    for file in STATIC.iterdir():
        links = re.findall(r"https?://[\w./]+", file.read_text(encoding="utf-8"))

        assert set(links) <= {"http://www.w3.org/2000/svg"}, file


@pytest.mark.parametrize(
    "host", ["evil.example.org", "127.0.0.1.evil.example.org", "", "localhost@evil.org", "[::1"]
)
def test_an_unknown_host_is_refused(page: Served, host: str) -> None:
    assert page.request("GET", "/", Host=host).status in (400, 421)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:80"])
def test_the_names_of_the_loopback_are_known(page: Served, host: str) -> None:
    assert page.request("GET", "/", Host=host).status == 200


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "http://evil.example.org",
        "http://127.0.0.1:1",
        "http://127.0.0.1",
        "file://",
        "http://[",
    ],
)
def test_a_change_from_elsewhere_is_refused(page: Served, origin: str | None) -> None:
    headers = {} if origin is None else {"Origin": origin}

    for path in ("/mute", "/unmute", "/set", "/showing"):
        assert page.request("POST", path, {"smoothing.frames": 1}, **headers).status == 403
    assert page.asked == []


def test_mute_reaches_the_daemon(page: Served) -> None:
    assert page.post("/mute").status == 204
    assert page.post("/unmute").status == 204

    assert page.asked == ["mute", "unmute"]
    page.asked.clear()


def test_what_the_screen_shows_reaches_the_daemon(page: Served) -> None:
    assert page.post("/showing", {"content": "poster-7"}).status == 204
    assert page.post("/showing", {"content": ""}).status == 204
    assert page.post("/showing", {"content": None}).status == 204

    assert page.asked == ["showing poster-7", "showing ", "showing"]
    page.asked.clear()


@pytest.mark.parametrize(
    "body", ["{}", "[]", "nonsense", '"poster-7"', '{"content": "x", "more": 1}', "x" * 5000]
)
def test_what_says_no_content_is_refused(page: Served, body: str) -> None:
    assert page.post("/showing", body).status == 400
    assert page.asked == []


def test_what_the_daemon_refuses_is_said(page: Served) -> None:
    answer = page.post("/showing", {"content": "what no daemon takes"})

    assert answer.status == 400
    assert "expected a name" in answer.text  # type: ignore[attr-defined]


def test_a_get_changes_nothing(page: Served) -> None:
    for path in ("/mute", "/unmute", "/set", "/showing"):
        assert page.request("GET", path).status == 405


def test_the_two_settings_reach_the_daemon(page: Served) -> None:
    assert page.post("/set", {"trigger.threshold": 0.7, "smoothing.frames": 9}).status == 202

    (request,) = wait_until(page.feed.requests)
    assert request == {"set": {"trigger.threshold": 0.7, "smoothing.frames": 9}}


@pytest.mark.parametrize(
    "body",
    [
        "{}",
        "nonsense",
        "[]",
        "7",
        '{"trigger.threshold": 2}',
        '{"trigger.threshold": NaN}',
        '{"trigger.threshold": true}',
        '{"smoothing.frames": 0}',
        '{"smoothing.frames": 1.5}',
        '{"camera.source": "0"}',
        "[" * 3000,
        '{"trigger.threshold": 0.5, "padding": "' + "x" * 5000 + '"}',
    ],
)
def test_other_settings_are_refused(page: Served, body: str) -> None:
    assert page.post("/set", body).status == 400
    assert page.feed.requests() == []


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/../../etc/passwd",
            "/..%2f..%2fetc/passwd",
            "/%2e%2e/app.py",
            "//etc/passwd",
            "/events/../app.py",
        ),
        *("/static/page.html", "/page.html", "/page.js%00.css", "/texts/en.json", "/?lang=../../etc"),
    ],
)
def test_no_path_leads_out_of_the_page(page: Served, path: str) -> None:
    answer = page.request("GET", path)

    assert answer.status in (200, 400, 404)
    assert "root:" not in answer.text
    assert "import" not in answer.text.partition("</head>")[2]


def test_own_pages_are_served_and_nothing_beside_them(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "index.html").write_text("mine")
    (tmp_path / "secret").write_text("secret")
    (own / "link").symlink_to(tmp_path / "secret")
    with served(tmp_path, f"--folder={own}") as page:
        assert page.request("GET", "/own/").text == "mine"
        for path in ("/own/../secret", "/own/%2e%2e/secret", "/own/link", "/own//etc/passwd", "/own/%00"):
            assert page.request("GET", path).status in (400, 404)


def test_the_picture_is_shown_on_the_device_itself_only_and_not_after_a_mute(page: Served) -> None:
    def mounted() -> bool:
        page.feed.send("picture", json.dumps(base64.b64encode(b"a picture").decode()))
        return page.request("GET", "/picture").status == 200

    assert page.request("GET", "/picture").status == 404
    wait_until(mounted)
    for elsewhere in ({"X-Forwarded-For": "192.0.2.1"}, {"Forwarded": "for=192.0.2.1"}, {"Via": "1.1 proxy"}):
        assert page.request("GET", "/picture", **elsewhere).status == 403
    page.feed.send("picture", json.dumps(base64.b64encode(b"a picture").decode()))
    page.seen(camera="muted", muted=True)
    wait_until(lambda: page.request("GET", "/picture").status == 404)
    wait_until(mounted)
    wait_until(lambda: page.request("GET", "/picture").status == 404)  # no newer one came


@pytest.mark.parametrize(
    ("client", "host"),
    [
        *(
            ("192.0.2.1", "127.0.0.1"),
            ("", "localhost"),
            ("::ffff:192.0.2.1", "localhost"),
            ("fe80::1", "::1"),
        ),
        *(("127.0.0.1", "kiosk-1"), ("127.0.0.1", "127.0.0.1.evil.example.org"), ("127.0.0.1", "[")),
    ],
)
def test_elsewhere_is_no_picture(client: str, host: str) -> None:
    access = access_for("0.0.0.0", ["kiosk-1"], TOKEN)

    assert not access.may_see_picture(client, host, ())
    assert access.may_see_picture("127.0.0.1", "localhost:8321", ("accept",))


@pytest.mark.parametrize("text", ["", "\ud800", f"{TOKEN}\udfff", "\0", "é" * 9, TOKEN[:-1]])
def test_what_is_not_the_token_is_wrong_whatever_it_is(text: str) -> None:
    assert not access_for("0.0.0.0", (), TOKEN).is_token(text)


def test_malformed_requests_change_nothing(page: Served) -> None:
    noise = random.Random(7)
    for _ in range(300):
        request = bytearray(WHOLE)
        for _ in range(noise.randrange(1, 9)):
            request[noise.randrange(len(request))] = noise.randrange(256)
        with socket.create_connection(("127.0.0.1", page.port), timeout=PATIENCE) as connection:
            connection.sendall(bytes(request[: noise.randrange(len(request) + 1)]))

    assert page.request("GET", "/").status == 200
    assert page.asked == []


@pytest.mark.lengthy
@pytest.mark.parametrize("sent", [b"", WHOLE[:20], WHOLE[:-1], WHOLE.replace(b"Length: 2", b"Length: 9")])
def test_connections_that_send_no_whole_request_keep_nobody_out(page: Served, sent: bytes) -> None:
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", page.port), timeout=PATIENCE))
            for _ in range(MOST_CONNECTIONS + 50)
        ]
        for connection in silent:
            with suppress(ConnectionError):  # it made room already
                connection.sendall(sent)

        assert page.request("GET", "/").status == 200
    assert page.asked == []


@pytest.mark.lengthy
def test_a_connection_that_sends_no_whole_request_is_closed(page: Served) -> None:
    """Also after a whole one, and with a body that does not come."""
    parts = [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET", WHOLE[:-1]]
    with ExitStack() as stack:
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", page.port), timeout=PATIENCE))
            for _ in parts
        ]
        for connection, part in zip(silent, parts, strict=True):
            connection.sendall(part)

        for connection in silent:
            with suppress(ConnectionResetError):
                while connection.recv(65536):
                    pass  # until the page closes it; else the socket's timeout ends the test


def test_browsers_that_do_not_read_and_many_that_do_are_served(page: Served) -> None:
    lazy = [page.request("GET", "/events") for _ in range(5)]
    keen = [stream_of(page) for _ in range(45)]
    for stream in keen:
        assert next(stream) == ("connection", {"daemon": True})
    for number in range(100):
        page.feed.send("event", json.dumps({"number": number, "padding": "x" * 20_000}))
        for stream in keen if number % 10 == 0 else keen[:1]:
            assert any(data.get("number") == number for name, data in stream if name == "event")

    for answer in lazy:
        answer.close()
    page.leave()


def test_browsers_that_leave_make_room(page: Served) -> None:
    def is_served() -> bool:
        told = next(stream_of(page), None)
        page.leave()
        return told == ("connection", {"daemon": True})

    for _ in range(2 * MOST_STREAMS):
        wait_until(is_served)


def test_without_the_token_there_is_only_the_door(closed: Served) -> None:
    for path in ("/events", "/page.js", "/oahega.js", "/nowhere"):
        assert closed.request("GET", path).status == 401
    assert closed.post("/mute").status == 401
    assert closed.request("GET", "/").headers["Location"] == "/enter"
    assert "password" in closed.request("GET", "/enter").text
    assert closed.asked == []


def test_the_token_is_exchanged_for_a_cookie(closed: Served) -> None:
    answer = closed.post("/enter", f"token={TOKEN}")
    cookie = answer.headers["Set-Cookie"]

    assert answer.status == 303
    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    assert closed.request("GET", "/", Cookie=cookie.split(";")[0]).status == 200


@pytest.mark.parametrize(
    "body", ["token=wrong", "token=", "", f"token={TOKEN}x", f"x={TOKEN}", "token=%ff%00", "x" * 9000]
)
def test_a_wrong_token_opens_nothing(closed: Served, body: str) -> None:
    answer = closed.post("/enter", body)

    assert answer.status == 403
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "cookie", ["oahega-page=", f"oahega-page={TOKEN}", "oahega-page=\u00e9", "a=b; ;;=", "x" * 8000]
)
def test_a_wrong_cookie_opens_nothing(closed: Served, cookie: str) -> None:
    assert closed.request("GET", "/events", Cookie=cookie).status in (400, 401)


def test_the_process_loads_no_model_no_camera_and_no_settings(tmp_path: Path) -> None:
    script = (
        "import sys, uvicorn, oahega_edge.page.app, oahega_edge.page.hub, oahega_edge.page.__main__;"
        "print({*sys.modules} & {'numpy', 'cv2', 'pydantic', 'typer', 'paho', 'ai_edge_litert'})"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
    with served(tmp_path) as fresh:
        pages = int(Path(f"/proc/{fresh.process.pid}/statm").read_text().split()[1])
    assert pages * os.sysconf("SC_PAGE_SIZE") < 55 * 2**20


def test_every_language_has_every_text() -> None:
    used = {key for file in STATIC.glob("*.html") for key in re.findall(r"\{\{(\w+)\}\}", file.read_text())}

    assert len(list(TEXTS.iterdir())) == 3
    for texts in languages().values():
        assert set(texts) == set(languages()["en"])
        assert used - {"language", "texts", "notice", "tuning"} <= set(texts)
        assert all(texts.values())


def test_the_language_is_the_chosen_one_or_the_browsers() -> None:
    assert chosen("uk", "de") == "uk"
    assert chosen(None, "fr-FR, de-AT;q=0.8, en;q=0.5") == "de"
    assert chosen("xx", "") == "en"

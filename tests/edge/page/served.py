"""The page as a process, beside a feed that the test plays the daemon with."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from brokers import free_port
from edge.mqtt_samples import health, info, state
from oahega_edge.control.server import ControlServer
from oahega_edge.feed.socket import FeedSocket
from waiting import PATIENCE, wait_until

Answer = http.client.HTTPResponse


@dataclass
class Served:
    """A running page and the daemon that the test plays."""

    port: int
    feed: FeedSocket
    asked: list[str]
    """Requests at the control socket."""
    process: subprocess.Popen[bytes]
    streams: list[http.client.HTTPConnection] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """One request with its own connection; the answer's body is read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        data = None if body is None else body if isinstance(body, str) else json.dumps(body)
        connection.request(method, path, data, headers)
        answer = connection.getresponse()
        if answer.headers.get_content_type() != "text/event-stream":
            answer.text = answer.read().decode()  # type: ignore[attr-defined]
            connection.close()
        else:
            self.streams.append(connection)
        return answer

    def post(self, path: str, body: object = None, **headers: str) -> Answer:
        return self.request("POST", path, {} if body is None else body, **{"Origin": self.url, **headers})

    def is_fed(self) -> bool:
        """Whether the page has heard what the daemon said at first; a page with a token does not tell."""
        answer = self.request("GET", "/events")
        told = b""
        while answer.status == 200 and b"event: history" not in told and (line := answer.readline()):
            told += line
        self.leave()
        return answer.status == 401 or b"event: health" in told

    def leave(self) -> None:
        """Close all streams."""
        while self.streams:
            self.streams.pop().close()

    def seen(self, **changes: Any) -> None:
        """The daemon says what it sees."""
        self.feed.send("state", json.dumps(json.loads(state().to_json()) | changes))


@contextmanager
def served(
    tmp_path: Path,
    *options: str,
    port: int | None = None,
    answers: Mapping[str, dict[str, Any]] | None = None,
) -> Iterator[Served]:
    """A page that hears the test's feed; `answers` of the daemon by request."""
    port = port or free_port()
    asked: list[str] = []

    def answer(request: str, value: object) -> dict[str, object]:
        if answers and request in answers:
            asked.append(request if value is None else f"{request} {value}")
            return answers[request]
        if value == "what no daemon takes":
            return {"error": "expected a name"}
        asked.append(request if value is None else f"{request} {value}")
        return {"muted": request == "mute"}

    command = [sys.executable, "-m", "oahega_edge.page", f"--port={port}", *options]
    command += [f"--feed={tmp_path / 'feed.sock'}", f"--control={tmp_path / 'control.sock'}"]
    with FeedSocket(tmp_path / "feed.sock") as feed, ControlServer(tmp_path / "control.sock", answer):
        feed.send("info", info().to_json())
        feed.send("health", health().to_json())
        process = subprocess.Popen(command)
        try:
            wait_until(lambda: feed.is_heard)
            wait_until(lambda: listens(port))
            page = Served(port, feed, asked, process)
            wait_until(page.is_fed)
            yield page
            page.leave()
        finally:
            process.terminate()
            process.wait(PATIENCE)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

"""`review` as a process, over samples that a test made."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brokers import free_port
from edge.samples.giving import png
from mini_bundle import make_bundle
from oahega_build.samples.book import Book, Entry
from waiting import PATIENCE

LABELS = ("happy", "neutral", "sad")
NAMES = [f"{i:032x}" for i in range(6)]


def entry(label: str, reviewed: bool = False) -> Entry:
    return Entry(label, label, "tiny 1.0", "written", "2026-03-01", "kiosk", reviewed)


def new_book(folder: Path) -> Book:
    book = Book(folder)
    for i, name in enumerate(NAMES):
        book.add(name, entry(LABELS[i % 3]), png(i))
    book.save()
    return book


@dataclass
class Review:
    """The running page."""

    folder: Path
    port: int
    entrance: str = ""
    """Where a browser is let in."""
    cookie: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def request(self, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any, Any]:
        """Status, headers and content."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        own = {"Origin": f"http://127.0.0.1:{self.port}"} | ({"Cookie": self.cookie} if self.cookie else {})
        connection.request(method, path, None if body is None else json.dumps(body), own | headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        return answer.status, answer.headers, content

    def enter(self) -> None:
        """As a browser does that follows the printed address."""
        status, headers, _ = self.request("GET", self.entrance)
        assert status == 303
        self.cookie = headers["Set-Cookie"].partition(";")[0]

    def judge(self, name: object, label: object) -> int:
        return self.request("POST", "/judge", {"name": name, "label": label})[0]


@contextmanager
def reviewing(folder: Path) -> Iterator[Review]:
    """Six samples in `folder/opened`, and the page that shows them."""
    new_book(folder / "opened")
    with reviewing_with(make_bundle(folder / "tiny"), folder / "opened") as page:
        yield page


@contextmanager
def reviewing_with(bundle: Path, opened: Path) -> Iterator[Review]:
    """The page that shows opened samples."""
    page = Review(opened, free_port())
    command = [sys.executable, "-m", "oahega_build", "review", str(opened), f"--port={page.port}"]
    command.append(f"--bundle={bundle}")
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        entrance = next(line for line in process.stderr if line.startswith("open http://127.0.0.1"))
        found = re.search(r"(/enter\S+)", entrance)
        assert found is not None
        page.entrance = found[1]
        yield page
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)

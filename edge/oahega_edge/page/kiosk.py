"""One page on the device's screen, shown again whenever it ended: `python -m oahega_edge.page.kiosk URL`.

Chromium alone leaves its own message on the screen when a page's process dies or its server is away for
long. This program hears of both over a pipe that no other process can reach (the DevTools protocol,
https://chromedevtools.github.io/devtools-protocol/), and the service starts it again when it ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

BROWSER = "/usr/bin/chromium"
DARK = "data:text/html,<body style='background:black'>"
"""On the screen until the page's server answers."""
PAUSE_S = 2.0
GONE = "the browser ended"
PREFERENCES = {"translate": {"enabled": False}}
"""No flag turns the offer to translate off."""
FLAGS = (
    "--kiosk",
    "--incognito",
    "--no-first-run",
    "--noerrdialogs",
    "--disable-breakpad",  # a dump would hold what was on the screen
    "--disable-background-networking",
    "--disable-component-update",
    "--ozone-platform=wayland",
    "--remote-debugging-pipe",
)
_TO_BROWSER, _FROM_BROWSER = 3, 4
"""Descriptors that Chromium expects."""
_UNUSED_FROM = 10


class Browser:
    """A browser that ends with this process. Messages are JSON between zero bytes."""

    def __init__(self, command: list[str]) -> None:
        theirs, self._requests = _pipe()
        self._answers, their_answers = _pipe()
        descriptors = [
            (os.POSIX_SPAWN_DUP2, theirs, _TO_BROWSER),
            (os.POSIX_SPAWN_DUP2, their_answers, _FROM_BROWSER),
        ]
        os.posix_spawn(command[0], command, os.environ, file_actions=descriptors)
        os.close(theirs)
        os.close(their_answers)
        self._number = 0

    def tell(self, method: str, session: str | None = None, **parameters: object) -> None:
        """Send a request. Its answer is one of `messages`."""
        self._number += 1
        request: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            request["sessionId"] = session
        os.write(self._requests, json.dumps(request).encode() + b"\0")

    def messages(self) -> Iterator[Mapping[str, Any]]:
        """Answers and events until the browser ends."""
        rest = b""
        while data := os.read(self._answers, 65536):
            *whole, rest = (rest + data).split(b"\0")
            yield from map(json.loads, whole)


def show(browser: Browser, url: str) -> str:
    """Keep the page on the screen, and return the reason when only a new browser can."""
    browser.tell("Target.setDiscoverTargets", discover=True)
    session = None
    for message in browser.messages():
        event, told = message.get("method"), message.get("params", {})
        if event == "Target.targetCreated" and told["targetInfo"]["type"] == "page" and session is None:
            browser.tell("Target.attachToTarget", targetId=told["targetInfo"]["targetId"], flatten=True)
        elif event == "Target.attachedToTarget" and session is None:
            session = told["sessionId"]
            browser.tell("Page.enable", session)
            open_page(browser, session, url)
        elif event == "Page.frameNavigated" and is_unreachable(told["frame"]):
            browser.tell("Page.navigate", session, url=DARK)
            time.sleep(PAUSE_S)
            open_page(browser, session, url)
        elif event == "Target.targetCrashed":
            return "the page's process ended"
    return GONE


def open_page(browser: Browser, session: str | None, url: str) -> None:
    """Open the page as soon as its server accepts connections."""
    while not accepts_connections(url):
        time.sleep(PAUSE_S)
    browser.tell("Page.navigate", session, url=url)


def accepts_connections(url: str) -> bool:
    """True also for what has no server, as a file."""
    address = urlsplit(url)
    if address.hostname is None:
        return True
    port = address.port or {"http": 80}.get(address.scheme, 443)
    try:
        socket.create_connection((address.hostname, port), timeout=PAUSE_S).close()
    except OSError:
        return False
    return True


def is_unreachable(frame: Mapping[str, Any]) -> bool:
    """Whether the browser shows its own message instead of the page; parts of a page may fail."""
    return "unreachableUrl" in frame and "parentId" not in frame


def write_preferences(profile: Path) -> None:
    """Of a browser that starts with this profile for the first time."""
    folder = profile / "Default"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Preferences").write_text(json.dumps(PREFERENCES), encoding="utf-8")


def main() -> None:
    """Further arguments are flags of the browser."""
    url, *flags = sys.argv[1:]
    profile = Path(os.environ["RUNTIME_DIRECTORY"]) / "profile"
    write_preferences(profile)
    browser = Browser([BROWSER, *FLAGS, f"--user-data-dir={profile}", *flags, DARK])
    try:
        reason = show(browser, url)
    except BrokenPipeError:
        reason = GONE
    sys.exit(f"{reason}; the service starts it again")


def _pipe() -> tuple[int, int]:
    """Both ends above the descriptors that Chromium expects."""
    low = os.pipe()
    high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _UNUSED_FROM) for end in low)
    for end in low:
        os.close(end)
    return high[0], high[1]


if __name__ == "__main__":
    main()

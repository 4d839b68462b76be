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
DARK = "data:text/html,%3Cbody%20style=background:black%3E"
"""On the screen until the page's server answers; written as Chromium says it back."""
PAUSE_S = 2.0
GONE = "the browser ended"
NOT_A_PAGE = "net::ERR_ABORTED"
PREFERENCES = {"translate": {"enabled": False}, "printing": {"enabled": False}}
"""No flag turns the offer to translate off, nor the dialog that Ctrl+P opens."""
LOCAL_STATE = {"select_file_dialogs": {"allowed": False}}
"""Nor the dialogs of Ctrl+O and Ctrl+S, which would stay above the page."""
FLAGS = (
    "--kiosk",
    "--incognito",
    "--no-first-run",
    "--noerrdialogs",
    "--deny-permission-prompts",  # a visitor could answer them
    "--disable-pinch",
    "--overscroll-history-navigation=0",
    "--hide-scrollbars",
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

    def tell(self, method: str, session: str | None = None, **parameters: object) -> int:
        """Send a request and return its number, which the answer among `messages` repeats."""
        self._number += 1
        request: dict[str, object] = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            request["sessionId"] = session
        os.write(self._requests, json.dumps(request).encode() + b"\0")
        return self._number

    def messages(self) -> Iterator[Mapping[str, Any]]:
        """Answers and events until the browser ends."""
        rest = b""
        while data := os.read(self._answers, 65536):
            *whole, rest = (rest + data).split(b"\0")
            yield from map(json.loads, whole)


class Screen:
    """One page in one window of the browser."""

    def __init__(self, browser: Browser, url: str) -> None:
        self._browser = browser
        self._url = url
        self._window: str | None = None
        self._session: str | None = None
        self._opening: int | None = None
        """The number of the request for the page, until the page is there."""
        self._emptying: int | None = None
        """The number of the request for an empty history."""

    def keep(self) -> str:
        """Keep the page on the screen, and return the reason when only a new browser can."""
        self._browser.tell("Target.setDiscoverTargets", discover=True)
        for message in self._browser.messages():
            if reason := self._hear(message):
                return reason
        return GONE

    def _hear(self, message: Mapping[str, Any]) -> str | None:
        event, told = message.get("method"), message.get("params", {})
        if event == "Target.targetCreated" and is_window(told["targetInfo"]):
            self._window_opened(told["targetInfo"]["targetId"])
        elif event == "Target.attachedToTarget" and self._session is None:
            self._session = told["sessionId"]
            self._tell_page("Page.enable")
            self._open()
        elif event == "Page.frameNavigated" and "parentId" not in told["frame"]:
            self._arrived(told["frame"])
        elif event == "Target.targetCrashed":
            return "the page's process ended"
        elif event == "Target.targetDestroyed" and told["targetId"] == self._window:
            return "the page was closed"
        elif self._opening is not None and message.get("id") == self._opening:
            return refusal(self._url, message)
        elif self._emptying is not None and message.get("id") == self._emptying and "error" in message:
            self._empty_history()  # refused while the browser exchanges the page's process
        return None

    def _window_opened(self, window: str) -> None:
        if self._window is None:
            self._window = window
            self._browser.tell("Target.attachToTarget", targetId=window, flatten=True)
        else:  # by a link, or by a keyboard, whose shortcuts work in kiosk mode, too
            self._browser.tell("Target.closeTarget", targetId=window)

    def _arrived(self, frame: Mapping[str, Any]) -> None:
        if "unreachableUrl" in frame:  # the browser shows its own message instead of the page
            self._tell_page("Page.navigate", url=DARK)
            time.sleep(PAUSE_S)
            self._open()
        elif frame["url"] != DARK:
            if self._opening is not None:
                self._opening = None
                self._empty_history()
        elif self._opening is None:  # "back" was faster
            self._open()

    def _empty_history(self) -> None:
        """Or "back" would end at the dark screen."""
        self._emptying = self._tell_page("Page.resetNavigationHistory")

    def _open(self) -> None:
        """Open the page as soon as its server accepts connections."""
        while not accepts_connections(self._url):
            time.sleep(PAUSE_S)
        self._opening = self._tell_page("Page.navigate", url=self._url)

    def _tell_page(self, method: str, **parameters: object) -> int:
        return self._browser.tell(method, self._session, **parameters)


def is_window(target: Mapping[str, Any]) -> bool:
    """Whether a window or a tab was opened; a page that is loaded ahead has a subtype."""
    return target["type"] == "page" and "subtype" not in target


def refusal(url: str, answer: Mapping[str, Any]) -> str | None:
    """Why the page will never be there; where it may be, the browser shows a message and is asked again."""
    if "error" in answer:
        return f"the address {url!r} cannot be opened: {answer['error']['message']}"
    if answer["result"].get("errorText") == NOT_A_PAGE:
        return f"at the address {url!r} is no page, but a file to store, or nothing"
    return None


def accepts_connections(url: str) -> bool:
    """True also for what has no server, as a file, and for what the browser refuses with a reason."""
    try:
        address = urlsplit(url)
        if address.hostname is None:
            return True
        port = address.port or {"http": 80}.get(address.scheme, 443)
        socket.create_connection((address.hostname, port), timeout=PAUSE_S).close()
    except OSError:
        return False
    except ValueError:
        return True
    return True


def write_preferences(profile: Path) -> None:
    """Of a browser that starts with this profile for the first time."""
    folder = profile / "Default"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Preferences").write_text(json.dumps(PREFERENCES), encoding="utf-8")
    (profile / "Local State").write_text(json.dumps(LOCAL_STATE), encoding="utf-8")


def main() -> None:
    """Further arguments are flags of the browser."""
    url, *flags = sys.argv[1:]
    profile = Path(os.environ["RUNTIME_DIRECTORY"]) / "profile"
    write_preferences(profile)
    browser = Browser([BROWSER, *FLAGS, f"--user-data-dir={profile}", *flags, DARK])
    try:
        reason = Screen(browser, url).keep()
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

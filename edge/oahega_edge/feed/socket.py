"""A local socket that tells every subscriber what happens. A slow subscriber is dropped, never waited for.

Each packet (SOCK_SEQPACKET) is one JSON object: `{"kind": "event", "data": {...}}` from the daemon,
`{"set": {"trigger.threshold": 0.6}}` to it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from oahega_edge.control.folders import not_ours

log = logging.getLogger(__name__)

MOST_SUBSCRIBERS = 8
LONGEST_REQUEST = 4096
"""Bytes."""
MOST_REQUESTS = 16
"""Requests that wait for the daemon's loop; further ones replace the oldest."""
PAUSE_S = 0.2
"""Seconds before the next subscriber is let in when the system has no room for one."""
NAME = "feed.sock"
REMEMBERED = ("info", "state", "showing", "health")
"""Kinds of which a new subscriber gets the newest at once."""


class FeedSocket:
    """Sends to all subscribers. The queue of each is the kernel's buffer; who lets it fill up is dropped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._subscribers: set[socket.socket] = set()
        self._newest: dict[str, bytes] = {}
        self._requests: deque[Mapping[str, Any]] = deque(maxlen=MOST_REQUESTS)
        self._complaint: str | None = None
        """Why the newest subscriber could not be let in; None once one was."""
        self._ended, self._end = socket.socketpair()

    def __enter__(self) -> Self:
        """Listen; where that is impossible the daemon goes on without, and says so."""
        try:
            with contextlib.ExitStack() as opened:
                selector = opened.enter_context(selectors.DefaultSelector())  # has a descriptor, too
                listener = opened.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                self._listen(listener, selector)
                opened.pop_all()
        except OSError as error:
            log.warning("no feed at %s (%s); the page will show nothing", self._path, error.strerror or error)
            return self
        self._listener = listener
        self._thread = threading.Thread(
            target=self._serve, args=(listener, selector), name="feed", daemon=True
        )
        self._thread.start()
        return self

    def _listen(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if (reason := not_ours(self._path.parent)) is not None:
            raise OSError(reason)
        self._path.unlink(missing_ok=True)
        listener.bind(str(self._path))
        self._path.chmod(0o660)
        listener.listen(4)
        selector.register(self._ended, selectors.EVENT_READ)
        selector.register(listener, selectors.EVENT_READ)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening, let all subscribers go, take the socket away."""
        self._end.close()
        if self._thread is not None:
            self._thread.join()
        if self._listener is not None:
            self._listener.close()
            self._path.unlink(missing_ok=True)
        for subscriber in self._subscribers:
            subscriber.close()
        self._subscribers.clear()
        self._ended.close()

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._subscribers)

    def send(self, kind: str, data: str) -> None:
        """Send one JSON text to all; returns at once."""
        packet = f'{{"kind":"{kind}","data":{data}}}'.encode()
        with self._lock:
            if kind in REMEMBERED:
                self._newest[kind] = packet
            for subscriber in list(self._subscribers):
                self._hand(subscriber, packet)

    def requests(self) -> list[Mapping[str, Any]]:
        """What subscribers asked for since the last call, oldest first; unchecked."""
        taken = []
        with contextlib.suppress(IndexError):
            while True:
                taken.append(self._requests.popleft())
        return taken

    def _hand(self, subscriber: socket.socket, packet: bytes) -> None:
        try:
            subscriber.send(packet, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError as error:
            log.debug("a subscriber of the feed is dropped: %s", error)
            # The thread that reads it notices, and closes it.
            with contextlib.suppress(OSError):
                subscriber.shutdown(socket.SHUT_RDWR)
            self._subscribers.discard(subscriber)

    def _serve(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        with selector:
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._ended:
                        return
                    if key.fileobj is listener:
                        self._accept(listener, selector)
                    else:
                        self._read(key.fileobj, selector)  # type: ignore[arg-type]

    def _accept(self, listener: socket.socket, selector: selectors.BaseSelector) -> None:
        try:
            subscriber, _ = listener.accept()
        except OSError as error:  # no descriptor or no memory is free; it would be ready again at once
            if error.strerror != self._complaint:
                log.warning("subscribers of the feed have to wait: %s", error.strerror)
            self._complaint = error.strerror
            time.sleep(PAUSE_S)
            return
        self._complaint = None
        with self._lock:
            if len(self._subscribers) >= MOST_SUBSCRIBERS:
                subscriber.close()
                return
            self._subscribers.add(subscriber)
            selector.register(subscriber, selectors.EVENT_READ)
            for kind in REMEMBERED:
                if kind in self._newest:
                    self._hand(subscriber, self._newest[kind])

    def _read(self, subscriber: socket.socket, selector: selectors.BaseSelector) -> None:
        try:
            packet = subscriber.recv(LONGEST_REQUEST, socket.MSG_DONTWAIT)
        except OSError:
            packet = b""
        if not packet:
            selector.unregister(subscriber)
            with self._lock:
                self._subscribers.discard(subscriber)
            subscriber.close()
            return
        with contextlib.suppress(ValueError, RecursionError):
            request = json.loads(packet)
            if isinstance(request, dict):
                self._requests.append(request)

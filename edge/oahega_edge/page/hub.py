"""From the daemon's feed to the browsers: one subscription in, many bounded streams out."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import socket
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

from oahega_edge.page.history import History

log = logging.getLogger(__name__)

MOST_STREAMS = 64
MOST_WAITING = 64
"""Messages that wait for one browser; a slower one loses its stream and connects again."""
LARGEST_PACKET = 1 << 18
PAUSE_S = 1.0
"""Between two attempts to reach the daemon."""
BEAT_S = 15.0
"""A stream without news says so this often, so that a dead connection is noticed."""
REMEMBERED = ("info", "state", "health", "showing")


class TooManyStreams(Exception):
    """No further browser is served."""


PICTURE_S = 1.0
"""After which a picture is old and is forgotten."""


class Hub:
    """Hears the daemon and tells the browsers."""

    def __init__(self, path: Path, wall: Callable[[], float] = time.time) -> None:
        """`path`: the daemon's feed; `wall`: seconds since 1970."""
        self._path = path
        self._wall = wall
        self._history = History()
        self._newest: dict[str, str] = {}
        self._streams: set[asyncio.Queue[str | None]] = set()
        self._feed: socket.socket | None = None
        self._minute = 0.0
        self._picture: bytes | None = None
        self._forgetting: asyncio.TimerHandle | None = None

    @property
    def is_connected(self) -> bool:
        """Whether the daemon is heard."""
        return self._feed is not None

    @property
    def picture(self) -> bytes | None:
        """The camera's newest picture, JPEG, while the daemon sends any: for whoever mounts it."""
        return self._picture

    async def run(self) -> None:
        """For ever: connect to the daemon, pass on what it says, connect again."""
        while True:
            try:
                await self._listen()
            except OSError as error:
                log.debug("the feed is not there: %s", error)
            await asyncio.sleep(PAUSE_S)

    def ask(self, request: dict[str, Any]) -> bool:
        """Hand a request to the daemon; False when it is not heard."""
        if self._feed is None:
            return False
        try:
            self._feed.send(json.dumps(request).encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:
            return False
        return True

    def tell(self, kind: str, data: str) -> None:
        """One message, JSON, to all browsers."""
        message = f"event: {kind}\ndata: {data}\n\n"
        if kind in REMEMBERED:
            self._newest[kind] = message
        for queue in list(self._streams):
            try:
                queue.put_nowait(message)
            except asyncio.QueueFull:
                self._drop(queue)

    async def stream(self) -> AsyncGenerator[str, None]:
        """What one browser is sent, beginning with what holds now. Raises TooManyStreams."""
        if len(self._streams) >= MOST_STREAMS:
            raise TooManyStreams
        queue: asyncio.Queue[str | None] = asyncio.Queue(MOST_WAITING)
        self._streams.add(queue)
        try:
            yield self._connection()
            for known in list(self._newest.values()):
                yield known
            yield self._chart()
            while True:
                try:
                    async with asyncio.timeout(BEAT_S):
                        message = await queue.get()
                except TimeoutError:
                    yield ": still here\n\n"
                    continue
                if message is None:
                    return
                yield message
        finally:
            self._streams.discard(queue)

    def close(self) -> None:
        """End all streams."""
        for queue in list(self._streams):
            self._drop(queue)

    def _drop(self, queue: asyncio.Queue[str | None]) -> None:
        self._streams.discard(queue)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as feed:
            feed.setblocking(False)
            await loop.sock_connect(feed, str(self._path))
            self._set_connected(feed)
            try:
                while packet := await loop.sock_recv(feed, LARGEST_PACKET):
                    with contextlib.suppress(ValueError, KeyError, TypeError):
                        self._heard(json.loads(packet))
            finally:
                self._set_connected(None)

    def _set_connected(self, feed: socket.socket | None) -> None:
        self._feed = feed
        log.info("the daemon is %s", "heard" if feed else "gone")
        if feed is None:
            self._keep(None)
            self._history.unknown(self._wall())
            self._newest.pop("state", None)
        self.tell("connection", json.dumps({"daemon": feed is not None}))

    def _connection(self) -> str:
        return f"event: connection\ndata: {json.dumps({'daemon': self.is_connected})}\n\n"

    def _heard(self, packet: dict[str, Any]) -> None:
        kind, data, now = str(packet["kind"]), packet["data"], self._wall()
        if kind == "picture":
            self._keep(base64.b64decode(data))
            return
        if kind == "state":
            if data["muted"]:
                self._keep(None)
            if data["camera"] == "live":
                self._history.state(str(data["emotion"]), int(data["faces"]), now)
            else:
                self._history.unknown(now)
        if kind.isalpha():
            self.tell(kind, json.dumps(data))
        if now // 60 != self._minute:
            self._minute = now // 60
            for queue in list(self._streams):
                with contextlib.suppress(asyncio.QueueFull):
                    queue.put_nowait(self._chart())

    def _keep(self, picture: bytes | None) -> None:
        """The newest picture alone, in memory, for a moment."""
        self._picture = picture
        if self._forgetting is not None:
            self._forgetting.cancel()
        if picture is not None:
            self._forgetting = asyncio.get_running_loop().call_later(PICTURE_S, self._keep, None)

    def _chart(self) -> str:
        return f"event: history\ndata: {json.dumps(self._history.shown(self._wall()))}\n\n"

"""Connections that send no whole request: they have little time, and newer ones take their place."""

from __future__ import annotations

import asyncio
import socket

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 256
"""Of which `hub.MOST_STREAMS` may be event streams."""
REQUEST_S = 5.0
"""Seconds in which a whole request must arrive."""
SILENT_S = 30.0
"""After which a browser is gone that acknowledges nothing, e.g. because its cable was pulled."""


class BoundedConnection(H11Protocol):
    """One connection. Uvicorn alone would wait for the rest of a request for ever."""

    _since = 0.0
    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """The one that has waited for the longest time makes room."""
        super().connection_made(transport)
        peer = transport.get_extra_info("socket")
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(SILENT_S * 1000))
        self._since = self.loop.time()
        self._look()
        waiting = [one for one in self.connections if isinstance(one, BoundedConnection) and one.is_waiting]
        if len(self.connections) > MOST_CONNECTIONS and waiting:
            min(waiting, key=lambda one: one._since).leave()

    def data_received(self, data: bytes) -> None:
        """Part of a request, or several."""
        super().data_received(data)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """The browser has left, or was made to."""
        self._stop()
        super().connection_lost(exc)

    @property
    def is_waiting(self) -> bool:
        """Whether a request is still to come, in whole or in part."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def leave(self) -> None:
        """Close, and count no more from now on."""
        self.connections.discard(self)
        self.transport.abort()

    def _look(self) -> None:
        """Start the time of a request that has begun; end it with the request."""
        if not self.is_waiting:
            self._stop()
        elif self._end is None:
            self._end = self.loop.call_later(REQUEST_S, self.leave)

    def _stop(self) -> None:
        if self._end is not None:
            self._end.cancel()
            self._end = None

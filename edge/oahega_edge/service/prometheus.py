"""The figures of `health` for Prometheus, as OpenMetrics over HTTP. Off unless a port is set.

Anybody who reaches the port may ask, so a request is bounded in size and time, and requests in number.
"""

from __future__ import annotations

import contextlib
import io
import logging
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from socketserver import ThreadingMixIn
from types import TracebackType
from typing import Any, Self
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from oahega_edge.contract.messages import Health, Shadow
from oahega_edge.errors import SettingsError

_log = logging.getLogger(__name__)

PREFIX = "oahega_edge"
MOST_REQUESTS = 4
"""Requests that are read or answered at a time."""
LARGEST_REQUEST = 16 << 10
"""Bytes that are read of one."""
PATIENCE_S = 5.0
"""From the connection to the end of the answer."""


class MetricsEndpoint:
    """Serves the newest health message at /metrics while the context lasts."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._figures = _Figures()
        self._server: tuple[_Server, threading.Thread] | None = None

    def __enter__(self) -> Self:
        """SettingsError when the address cannot be listened on."""
        registry = CollectorRegistry()
        registry.register(self._figures)
        try:
            server = _Server(self._host, self._port)
        except OSError as error:
            raise SettingsError(
                f"metrics.port = {self._port}: {self._host} cannot be listened on ({error.strerror}); "
                "choose another port, or 0 for none"
            ) from error
        server.set_app(make_wsgi_app(registry))
        thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        self._server = server, thread
        _log.info("metrics at http://%s:%d/metrics", self._host, self.port)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join(5)
            self._server = None

    @property
    def port(self) -> int:
        """The one that is listened on."""
        return self._port if self._server is None else self._server[0].server_port

    def update(self, health: Health) -> None:
        """See `Metrics.update`."""
        self._figures.health = health


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each of a few requests. One that is still not sent gives way to a newer one."""

    daemon_threads = True
    request_queue_size = 16

    def __init__(self, host: str, port: int) -> None:
        """OSError when the address cannot be listened on."""
        (self.address_family, *_, address), *_ = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        self._lock = threading.Lock()
        self._since: dict[socket.socket, float] = {}
        self._answered: set[socket.socket] = set()
        self._free = threading.BoundedSemaphore(MOST_REQUESTS)
        super().__init__((str(address[0]), port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """In a thread of its own, when one is free."""
        if not self._free.acquire(blocking=False):
            self._cut_oldest_unsent()
            if not self._free.acquire(timeout=1.0):
                self.shutdown_request(request)
                return
        with self._lock:
            self._since[request] = time.monotonic()
        try:
            super().process_request(request, client_address)
        except BaseException:  # no thread could be started
            self._forget(request)
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Read and answer one."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._forget(request)

    def service_actions(self) -> None:
        """Twice a second: end what takes too long."""
        now = time.monotonic()
        with self._lock:
            late = [request for request, since in self._since.items() if now - since > PATIENCE_S]
        for request in late:
            _cut(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The other side went, or was cut off."""
        _log.debug("metrics: a request ended", exc_info=True)

    def answering(self, request: socket.socket) -> None:
        """It was read whole."""
        with self._lock:
            self._answered.add(request)

    def _cut_oldest_unsent(self) -> None:
        with self._lock:
            unsent = [request for request in self._since if request not in self._answered]
        if unsent:
            _cut(unsent[0])

    def _forget(self, request: socket.socket) -> None:
        with self._lock:
            del self._since[request]
            self._answered.discard(request)
        self._free.release()


def _cut(request: socket.socket) -> None:
    """Its thread finds the end of the stream and closes it."""
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(WSGIRequestHandler):
    """Reads no more than a request may have."""

    timeout = PATIENCE_S

    def setup(self) -> None:
        """Put the bound before the reader."""
        super().setup()
        self.rfile = io.BufferedReader(_First(LARGEST_REQUEST, self.rfile))

    def parse_request(self) -> bool:
        """Tell the server when the request is whole."""
        whole = super().parse_request()
        if whole and isinstance(self.server, _Server):
            self.server.answering(self.connection)
        return whole

    def log_message(self, *args: Any) -> None:
        """Requests are not logged."""


class _First(io.RawIOBase):
    """The first bytes of a stream, as if it ended there."""

    def __init__(self, most: int, stream: io.BufferedIOBase) -> None:
        self._left = most
        self._stream = stream

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """What is there, within the bound."""
        data = self._stream.read1(min(len(buffer), self._left))
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)


class _Figures(Collector):
    """One health message as metric families."""

    def __init__(self) -> None:
        self.health: Health | None = None

    def describe(self) -> Iterable[Metric]:
        """Nothing is known before the first message."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All families of the newest message; none before the first."""
        health = self.health
        if health is None:
            return
        yield InfoMetricFamily(
            PREFIX,
            "What runs",
            value={
                "device": health.device,
                "release": health.release,
                "bundle_sha256": health.bundle_sha256,
                "accelerator": health.accelerator.active,
            },
        )
        yield from (
            GaugeMetricFamily(f"{PREFIX}_{name}", text, value) for name, text, value in _gauges(health)
        )
        yield from (
            CounterMetricFamily(f"{PREFIX}_{name}", text, value) for name, text, value in _counters(health)
        )
        stages = GaugeMetricFamily(
            f"{PREFIX}_stage_seconds", "Duration of a stage of the chain", labels=["stage", "quantile"]
        )
        for stage, latency in health.stages_ms.items():
            stages.add_metric([stage, "0.5"], latency.p50 / 1000)
            stages.add_metric([stage, "0.95"], latency.p95 / 1000)
        yield stages


def _gauges(health: Health) -> Iterator[tuple[str, str, float]]:
    yield "uptime_seconds", "Since the daemon started", health.uptime_s
    yield "frames_per_second", "Through the whole chain", health.fps
    yield "camera_live", "1 while frames come", float(health.camera.state == "live")
    yield "degraded", "1 while the wanted accelerator is not in use", float(health.accelerator.degraded)
    yield "drifted", "1 while faces look other than in the first days", float(_is_drifted(health))
    yield from _of_shadow(health.shadow)
    yield "connected", "1 while the broker takes messages", float(health.delivery.connected)
    yield "events_queued", "Events that wait for the broker", health.delivery.queued
    system = health.system
    optional = (
        ("temperature_celsius", "Of the processor", system.temperature_c),
        ("throttled", "1 while the processor is slowed down", system.throttled),
        ("undervoltage", "1 when the supply was too weak since the board started", system.undervoltage),
        ("load1", "Load average over one minute", system.load),
        ("memory_bytes", "Resident", None if system.memory_mb is None else system.memory_mb * 2**20),
    )
    yield from ((name, text, float(value)) for name, text, value in optional if value is not None)


def _of_shadow(shadow: Shadow | None) -> Iterator[tuple[str, str, float]]:
    if shadow is None:
        return
    yield "shadow_running", "1 while a new bundle reads beside the one in use", shadow.state == "running"
    yield "shadow_refused", "1 when the newest one was refused", shadow.state == "refused"
    yield "shadow_faces", "That both have read", shadow.faces
    if shadow.agreement is not None:
        yield (
            "shadow_agreement",
            "Share of the faces to which both give the same expression",
            shadow.agreement,
        )


def _is_drifted(health: Health) -> bool:
    return health.drift is not None and health.drift.problem is not None


def _counters(health: Health) -> Iterator[tuple[str, str, float]]:
    yield "events", "Made", health.events
    yield "events_accepted", "Safe on disk or with the broker", health.delivery.accepted
    yield "events_published", "Taken over by the broker", health.delivery.published
    yield "events_dropped", "Given up", health.delivery.dropped
    yield "frames_dropped", "Replaced by newer ones before they were used", health.camera.dropped
    yield "camera_stalls", "Times that no frame came in time", health.camera.stalls
    yield "camera_reopens", "Times that the camera was opened again", health.camera.reopens
    yield "pictures_left_out", "Frozen or torn, not looked at", health.camera.left_out
    yield "accelerator_failures", "Times that the accelerator was lost", health.accelerator.restarts

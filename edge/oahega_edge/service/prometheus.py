"""The figures of `health` for Prometheus, as OpenMetrics over HTTP. Off unless a port is set."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from oahega_edge.contract.messages import Health
from oahega_edge.errors import SettingsError

_log = logging.getLogger(__name__)

PREFIX = "oahega_edge"


class MetricsEndpoint:
    """Serves the newest health message at /metrics while the context lasts."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._figures = _Figures()
        self._server: tuple[WSGIServer, threading.Thread] | None = None

    def __enter__(self) -> Self:
        """SettingsError when the address cannot be listened on."""
        registry = CollectorRegistry()
        registry.register(self._figures)
        try:
            self._server = start_http_server(self._port, self._host, registry)
        except OSError as error:
            raise SettingsError(
                f"metrics.port = {self._port}: {self._host} cannot be listened on ({error.strerror}); "
                "choose another port, or 0 for none"
            ) from error
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

"""The worker's figures as OpenMetrics, for Prometheus."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from oahega_edge.archive.worker import Figures
from oahega_edge.errors import EdgeError


class Endpoint:
    """Serves /metrics on the loopback as long as the context lasts."""

    def __init__(self, figures: Figures, port: int, host: str = "127.0.0.1") -> None:
        registry = CollectorRegistry()
        registry.register(self)
        self._figures = figures
        try:
            self._server, self._thread = start_http_server(port, host, registry)
        except OSError as error:
            raise EdgeError(f"--metrics {port}: cannot listen ({error}); choose another port") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def collect(self) -> Iterator[Metric]:
        """Read at each request."""
        figures = self._figures
        for name, value, text in (
            ("events", figures.events, "Events that were committed."),
            ("summaries", figures.summaries, "Summaries that were committed."),
            ("duplicates", figures.duplicates, "Copies that were known already."),
            ("misfits", figures.misfits, "Messages that fit no schema and are kept apart."),
            ("batches", figures.batches, "Transactions."),
            ("store_failures", figures.store_failures, "Times that the store did not answer."),
        ):
            yield CounterMetricFamily(f"oahega_archive_{name}", text, value=value)
        yield GaugeMetricFamily("oahega_archive_store_up", "1: the store answers.", value=figures.store_up)
        yield GaugeMetricFamily(
            "oahega_archive_committed_timestamp_seconds",
            "Time of the last commit.",
            value=figures.committed_at,
        )

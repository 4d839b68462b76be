"""The worker's page for Prometheus."""

from __future__ import annotations

import urllib.request
from datetime import UTC, datetime

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from brokers import free_port
from oahega_edge.archive.metrics import Endpoint
from oahega_edge.archive.store import Written
from oahega_edge.archive.worker import Figures
from oahega_edge.errors import EdgeError
from waiting import PATIENCE


def scrape(port: int) -> dict[str, float]:
    """As Prometheus asks for it, read by its own parser."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"Accept": "application/openmetrics-text"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        text = answer.read().decode()
    return {
        each.name: each.value for family in text_string_to_metric_families(text) for each in family.samples
    }


def test_prometheus_reads_what_the_worker_has_done() -> None:
    figures, port = Figures(store_up=True, store_failures=2), free_port()
    before = datetime.now(UTC).timestamp()

    with Endpoint(figures, port):
        at_first = scrape(port)
        figures.add(Written(events=5, summaries=4, duplicates=3, misfits=2))
        then = scrape(port)

    assert at_first["oahega_archive_events_total"] == 0
    assert {name: value for name, value in then.items() if "timestamp" not in name} == {
        "oahega_archive_events_total": 5,
        "oahega_archive_summaries_total": 4,
        "oahega_archive_duplicates_total": 3,
        "oahega_archive_misfits_total": 2,
        "oahega_archive_batches_total": 1,
        "oahega_archive_store_failures_total": 2,
        "oahega_archive_store_up": 1,
    }
    assert then["oahega_archive_committed_timestamp_seconds"] >= before


def test_a_port_that_is_taken_is_named() -> None:
    port = free_port()
    with Endpoint(Figures(), port), pytest.raises(EdgeError, match=f"--metrics {port}"):
        Endpoint(Figures(), port)

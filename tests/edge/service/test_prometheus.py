import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from mqtt_samples import health
from oahega_edge.errors import SettingsError
from oahega_edge.service.prometheus import MetricsEndpoint
from waiting import PATIENCE


@pytest.fixture
def endpoint() -> Iterator[MetricsEndpoint]:
    with MetricsEndpoint("127.0.0.1", 0) as listening:
        yield listening


def scrape(endpoint: MetricsEndpoint) -> dict[str, float]:
    """As Prometheus asks for it, read by its own parser."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{endpoint.port}/metrics", headers={"Accept": "application/openmetrics-text"}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
        text = answer.read().decode()
    return {s.name: s.value for family in text_string_to_metric_families(text) for s in family.samples}


def test_the_page_is_empty_before_the_first_health_message(endpoint: MetricsEndpoint) -> None:
    assert scrape(endpoint) == {}


def test_the_page_holds_the_figures_of_the_newest_health_message(endpoint: MetricsEndpoint) -> None:
    message = health()
    endpoint.update(message)

    figures = scrape(endpoint)

    assert figures["oahega_edge_uptime_seconds"] == message.uptime_s
    assert figures["oahega_edge_frames_per_second"] == message.fps
    assert figures["oahega_edge_events_total"] == message.events
    assert figures["oahega_edge_events_dropped_total"] == message.delivery.dropped
    assert figures["oahega_edge_connected"] == message.delivery.connected
    assert figures["oahega_edge_info"] == 1


def test_a_port_that_is_taken_is_named(endpoint: MetricsEndpoint) -> None:
    with (
        pytest.raises(SettingsError, match=rf"metrics\.port = {endpoint.port}"),
        MetricsEndpoint("127.0.0.1", endpoint.port),
    ):
        pass

import contextlib
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from mqtt_samples import health
from oahega_edge.errors import SettingsError
from oahega_edge.service.prometheus import LARGEST_REQUEST, MOST_REQUESTS, PATIENCE_S, MetricsEndpoint
from waiting import PATIENCE, wait_until


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


@contextlib.contextmanager
def held(endpoint: MetricsEndpoint, number: int, first: bytes = b"") -> Iterator[list[socket.socket]]:
    """Connections that send no whole request."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(number):
            made.append(stack.enter_context(socket.create_connection(("127.0.0.1", endpoint.port), PATIENCE)))
            with contextlib.suppress(OSError):
                made[-1].sendall(first)
        yield made


def is_served(endpoint: MetricsEndpoint) -> bool:
    """Prometheus asks again as well: a busy machine may be slow to end the connection that makes room."""
    with contextlib.suppress(OSError):
        return scrape(endpoint)["oahega_edge_info"] == 1
    return False


def ended(connection: socket.socket) -> bool:
    """Whether the other side has closed it; waits for that."""
    try:
        while connection.recv(1 << 16):
            pass
    except OSError as error:
        return not isinstance(error, TimeoutError)
    return True


@pytest.mark.parametrize("first", [b"", b"GET /metrics HTTP/1.1\r\nHost: x\r\n"])
def test_held_connections_keep_nobody_out_and_end(endpoint: MetricsEndpoint, first: bytes) -> None:
    endpoint.update(health())
    before = threading.active_count()

    with held(endpoint, 5 * MOST_REQUESTS, first) as connections:
        assert wait_until(lambda: is_served(endpoint))
        # One that has given its place away may be about to end.
        assert threading.active_count() <= before + 2 * MOST_REQUESTS
        assert all(ended(connection) for connection in connections)

    wait_until(lambda: threading.active_count() <= before)


def test_a_request_in_drops_ends_in_time(endpoint: MetricsEndpoint) -> None:
    with held(endpoint, 1) as (connection,):
        started = time.monotonic()
        with contextlib.suppress(OSError):
            while time.monotonic() - started < PATIENCE:
                connection.sendall(b"G")
                time.sleep(PATIENCE_S / 20)

        assert time.monotonic() - started < PATIENCE
        assert ended(connection)


@pytest.mark.parametrize("line", [b"x" * 1000, b"a: " + b"b" * 500 + b"\r\n"])
def test_a_request_without_end_is_not_read_to_its_end(endpoint: MetricsEndpoint, line: bytes) -> None:
    endpoint.update(health())

    with held(endpoint, 1, b"GET / HTTP/1.1\r\n") as (connection,):
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 1000 * LARGEST_REQUEST:
                connection.sendall(line)
                sent += len(line)

    assert sent < 1000 * LARGEST_REQUEST
    assert scrape(endpoint)["oahega_edge_info"] == 1


def test_an_answer_that_nobody_reads_ends_in_time(endpoint: MetricsEndpoint) -> None:
    endpoint.update(health())
    before = threading.active_count()

    with held(endpoint, MOST_REQUESTS, b"GET /metrics HTTP/1.0\r\n\r\n" * 50):
        assert wait_until(lambda: is_served(endpoint))
        wait_until(lambda: threading.active_count() <= before)

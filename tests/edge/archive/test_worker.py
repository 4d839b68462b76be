"""`oahega-edge archive` as a process, with a real mosquitto and real databases, killed as it works."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from brokers import Mosquitto, free_port
from edge.mqtt_samples import BASE, events, health, summary
from oahega_edge.archive.address import connect
from oahega_edge.archive.database import StoreAway
from postgres import Postgres
from processes import environment
from waiting import PATIENCE, wait_until

pytestmark = pytest.mark.broker
VERB = (sys.executable, "-m", "oahega_edge", "archive")
KEEPS = "allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path, KEEPS) as running:
        yield running


class Worker:
    """A running worker; what it says is in a file."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    def said(self) -> str:
        return self._log.read_text()

    def ends(self) -> str:
        """By itself; what it said."""
        self.process.wait(PATIENCE)
        return self.said()

    def is_stopped(self) -> str:
        """In order; what it said."""
        self.process.send_signal(signal.SIGTERM)
        return self.ends()


@contextlib.contextmanager
def working(broker: Mosquitto, url: str, *options: str) -> Iterator[Worker]:
    """A worker, killed at the end if it still runs."""
    command = [*VERB, f"{broker.host}:{broker.port}", "--to", url, *options]
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(command, env=environment(), stderr=log)
        try:
            yield Worker(process, Path(log.name))
        finally:
            process.kill()
            process.wait()


class Device:
    """Publishes at QoS 1 and knows what the broker acknowledged."""

    def __init__(self, broker: Mosquitto) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
        self._client.max_inflight_messages_set(200)
        self._client.connect(broker.host, broker.port)
        self._client.loop_start()

    def say(self, kind: str, *payloads: str | bytes, retain: bool = False) -> None:
        """Returns when the broker has all of them."""
        for info in [self._client.publish(f"{BASE}/{kind}", payload, 1, retain) for payload in payloads]:
            info.wait_for_publish(PATIENCE)
            assert info.is_published()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def device(broker: Mosquitto) -> Iterator[Device]:
    with contextlib.closing(Device(broker)) as opened:
        yield opened


def ask(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Nothing while the database is away, held by the worker or still without tables."""
    try:
        with contextlib.closing(connect(url)) as database:
            return database.execute(sql)
    except StoreAway:
        return []


def is_there(url: str, count: int) -> bool:
    return ask(url, "SELECT count(*) FROM events") == [(count,)]


def subscribed(broker: Mosquitto, url: str, *options: str) -> None:
    """The session of this worker exists from now on."""
    with working(broker, url, *options) as worker:
        wait_until(lambda: "Subscribed" in worker.said())
        worker.is_stopped()


def metrics(port: int) -> str:
    """The worker's page."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        return str(answer.read().decode())


@pytest.mark.lengthy
@pytest.mark.parametrize("kind", ["duckdb", "postgresql"])
def test_what_arrives_while_the_worker_is_away_or_killed_is_kept_once(
    kind: str, broker: Mosquitto, device: Device, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"duckdb:{tmp_path / 'a.duckdb'}"
    if kind == "postgresql":
        url = request.getfixturevalue("postgres").fresh("worker")
    made = [each.to_json() for each in events(2_000)]
    subscribed(broker, url)
    device.say("event", *made[:1_000])
    device.say("event", "{no JSON", *made[:10])
    device.say("summary", summary().to_json())
    with working(broker, url) as worker:
        device.say("event", *made[1_000:])
        worker.process.kill()
        worker.process.wait()

    device.say("health", health().to_json(), retain=True)
    device.say("availability", "online", retain=True)
    port = free_port()
    page_address = f"http://127.0.0.1:{port}/metrics"

    def committed() -> float:
        """Time of the last commit; 0 before the first."""
        with contextlib.suppress(OSError), urllib.request.urlopen(page_address, timeout=PATIENCE) as page:
            lines = dict(line.rsplit(" ", 1) for line in page.read().decode().splitlines())
            return float(lines["oahega_archive_committed_timestamp_seconds"])
        return 0.0

    def has_all_after_one_more_run() -> bool:
        """A DuckDB file cannot be looked into while it is written."""
        with working(broker, url, "--metrics", str(port)) as worker:
            wait_until(lambda: 2 < time.time() - committed() < 1e9)
            assert "messages kept apart" in worker.is_stopped()
        return is_there(url, 2_000)

    wait_until(has_all_after_one_more_run)
    assert ask(url, "SELECT sum(events) FROM event_hours") == [(2_000,)]
    assert ask(url, "SELECT count(*) FROM summaries") == [(1,)]
    assert ask(url, "SELECT topic FROM misfits") == [(f"{BASE}/event",)]
    assert ask(url, "SELECT * FROM gaps") == []
    assert ask(url, "SELECT release, online FROM device_care") == [("0.4.0", True)]


def test_a_database_that_goes_and_comes_back_costs_nothing(
    broker: Mosquitto, device: Device, postgres: Postgres
) -> None:
    url = postgres.fresh("comes_and_goes")
    made = [each.to_json() for each in events(600)]
    with working(broker, url) as worker:
        wait_until(lambda: "Subscribed" in worker.said())
        device.say("event", *made[:300])
        wait_until(lambda: is_there(url, 300))

        postgres.kill()
        device.say("event", *made[300:])
        wait_until(lambda: "The store is away" in worker.said())
        postgres.start()

        wait_until(lambda: is_there(url, 600))
        said = worker.is_stopped()

    assert said.count("The store is away") == 1
    assert ask(url, "SELECT sum(events) FROM event_hours") == [(600,)]


def test_a_database_that_lets_one_in_and_takes_nothing_is_said_to_be_away_once(
    broker: Mosquitto, device: Device, postgres: Postgres
) -> None:
    """As one whose disk is full does."""
    url, port = postgres.fresh("takes_nothing"), free_port()
    with working(broker, url, "--metrics", str(port)) as worker:
        wait_until(lambda: "Subscribed" in worker.said())
        ask(url, "ALTER TABLE events RENAME TO elsewhere")
        device.say("event", *[each.to_json() for each in events(300)])
        wait_until(lambda: "oahega_archive_store_failures_total 3.0" in metrics(port))
        between = metrics(port)
        ask(url, "ALTER TABLE elsewhere RENAME TO events")
        wait_until(lambda: is_there(url, 300))
        wait_until(lambda: "oahega_archive_store_up 1.0" in metrics(port))
        said = worker.is_stopped()

    assert "oahega_archive_store_up 0.0" in between
    assert said.count("The store is away") == 1
    assert said.count("The store is open again") == 1


def test_two_workers_share_the_events(broker: Mosquitto, device: Device, postgres: Postgres) -> None:
    url = postgres.fresh("shared")
    with working(broker, url, "--worker", "1") as first, working(broker, url, "--worker", "2") as second:
        for worker in (first, second):
            wait_until(lambda worker=worker: "Subscribed" in worker.said())
        device.say("event", *[each.to_json() for each in events(1_000)])
        wait_until(lambda: is_there(url, 1_000))
        said = [first.is_stopped(), second.is_stopped()]

    kept = [int(text.split(" events")[0].split()[-1]) for text in said]
    assert sum(kept) == 1_000
    assert min(kept) > 0


def test_a_worker_that_leaves_takes_what_waits_for_it_and_gets_nothing_more(
    broker: Mosquitto, device: Device, postgres: Postgres
) -> None:
    url, made = postgres.fresh("leaves"), [each.to_json() for each in events(1_200)]
    second = ("--worker", "2")
    subscribed(broker, url, *second)
    with working(broker, url) as first:
        wait_until(lambda: "Subscribed" in first.said())
        device.say("event", *made[:1_000])
        wait_until(lambda: is_there(url, 500))  # the absent one's half waits for it

        with working(broker, url, *second, "--leave") as leaving:
            said = leaving.ends()

        assert leaving.process.returncode == 0
        assert "500 events" in said
        assert is_there(url, 1_000)
        device.say("event", *made[1_000:])
        wait_until(lambda: is_there(url, 1_200))
        assert "700 events" in first.is_stopped()


def test_a_session_has_the_name_that_is_asked_for(broker: Mosquitto, device: Device, tmp_path: Path) -> None:
    url = f"duckdb:{tmp_path / 'a.duckdb'}"
    subscribed(broker, url, "--client-id", "archive-1")
    device.say("event", *[each.to_json() for each in events(20)])

    with working(broker, url, "--client-id", "archive-1", "--leave") as leaving:
        leaving.ends()

    assert is_there(url, 20)


def test_one_that_could_not_leave_says_so(broker: Mosquitto, postgres: Postgres) -> None:
    url = postgres.fresh("cannot_leave")
    broker.stop()
    with working(broker, url, "--leave") as leaving:
        wait_until(lambda: "is away" in leaving.said())
        said = leaving.is_stopped()

    assert leaving.process.returncode == 1
    assert "use --leave again" in said


@pytest.mark.lengthy
def test_archives_of_different_names_get_all_events_each(
    broker: Mosquitto, device: Device, tmp_path: Path
) -> None:
    ours, trial = f"duckdb:{tmp_path / 'ours.duckdb'}", f"duckdb:{tmp_path / 'trial.duckdb'}"
    ports = [free_port(), free_port()]
    with (
        working(broker, ours, "--metrics", str(ports[0])) as first,
        working(broker, trial, "--name", "trial", "--metrics", str(ports[1])) as second,
    ):
        for worker in (first, second):
            wait_until(lambda worker=worker: "Subscribed" in worker.said())
        device.say("event", *[each.to_json() for each in events(200)])
        for port in ports:
            wait_until(lambda port=port: "oahega_archive_events_total 200" in metrics(port))
        first.is_stopped()
        second.is_stopped()

    assert is_there(ours, 200)
    assert is_there(trial, 200)


def test_a_store_that_will_never_fit_ends_the_worker(broker: Mosquitto, tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    file.write_bytes(b"something else" * 1000)

    with working(broker, f"duckdb:{file}") as worker:
        said = worker.ends()

    assert worker.process.returncode == 78  # systemd does not start it again
    assert "no DuckDB file" in said


@pytest.mark.parametrize(
    "store", ["postgresql://archive:hunter2@db/archive", "postgresql://db/archive?user=a&password=hunter2"]
)
def test_a_password_in_the_command_line_is_refused_and_not_repeated(store: str) -> None:
    done = subprocess.run(
        [*VERB, "localhost", "--to", store], env=environment(), capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert "PGPASSFILE" in done.stderr
    assert "hunter2" not in done.stderr

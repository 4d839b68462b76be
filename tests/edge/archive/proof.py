"""What the archive withstands and how fast it is, with real mosquitto and PostgreSQL: `make archive-proof`.

KILLS (30) random moments at which the worker, PostgreSQL or both are killed under load; EVENTS (20,000) for
the rates in one run: DuckDB, PostgreSQL with one and with two workers, `mosquitto_sub | psql` by row.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from brokers import Mosquitto, free_port
from edge.mqtt_samples import BASE, events
from oahega_edge.archive.address import connect
from oahega_edge.archive.database import StoreAway
from postgres import Postgres, programs
from processes import environment

KEEPS = "allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0"


def main(kills: int, count: int, seed: int) -> None:
    bin_folder = programs()
    if bin_folder is None:
        sys.exit("PostgreSQL is absent: apt-get install postgresql")
    folder = Path(tempfile.mkdtemp(prefix="oahega-proof-"))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    server = Postgres(bin_folder, folder)
    server.start()
    try:
        print(rates(server, folder, count), flush=True)
        with Mosquitto(folder, KEEPS) as broker:
            print(killed(broker, server, kills, random.Random(seed)), flush=True)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def killed(broker: Mosquitto, server: Postgres, kills: int, choose: random.Random) -> str:
    """Every event that the broker acknowledged must be there once."""
    url = server.fresh("killed")
    with working(broker, url):
        pass
    made = iter([each.to_json() for each in events(kills * 1_000)])
    sent = 0
    done = {"worker": 0, "PostgreSQL": 0, "both": 0}
    with saying(broker) as say:
        for _ in range(kills):
            victim = choose.choice(sorted(done))
            with working(broker, url) as worker:
                until = time.monotonic() + choose.uniform(0.2, 2.0)
                while time.monotonic() < until:
                    sent += say([text for _, text in zip(range(50), made, strict=False)])
                if victim != "PostgreSQL":
                    worker.kill()
                if victim != "worker":
                    server.kill()
                    sent += say([text for _, text in zip(range(50), made, strict=False)])
                    server.start()
                    time.sleep(choose.uniform(0.0, 1.0))
            done[victim] += 1
    with working(broker, url):
        wait_for(lambda: rows_of(url, "events") >= sent, 300)
    rows, ids, hours = rows_of(url, "events"), rows_of(url, "events", "DISTINCT id"), hours_of(url)
    verdict = "each is there exactly once" if rows == ids == hours == sent else "WRONG"
    return (
        f"{kills} kills ({done}): the broker acknowledged {sent} events; {rows} rows, {ids} ids, "
        f"{hours} in the hours: {verdict}"
    )


def rates(server: Postgres, folder: Path, count: int) -> str:
    """Events per second from a queue that is full: the broker has everything before the clock starts."""
    made = [each.to_json() for each in events(count)]
    stores = (
        ("PostgreSQL", server.fresh("one"), 1),
        ("PostgreSQL, two workers", server.fresh("two"), 2),
        ("DuckDB", f"duckdb:{folder / 'archive.duckdb'}", 1),
    )
    lines = []
    for name, url, workers in stores:
        with Mosquitto(folder, KEEPS) as broker:  # a new one: a session that stays away keeps its share
            for number in range(workers):
                with working(broker, url, "--worker", str(number + 1)):
                    pass
            with saying(broker) as say:
                say(made)
            lines.append(f"{name}: {timed(broker, url, workers, count):.0f} events/s")
    with Mosquitto(folder, KEEPS) as broker:
        rate = by_pipe(broker, server.fresh("pipe"), made[: count // 10])
    return "; ".join([*lines, f"mosquitto_sub | psql: {rate:.0f} events/s"])


def timed(broker: Mosquitto, url: str, workers: int, count: int) -> float:
    """From the first commit to the last, without the start of Python, by the workers' own metrics."""
    marks: list[tuple[float, int]] = []
    ports = [free_port() for _ in range(workers)]
    with contextlib.ExitStack() as stack:
        for number, port in enumerate(ports, 1):
            options = ("--worker", str(number), "--metrics", str(port))
            stack.enter_context(working(broker, url, *options, wait=False))
        while not marks or marks[-1][1] < count:
            now = sum(map(kept, ports))
            if now and (not marks or now > marks[-1][1]):
                marks.append((time.monotonic(), now))
            time.sleep(0.02)
    return (marks[-1][1] - marks[0][1]) / (marks[-1][0] - marks[0][0])


def kept(port: int) -> int:
    """Events that a worker has committed."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        lines = dict(line.rsplit(" ", 1) for line in page.read().decode().splitlines())
        return int(float(lines["oahega_archive_events_total"]))
    return 0


def by_pipe(broker: Mosquitto, url: str, made: Sequence[str]) -> float:
    """Each message is a row and a transaction of its own."""
    subprocess.run(["psql", "-q", url, "-c", "CREATE TABLE raw (body JSONB)"], check=True)
    command = (
        f"mosquitto_sub -h {broker.host} -p {broker.port} -q 1 -t '{BASE}/event' | "
        "sed -u \"s/'/''/g; s/.*/INSERT INTO raw VALUES ('&');/\" | "
        f"psql -q '{url}'"
    )
    pipe = subprocess.Popen(["bash", "-c", command], start_new_session=True)
    try:
        time.sleep(2)
        with saying(broker) as say:
            started = time.monotonic()
            threading.Thread(target=say, args=(made,)).start()
            wait_for(lambda: rows_of(url, "raw") >= len(made), 300)
            return len(made) / (time.monotonic() - started)
    finally:
        os.killpg(pipe.pid, 15)
        pipe.wait()


@contextlib.contextmanager
def working(broker: Mosquitto, url: str, *options: str, wait: bool = True) -> Iterator[subprocess.Popen[str]]:
    """A worker; with `wait`, it has subscribed before the block begins. Stopped in order if it still runs."""
    address = f"{broker.host}:{broker.port}"
    command = [sys.executable, "-m", "oahega_edge", "archive", address, "--to", url, *options]
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        if wait:
            next(line for line in process.stderr if "Subscribed" in line)
        yield process
    finally:
        process.terminate()
        process.communicate()


@contextlib.contextmanager
def saying(broker: Mosquitto) -> Iterator[Callable[[Sequence[str]], int]]:
    """A device: publishes at QoS 1, and returns how many events the broker acknowledged."""
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.max_inflight_messages_set(500)
    client.connect(broker.host, broker.port)
    client.loop_start()

    def say(payloads: Sequence[str]) -> int:
        sent = [client.publish(f"{BASE}/event", payload, 1) for payload in payloads]
        for info in sent:
            info.wait_for_publish(120)
        return sum(info.is_published() for info in sent)

    yield say
    client.disconnect()
    client.loop_stop()


def ask(url: str, sql: str) -> int:
    """A number; 0 while the database is away."""
    try:
        with contextlib.closing(connect(url)) as database:
            return int(database.execute(sql)[0][0] or 0)
    except StoreAway:
        return 0


def rows_of(url: str, table: str, what: str = "*") -> int:
    return ask(url, f"SELECT count({what}) FROM {table}")


def hours_of(url: str) -> int:
    return ask(url, "SELECT sum(events) FROM event_hours")


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Gives up silently: what is missing then is printed."""
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)


if __name__ == "__main__":
    main(
        int(os.environ.get("KILLS", "30")),
        int(os.environ.get("EVENTS", "20000")),
        int(os.environ.get("SEED", "1")),
    )

"""Events per second: from a full queue, and at a steady rate."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from brokers import Mosquitto, free_port
from edge.archive.proof.parts import (
    KEEPS,
    TOPIC,
    Maker,
    Publisher,
    kept,
    processor_s,
    rows_of,
    verdict,
    wait_for,
    working,
)
from postgres import Postgres

SLICE_S = 0.05


def queue(server: Postgres, folder: Path, count: int) -> Iterator[str]:
    """The broker has everything before the clock starts."""
    stores = (
        ("PostgreSQL", server.fresh("queue_one"), 1),
        ("PostgreSQL, two workers", server.fresh("queue_two"), 2),
        ("DuckDB", f"duckdb:{folder / 'queue.duckdb'}", 1),
    )
    for name, url, workers in stores:
        with Mosquitto(folder, KEEPS) as broker:  # a new one: a session that stays away keeps its share
            for number in range(workers):
                with working(broker, url, "--worker", str(number + 1)):
                    pass
            with Publisher(broker) as publisher:
                publisher.say(Maker().take(count))
            yield f"{name}: {_timed(broker, url, workers, count)}"
    with Mosquitto(folder, KEEPS) as broker:
        rate = _by_pipe(broker, server.fresh("queue_pipe"), count // 10)
        yield f"mosquitto_sub | psql: {rate:.0f} events/s"


def _timed(broker: Mosquitto, url: str, workers: int, count: int) -> str:
    """From the first commit to the last, without the start of Python, by the workers' own metrics."""
    marks: list[tuple[float, float, float]] = []
    ports = [free_port() for _ in range(workers)]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                working(broker, url, "--worker", str(number), "--metrics", str(port), wait=False)
            )
            for number, port in enumerate(ports, 1)
        ]
        while not marks or marks[-1][1] < count:
            now = sum(map(kept, ports))
            if now and (not marks or now > marks[-1][1]):
                marks.append((time.monotonic(), now, sum(processor_s(each.pid) for each in processes)))
            time.sleep(0.02)
    (first_at, first, first_used), (last_at, last, last_used) = marks[0], marks[-1]
    if last == first:
        return "one batch held all; name more EVENTS"
    return (
        f"{(last - first) / (last_at - first_at):.0f} events/s by the clock, "
        f"{1e6 * (last_used - first_used) / (last - first):.0f} us of the workers' processor for an event"
    )


def steady(broker: Mosquitto, server: Postgres, rate: int, seconds: float, workers: int) -> Iterator[str]:
    """Published as by devices, at a rate; how far the archive is behind every ten seconds and at the end."""
    url = server.fresh(f"steady_{workers}")
    ports = [free_port() for _ in range(workers)]
    maker = Maker()
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(working(broker, url, "--worker", str(number), "--metrics", str(port)))
            for number, port in enumerate(ports, 1)
        ]
        publisher = stack.enter_context(Publisher(broker))
        began = said = time.monotonic()
        sent, worst = 0, 0
        while (now := time.monotonic()) - began < seconds:
            due = int(rate * (now - began)) - sent
            if due > 0:
                sent += publisher.say(maker.take(min(due, rate)))
            if now - said >= 10:
                said, behind = now, sent - int(sum(map(kept, ports)))
                worst = max(worst, behind)
                yield f"after {now - began:.0f} s: {sent / (now - began):.0f} events/s, {behind} to be kept"
            time.sleep(SLICE_S)
        published_in = time.monotonic() - began
        wait_for(lambda: sum(map(kept, ports)) >= sent, 600)
        lag = time.monotonic() - began - published_in
        used = sum(processor_s(each.pid) for each in processes)
        broker_used = processor_s(broker.pid)
    yield (
        f"{workers} worker(s): {sent} events in {published_in:.0f} s ({sent / published_in:.0f}/s), "
        f"the last kept {lag:.1f} s later, at most {worst} to be kept; processor for an event: "
        f"workers {1e6 * used / sent:.0f} us, broker {1e6 * broker_used / sent:.0f} us"
    )
    yield verdict(url, sent)


def _by_pipe(broker: Mosquitto, url: str, count: int) -> float:
    """Each message is a row and a transaction of its own."""
    subprocess.run(["psql", "-q", url, "-c", "CREATE TABLE raw (body JSONB)"], check=True)
    command = (
        f"mosquitto_sub -h {broker.host} -p {broker.port} -q 1 -t '{TOPIC}' | "
        "sed -u \"s/'/''/g; s/.*/INSERT INTO raw VALUES ('&');/\" | "
        f"psql -q '{url}'"
    )
    pipe = subprocess.Popen(["bash", "-c", command], start_new_session=True)
    try:
        time.sleep(2)
        with Publisher(broker) as publisher:
            started = time.monotonic()
            thread = threading.Thread(target=publisher.say, args=(Maker().take(count),))
            thread.start()
            wait_for(lambda: rows_of(url, "raw") >= count, 600)
            thread.join()
            return count / (time.monotonic() - started)
    finally:
        os.killpg(pipe.pid, 15)
        pipe.wait()

"""What fails under load, and what is there afterwards."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg

from brokers import Mosquitto, free_port
from edge.archive.proof.parts import (
    KEEPS,
    Maker,
    Publisher,
    ask,
    kept,
    rows_of,
    verdict,
    wait_for,
    working,
)
from postgres import Postgres, programs

SMALL_DISK_MB = 120
FORGETS = """allow_anonymous true
max_queued_messages 0
max_inflight_messages 500
persistence true
persistence_location {folder}/
autosave_interval 1
"""
"""Of the broker that is killed: most of what waits is with it, not with the worker."""


def kills(broker: Mosquitto, server: Postgres, count: int, choose: random.Random) -> Iterator[str]:
    """Every event that the broker acknowledged must be there once."""
    url = server.fresh("killed")
    with working(broker, url):
        pass
    maker, sent = Maker(), 0
    done = {"worker": 0, "PostgreSQL": 0, "both": 0}
    with Publisher(broker) as publisher:
        for _ in range(count):
            victim = choose.choice(sorted(done))
            with working(broker, url) as worker:
                until = time.monotonic() + choose.uniform(0.2, 2.0)
                while time.monotonic() < until:
                    sent += publisher.say(maker.take(50))
                if victim != "PostgreSQL":
                    worker.kill()
                if victim != "worker":
                    server.kill()
                    sent += publisher.say(maker.take(50))
                    server.start()
                    time.sleep(choose.uniform(0.0, 1.0))
            done[victim] += 1
    with working(broker, url):
        wait_for(lambda: rows_of(url, "events") >= sent, 600)
    yield f"{count} kills ({done}): {verdict(url, sent)}"


def broker_kills(server: Postgres, folder: Path, count: int, choose: random.Random) -> Iterator[str]:
    """What it had not written is lost; each loss must be a gap, nothing may be twice.

    The publisher plays a device that counts on: what the broker had acknowledged is not sent again. Every
    other time the database is slow, so that events still wait at the broker when it is killed.
    """
    url = server.fresh("broker_killed")
    maker = Maker()
    with Mosquitto(folder, FORGETS.format(folder=folder)) as broker, working(broker, url) as worker:
        for number in range(count):
            slow = psycopg.connect(url) if number % 2 else contextlib.nullcontext()
            with slow as holder:
                if holder is not None:
                    holder.execute("LOCK TABLE events, boots IN ACCESS EXCLUSIVE MODE")
                with contextlib.suppress(OSError), Publisher(broker) as publisher:
                    until = time.monotonic() + choose.uniform(0.5, 2.5)
                    while time.monotonic() < until:
                        publisher.say(maker.take(50))
                    broker.stop(kill=True)
            before = subscriptions(worker)
            broker.start()
            wait_for(partial(subscribed_since, worker, before), 60)
        with Publisher(broker) as publisher:
            publisher.say(maker.take(50))
        wait_for(lambda: ask(url, "SELECT max(highest) FROM boots") == maker.made - 1, 120)
        time.sleep(2)
    rows, ids = rows_of(url, "events"), rows_of(url, "events", "DISTINCT id")
    missing = ask(url, "SELECT sum(missing) FROM gaps")
    right = "each is there once or in a gap" if rows == ids and rows + missing == maker.made else "WRONG"
    yield (
        f"{count} kills of the broker: {maker.made} sent, {rows} rows, {ids} ids, {missing} in gaps: {right}"
    )


def subscribed_since(worker: subprocess.Popen[str], before: int) -> bool:
    return subscriptions(worker) > before


def subscriptions(worker: subprocess.Popen[str]) -> int:
    return sum("Subscribed" in line for line in worker.said)  # type: ignore[attr-defined]


def slow_and_refusing(broker: Mosquitto, server: Postgres) -> Iterator[str]:
    """Tables that are locked for seconds; then no connection is let in."""
    url = server.fresh("slow")
    maker, sent = Maker(), 0
    with working(broker, url) as worker, Publisher(broker) as publisher:
        sent += publisher.say(maker.take(500))
        wait_for(lambda: rows_of(url, "events") == sent, 60)
        with psycopg.connect(url) as holder:
            holder.execute("LOCK TABLE events, boots IN ACCESS EXCLUSIVE MODE")
            sent += publisher.say(maker.take(2_000))
            time.sleep(8)
        came = wait_for(lambda: rows_of(url, "events") == sent, 60)
        yield f"tables locked for 8 s: {'all kept afterwards' if came else 'WRONG'}"

        with psycopg.connect(server.url, autocommit=True) as owner:
            owner.execute("ALTER DATABASE slow ALLOW_CONNECTIONS false")
            owner.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'slow'")
            sent += publisher.say(maker.take(2_000))
            time.sleep(5)
            owner.execute("ALTER DATABASE slow ALLOW_CONNECTIONS true")
        wait_for(lambda: rows_of(url, "events") == sent, 60)
        yield from _said(worker)
    yield f"refused for 5 s: {verdict(url, sent)}"


def full_disk(folder: Path) -> Iterator[str]:
    """A small tmpfs that another file fills while events come: PostgreSQL on it, then a DuckDB file."""
    bin_folder = programs()
    if os.getuid() != 0 or bin_folder is None:
        yield "left out: needs root for a tmpfs"
        return
    with _small_disk(folder) as small:
        shutil.chown(small, "postgres")
        server = Postgres(bin_folder, small)
        server.start()
        try:
            # One that gave up when its log could not be written is started, as systemd would.
            yield from _filled("PostgreSQL's", server.fresh("full_disk"), folder, small, server.start)
        finally:
            server.stop()
    with _small_disk(folder) as small:
        yield from _filled("DuckDB's", f"duckdb:{small / 'full.duckdb'}", folder, small)


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    small = folder / "small"
    small.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK_MB}m", "tmpfs", str(small)], check=True)
    try:
        yield small
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


def _filled(
    whose: str, url: str, folder: Path, small: Path, again: Callable[[], None] = lambda: None
) -> Iterator[str]:
    maker, sent, port = Maker(), 0, free_port()
    ballast = small / "ballast"
    with (
        Mosquitto(folder, KEEPS) as broker,
        working(broker, url, "--metrics", str(port)) as worker,
        Publisher(broker) as publisher,
    ):
        sent += publisher.say(maker.take(500))
        wait_for(lambda: kept(port) == sent, 60)
        with contextlib.suppress(OSError), ballast.open("wb") as file:
            while True:
                file.write(bytes(1 << 16))
        for _ in range(20):
            sent += publisher.say(maker.take(2_000))
        time.sleep(10)
        kept_meanwhile = kept(port)
        ballast.unlink()
        again()
        wait_for(lambda: kept(port) == sent, 300)
        yield from _said(worker)
    yield f"{whose} disk full with {sent - kept_meanwhile:.0f} events waiting: {verdict(url, sent)}"


def _said(worker: subprocess.Popen[str]) -> Iterator[str]:
    """What it told its operator."""
    for line in worker.said:  # type: ignore[attr-defined]
        if "store is" in line:
            yield f"said: {line.strip()}"

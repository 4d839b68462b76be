"""A line to PostgreSQL that is cut and nobody says so, as by a cable that is pulled."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from edge.mqtt_samples import events
from oahega_edge.archive.database import StoreAway
from oahega_edge.archive.postgres import PostgresDatabase
from oahega_edge.archive.records import read_record
from oahega_edge.archive.store import Batch, Store
from oahega_edge.contract.events import Message
from oahega_edge.service.health import utc_now
from postgres import Postgres
from waiting import beside, wait_until

pytestmark = pytest.mark.lengthy
HERE, THERE = "198.51.100.213", "198.51.100.214"
"""Of a network for documents (RFC 5737), which leads nowhere else."""
PASS_ON = """
import socket, sys, threading
listener = socket.create_server((sys.argv[1], 5432))
print("listening", flush=True)
def copy(source, sink):
    while data := source.recv(65536):
        sink.sendall(data)
while True:
    near, _ = listener.accept()
    far = socket.socket(socket.AF_UNIX)
    far.connect(sys.argv[2])
    for pair in ((near, far), (far, near)):
        threading.Thread(target=copy, args=pair, daemon=True).start()
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextlib.contextmanager
def far_away(server: Postgres) -> Iterator[tuple[str, Callable[[], None]]]:
    """The server's address in another network, and what cuts the line to it: nobody answers there then."""
    if os.getuid() or not shutil.which("ip"):
        pytest.skip("a network of its own needs root and iproute2")
    space, near, far = (f"oahega{os.getpid()}{end}" for end in ("", "a", "b"))
    try:
        ip("netns", "add", space)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network of its own can be made: {error.stderr.strip()}")
    try:
        ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", space)
        ip("address", "add", f"{HERE}/30", "dev", near)
        ip("link", "set", near, "up")
        ip("-n", space, "address", "add", f"{THERE}/30", "dev", far)
        ip("-n", space, "link", "set", far, "up")
        command = ["ip", "netns", "exec", space, sys.executable, "-c", PASS_ON, THERE, str(server.socket)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as passing:
            try:
                assert passing.stdout is not None
                assert passing.stdout.readline() == b"listening\n"
                url = f"postgresql://archive@{THERE}:5432"
                yield url, lambda: ip("-n", space, "address", "del", f"{THERE}/30", "dev", far)
            finally:
                passing.kill()
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):  # it was never made
            ip("link", "del", near)
        ip("netns", "del", space)


def batch(made: list[Message]) -> Batch:
    return Batch(
        [
            read_record("oahega/v1", "oahega/v1/kiosk-1/event", each.to_json().encode(), utc_now())
            for each in made
        ]
    )


def test_what_is_sent_into_a_line_that_is_cut_is_given_up(postgres: Postgres) -> None:
    """TCP alone would send it again and again for a quarter of an hour."""
    postgres.fresh("cut")
    ends: list[BaseException | None] = []
    with far_away(postgres) as (address, cut):
        store = Store(PostgresDatabase(f"{address}/cut", patience_s=2.0))

        def write() -> None:
            try:
                store.write(batch([*events(900)]))
            except StoreAway as error:
                ends.append(error)
            else:
                ends.append(None)

        assert store.write(batch([*events(3)])).events == 3
        cut()
        beside(write)
        wait_until(lambda: ends)
        store.close()

    assert isinstance(ends[0], StoreAway)

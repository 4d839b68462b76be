"""Workers as processes, a publisher that costs little, and events made from recorded ones."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from uuid import UUID

import mqtt5

from brokers import Mosquitto
from edge.mqtt_samples import BASE, events
from oahega_edge.archive.address import connect
from oahega_edge.archive.database import StoreAway
from processes import environment

KEEPS = "allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 0"
TOPIC = f"{BASE}/event"
WINDOW = 5_000
"""Events that the publisher sends ahead of their acknowledgement."""


class Maker:
    """Endless events: recorded ones, each time with a new id and the next number."""

    def __init__(self, boot: str = "boot-1") -> None:
        texts = [each.to_json() for each in events(64, tracks=8)]
        self._halves = []
        for text in texts:
            content = json.loads(text) | {"id": "<id>", "seq": -7, "boot_id": boot}
            first, _, rest = json.dumps(content, separators=(",", ":")).partition("<id>")
            middle, _, last = rest.partition("-7")
            self._halves.append((first, middle, last))
        self._boot = hash(boot) & 0xFFFF
        self.made = 0

    def take(self, count: int) -> list[bytes]:
        found = []
        for seq in range(self.made, self.made + count):
            first, middle, last = self._halves[seq % len(self._halves)]
            name = UUID(int=0x0198_0000_0000_7000_8000_0000_0000_0000 + (self._boot << 40) + seq)
            found.append(f"{first}{name}{middle}{seq}{last}".encode())
        self.made += count
        return found


class Publisher:
    """QoS 1 through one socket; knows what the broker has acknowledged."""

    def __init__(self, broker: Mosquitto, client_id: str = "publisher") -> None:
        self._link = socket.create_connection((broker.host, broker.port), timeout=60)
        self._link.sendall(mqtt5.ConnectPacket(client_id, clean_start=True, keep_alive=0).write())
        self._unread = b""
        self._free = list(range(1, WINDOW + 1))
        self.acknowledged = 0
        assert isinstance(self._packets()[0], mqtt5.ConnAckPacket)

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()

    def say(self, payloads: Sequence[bytes]) -> int:
        """How many the broker acknowledged: all, or OSError."""
        before, start = self.acknowledged, 0
        while self.acknowledged - before < len(payloads):
            part = payloads[start : start + len(self._free)]
            start += len(part)
            if part:
                self._link.sendall(b"".join(self._packet(each) for each in part))
            self._hear()
        return len(payloads)

    def _packet(self, payload: bytes) -> bytes:
        return mqtt5.PublishPacket(
            TOPIC, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=self._free.pop()
        ).write()

    def _hear(self) -> None:
        for packet in self._packets():
            if isinstance(packet, mqtt5.PubAckPacket):
                self._free.append(packet.packet_id)
                self.acknowledged += 1

    def _packets(self) -> list[mqtt5.Packet]:
        chunk = self._link.recv(1 << 16)
        if not chunk:
            raise ConnectionResetError("the broker closed the connection")
        data, start, found = memoryview(self._unread + chunk), 0, []
        with contextlib.suppress(IndexError):
            while True:
                packet, length = mqtt5.read(data[start:])
                found.append(packet)
                start += length
        self._unread = bytes(data[start:])
        return found


@contextlib.contextmanager
def working(broker: Mosquitto, url: str, *options: str, wait: bool = True) -> Iterator[subprocess.Popen[str]]:
    """A worker; with `wait`, it has subscribed before the block begins. Stopped in order if it still runs."""
    address = f"{broker.host}:{broker.port}"
    command = [sys.executable, "-m", "oahega_edge", "archive", address, "--to", url, *options]
    process = subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    said: list[str] = []
    subscribed = threading.Event()

    def listen() -> None:
        for line in process.stderr or ():
            said.append(line)
            if "Subscribed" in line:
                subscribed.set()

    thread = threading.Thread(target=listen)
    thread.start()
    process.said = said  # type: ignore[attr-defined]
    try:
        if wait:
            wait_for(lambda: subscribed.is_set() or process.poll() is not None, 120)
        yield process
    finally:
        process.terminate()
        process.wait()
        thread.join()


def kept(port: int, what: str = "events_total") -> float:
    """A figure of a worker's own page."""
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        lines = dict(line.rsplit(" ", 1) for line in page.read().decode().splitlines())
        return float(lines[f"oahega_archive_{what}"])
    return 0


def ask(url: str, sql: str) -> int:
    """A number; 0 while the database is away."""
    try:
        with contextlib.closing(connect(url)) as database:
            return int(database.execute(sql)[0][0] or 0)
    except StoreAway:
        return 0


def rows_of(url: str, table: str, what: str = "*") -> int:
    return ask(url, f"SELECT count({what}) FROM {table}")


def verdict(url: str, sent: int) -> str:
    """Whether each event is there exactly once, in its table and in its hour."""
    rows, ids = rows_of(url, "events"), rows_of(url, "events", "DISTINCT id")
    hours, missing = (
        ask(url, "SELECT sum(events) FROM event_hours"),
        ask(url, "SELECT sum(missing) FROM gaps"),
    )
    right = "each is there exactly once" if rows == ids == hours == sent and not missing else "WRONG"
    return f"{sent} acknowledged; {rows} rows, {ids} ids, {hours} in the hours, {missing} in gaps: {right}"


def wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether it came true in time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def processor_s(pid: int) -> float:
    """Seconds of processor that a process has used."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100

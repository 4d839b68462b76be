"""1,000 devices against one mosquitto: `pytest -s -m long tests/edge/long_thousand_devices.py`.

Prints events per second, end-to-end latency and losses; asserts only that nothing is lost. The devices are
bare MQTT 5 connections that replay events with new times: the broker and the subscriber are what is loaded.
OAHEGA_RECORDED names a file of recorded events (`oahega-edge replay CLIP > FILE`); without, one event serves.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import struct
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from brokers import HOST, Mosquitto
from edge.mqtt_samples import event, stamp

pytestmark = [pytest.mark.broker, pytest.mark.long]

DEVICES = 1000
PROCESSES = 4
PER_SECOND = 1.0
"""Events of one device: many for one that speaks when a face changes."""
SECONDS = 60


def packet(kind: int, body: bytes) -> bytes:
    """An MQTT packet: kind and flags, remaining length in 7-bit groups, body."""
    length, size = len(body), bytearray()
    while True:
        length, low = divmod(length, 128)
        size.append(low | (0x80 if length else 0))
        if not length:
            return bytes([kind]) + bytes(size) + body


def text(value: str) -> bytes:
    return struct.pack(">H", len(value)) + value.encode()


async def read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    kind = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        digit = (await reader.readexactly(1))[0]
        length |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            return kind, await reader.readexactly(length)


async def connect(port: int, client_id: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(packet(0x10, text("MQTT") + b"\x05\x02\x00\x3c\x00" + text(client_id)))
    kind, body = await read_packet(reader)
    assert (kind, body[1]) == (0x20, 0), "the broker refused a device"
    return reader, writer


def recorded(name: str) -> list[dict[str, object]]:
    """Events to replay, as this device's."""
    file = os.environ.get("OAHEGA_RECORDED")
    lines = Path(file).read_text().splitlines() if file else [event(stamp(device=name)).to_json()]
    return [{**json.loads(line), "device": name} for line in lines]


async def device(port: int, number: int, start_at: float) -> int:
    """Publish at the set rate; the number of acknowledged events."""
    name = f"sim-{number}"
    reader, writer = await connect(port, name)
    templates = recorded(name)
    count = round(SECONDS * PER_SECOND)

    async def acknowledgements() -> int:
        acknowledged = 0
        while acknowledged < count:
            kind, _ = await read_packet(reader)
            acknowledged += kind == 0x40
        return acknowledged

    counting = asyncio.create_task(acknowledgements())
    offset = number / DEVICES / PER_SECOND
    for seq in range(count):
        await asyncio.sleep(max(0.0, start_at + offset + seq / PER_SECOND - time.time()))
        payload = json.dumps({**templates[seq % len(templates)], "seq": seq, "sent": time.time()}).encode()
        head = text(f"oahega/v1/{name}/event") + struct.pack(">H", seq % 65535 + 1) + b"\x00"
        writer.write(packet(0x32, head + payload))
    acknowledged = await asyncio.wait_for(counting, 60)
    writer.close()
    return acknowledged


def devices(port: int, first: int, count: int, start_at: float) -> int:
    async def all_of_them() -> int:
        return sum(await asyncio.gather(*(device(port, first + n, start_at) for n in range(count))))

    return asyncio.run(all_of_them())


@dataclass(frozen=True)
class Heard:
    latencies_ms: list[float]
    distinct: int
    seconds: float


async def subscribe(port: int, expected: int, patience: float) -> Heard:
    reader, writer = await connect(port, "sim-subscriber")
    writer.write(packet(0x82, b"\x00\x01\x00" + text("oahega/v1/+/event") + b"\x01"))
    latencies, seen, began, ended = [], set(), 0.0, 0.0
    until = time.monotonic() + patience
    while len(seen) < expected and time.monotonic() < until:
        try:
            kind, body = await asyncio.wait_for(read_packet(reader), 30)
        except TimeoutError:
            break
        if kind & 0xF0 != 0x30:
            continue
        (size,) = struct.unpack_from(">H", body)
        rest = body[2 + size :]
        writer.write(packet(0x40, rest[:2]))
        content = json.loads(rest[3 + rest[2] :])  # behind the packet id and the properties
        now = time.time()
        began, ended = began or now, now
        latencies.append((now - content["sent"]) * 1000)
        seen.add((content["device"], content["seq"]))
    writer.close()
    return Heard(latencies, len(seen), ended - began)


def test_a_thousand_devices_lose_nothing(tmp_path: Path) -> None:
    extra = "allow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 1000"
    each = DEVICES // PROCESSES
    expected = DEVICES * round(SECONDS * PER_SECOND)
    with Mosquitto(tmp_path, extra) as broker, multiprocessing.Pool(PROCESSES) as pool:
        start_at = time.time() + 5
        work = [(broker.port, each * n, each, start_at) for n in range(PROCESSES)]
        running = pool.starmap_async(devices, work)
        heard = asyncio.run(subscribe(broker.port, expected, SECONDS * 3))
        acknowledged = sum(running.get(60))

    ordered = sorted(heard.latencies_ms)
    p50, p99 = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
    print(
        f"{DEVICES} devices, {heard.distinct} of {expected} events ({acknowledged} acknowledged) in "
        f"{heard.seconds:.0f} s: {heard.distinct / heard.seconds:.0f}/s; end to end p50 {p50:.1f} ms, "
        f"p99 {p99:.1f} ms, longest {ordered[-1]:.0f} ms; lost {acknowledged - heard.distinct}"
    )
    assert heard.distinct == acknowledged == expected

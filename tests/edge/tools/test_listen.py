from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from brokers import Ear, Mosquitto
from edge.mqtt_samples import BASE, QUICK, event, events, info, options, stamp
from oahega_edge.publishers.broker import BrokerOptions
from oahega_edge.publishers.mqtt import MqttPublisher
from oahega_edge.tools.broker import EmbeddedBroker, free_port
from oahega_edge.tools.listen import (
    JsonLinesView,
    Listener,
    PlainView,
    Received,
    Summary,
    TableView,
    listen,
    view_for,
)
from waiting import PATIENCE, wait_until


def received(**changes: object) -> Received:
    made = event(**changes)  # type: ignore[arg-type]
    return Received("kiosk-1", "event", made.to_json(), event=made)


@pytest.mark.broker
def test_a_listener_gets_the_events_of_the_embedded_broker() -> None:
    out = io.StringIO()
    with (
        EmbeddedBroker() as broker,
        Listener(BrokerOptions(host=broker.host, port=broker.port), pauses=QUICK) as listener,
        MqttPublisher(options(broker.port), pauses=QUICK) as publisher,
    ):
        wait_until(lambda: listener.connected)
        for each in events(6, tracks=2):
            publisher.publish(each)

        summary = listen(
            listener, JsonLinesView(out), enough=lambda so_far: so_far.events == 6, seconds=PATIENCE
        )

    assert summary.events == 6
    assert [track for _, _, track in summary.tracks] == ["t0", "t1"]
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["seq"] for line in lines if "seq" in line] == list(range(6))


@pytest.mark.broker
def test_a_copy_is_shown_once_and_nonsense_is_counted(mosquitto: Mosquitto) -> None:
    copy, other = event().to_json(), event(stamp(boot_id="boot-2")).to_json()
    with (
        Listener(BrokerOptions(host=mosquitto.host, port=mosquitto.port)) as listener,
        Ear(mosquitto.port) as ear,
    ):
        wait_until(lambda: listener.connected)
        for payload in (b"{}", b"\xff\xfe", copy, copy, other):
            ear.say(f"{BASE}/event", payload)

        heard = [listener.next(PATIENCE), listener.next(PATIENCE)]

    assert [each and each.payload for each in heard] == [copy, other]
    assert listener.rejected == 2


@pytest.mark.broker
def test_a_listener_sees_the_retained_messages_of_a_device(mosquitto: Mosquitto) -> None:
    with MqttPublisher(options(mosquitto.port)) as publisher, Ear(mosquitto.port) as ear:
        publisher.info(info())
        wait_until(lambda: ear.on("/info") and ear.on("/availability"))
        broker = BrokerOptions(host=mosquitto.host, port=mosquitto.port)

        with Listener(broker, kinds=("info", "availability")) as listener:
            heard = listener.next(PATIENCE), listener.next(PATIENCE)

    found = {(each.kind, each.retained) for each in heard if each}
    assert found == {("info", True), ("availability", True)}


def test_json_lines_carry_the_event_unchanged() -> None:
    out = io.StringIO()
    given = received()

    JsonLinesView(out).show(given)
    JsonLinesView(out).show(Received("kiosk-1", "availability", "online", retained=True))

    assert out.getvalue().splitlines() == [given.payload, '{"device": "kiosk-1", "availability": "online"}']


def test_plain_lines_say_the_essence() -> None:
    out = io.StringIO()

    PlainView(out).show(received())

    assert out.getvalue().split() == ["12:00:00", "kiosk-1", "t1", "update", "happy", "71%", "8", "frames"]


def test_the_table_shows_the_latest_of_each_face() -> None:
    out = io.StringIO()

    with TableView(out) as view:
        view.show(Received("kiosk-1", "availability", "online"))
        view.show(received(emotion="sad"))
        view.show(received(emotion="happy"))
        view.show(received(track="t2"))

    assert "kiosk-1 online" in out.getvalue()
    assert "happy" in out.getvalue()
    assert "sad" not in out.getvalue().split("kiosk-1 online")[-1]


def test_the_table_fits_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out = io.StringIO()

    with TableView(out) as view:
        for emotion in ("neutral", "uncertain"):
            view.show(received(emotion=emotion, track=f"t{len(emotion)}12"))

    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert all("…" not in line for line in lines)
    assert any("uncertain" in line and line.rstrip().endswith("1") for line in lines)


def test_a_stream_that_nobody_watches_gets_json_lines() -> None:
    assert isinstance(view_for(io.StringIO(), lines_for_machines=False), JsonLinesView)
    assert isinstance(view_for(io.StringIO(), lines_for_machines=True), JsonLinesView)


def test_without_rich_a_terminal_gets_plain_lines() -> None:
    program = (
        "import io, sys\n"
        "sys.modules['rich.console'] = None\n"
        "from oahega_edge.tools.listen import PlainView, view_for\n"
        "class Terminal(io.StringIO):\n"
        "    def isatty(self): return True\n"
        "assert isinstance(view_for(Terminal(), lines_for_machines=False), PlainView)\n"
    )

    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


def test_a_summary_names_faces_and_late_events() -> None:
    summary = Summary()
    for each in (event(), event().waited(500), event(track="t2", emotion="uncertain")):
        summary.add(each)

    lines = list(summary.sentences())

    assert lines[0] == "3 events of 2 faces, 1 of them delayed."
    assert lines[1:3] == ["  kiosk-1, face t1: happy 2", "  kiosk-1, face t2: uncertain 1"]


def test_the_port_of_the_embedded_broker_is_none_of_an_outgoing_connection() -> None:
    """Who waits for a listener at such a port can connect to itself, and the broker cannot start there."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])

    assert max(free_port() for _ in range(50)) < lowest


@pytest.mark.broker
def test_the_embedded_broker_ends_with_the_program_that_started_it() -> None:
    program = (
        "import os\n"
        "from oahega_edge.tools.broker import EmbeddedBroker\n"
        "broker = EmbeddedBroker().__enter__()\n"
        "print(broker.port, flush=True)\n"
        "os._exit(1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    port = int(done.stdout)

    def is_gone() -> bool:
        import socket

        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            return True
        return False

    assert wait_until(is_gone)

"""Faults on purpose, in a short and a long form: restarts of the broker, outages, killed publishers."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from brokers import Ear, Gate, Mosquitto
from edge.mqtt_samples import BASE, QUICK, event, info, options, stamp, state
from oahega_edge.contract.messages import COMMANDS
from oahega_edge.publishers.mqtt import MqttPublisher
from oahega_edge.publishers.store import StoreOptions
from processes import environment
from waiting import PATIENCE, wait_until


class Load:
    """Publishes events and answers commands until it is stopped, as the daemon's loop does."""

    def __init__(self, publisher: MqttPublisher, per_second: float) -> None:
        self.published = 0
        self._publisher = publisher
        self._pause = 1 / per_second
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        maker = stamp()
        while not self._stop.wait(self._pause):
            self._publisher.publish(event(maker))
            self.published += 1
            for command in self._publisher.commands():
                self._publisher.respond(command, command.done({}))


def restart_under_load(broker: Mosquitto, folder: Path, times: int) -> list[float]:
    """After each restart everything is said again and a command is answered; seconds that it took."""
    told: list[float] = []
    given = options(broker.port, commands=True, discovery=True)
    with (
        MqttPublisher(given, StoreOptions(folder=folder), pauses=QUICK) as publisher,
        Load(publisher, per_second=100) as load,
    ):
        publisher.info(info(commands=COMMANDS))
        publisher.state(state())
        for number in range(times):
            wait_until(lambda: publisher.connected)
            broker.stop(kill=number % 2 == 1)
            broker.start()
            began = time.monotonic()
            with Ear(broker.port) as ear:
                for kind in ("availability", "info", "state", "config"):
                    wait_until(lambda ear=ear, kind=kind: ear.on(f"/{kind}"))
                told.append(time.monotonic() - began)
                wait_until(lambda ear=ear: ear.on("/availability")[-1].text == "online")
                ear.say(f"{BASE}/cmd/mute")
                wait_until(lambda ear=ear: ear.on("/response/mute"))
        load.__exit__()
        wait_until(lambda: publisher.statistics().published == load.published)
        assert publisher.statistics().dropped == 0
        assert publisher.statistics().connects == times + 1
    return told


CHILD = """
import signal, sys, threading, time
from pathlib import Path
from edge.mqtt_samples import QUICK, event, options, stamp
from oahega_edge.publishers.mqtt import MqttPublisher
from oahega_edge.publishers.store import StoreOptions

port, folder, boot, per_second = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], float(sys.argv[4])
stopping = threading.Event()
signal.signal(signal.SIGTERM, lambda *ignored: stopping.set())
maker = stamp(boot_id=boot)
with MqttPublisher(options(port), StoreOptions(folder=folder, max_events=100_000), pauses=QUICK) as publisher:
    number = 0
    while not stopping.wait(1 / per_second):
        made = event(maker, f"t{number % 3}")
        number += 1
        print(made.id, publisher.statistics().accepted, flush=True)
        publisher.publish(made)
    while publisher.statistics().queued:
        time.sleep(0.05)
"""


@dataclass
class Child:
    """A publishing process; what it said it had published, and how much of it was accepted."""

    port: int
    folder: Path
    boot: str
    per_second: float
    said: Path = field(init=False)

    def __post_init__(self) -> None:
        self.said = self.folder.parent / f"said-{self.boot}"
        with self.said.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-c", CHILD, str(self.port), self.folder, self.boot, str(self.per_second)],
                stdout=out,
                env=environment(),
            )

    def lines(self) -> list[tuple[str, int]]:
        written = self.said.read_text()
        whole = written[: written.rfind("\n") + 1].splitlines()  # a killed process leaves half a line
        return [(made, int(accepted)) for made, accepted in map(str.split, whole)]

    def accepted(self) -> int:
        lines = self.lines()
        return lines[-1][1] if lines else 0

    def stop(self) -> None:
        self._process.terminate()
        assert self._process.wait(PATIENCE) == 0

    def kill(self) -> None:
        assert self._process.poll() is None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


@dataclass(frozen=True)
class Outage:
    published: int
    accepted: int
    arrived: int
    copies: int


def outage_with_kills(broker: Mosquitto, folder: Path, events: int, per_second: float) -> Outage:
    """An outage with SIGKILL in its middle, and one more as the backlog goes: nothing accepted is lost.

    Before the first kill and after it the outage lasts until so many events more are accepted.
    """
    store = folder / "store"
    half = PATIENCE + 10 * events / per_second
    with Gate(broker.port) as gate, Ear(broker.port) as ear:
        gate.open()
        first = Child(gate.port, store, "boot-1", per_second)
        wait_until(lambda: ear.on("/event"))
        gate.close()
        before = first.accepted()
        wait_until(lambda: first.accepted() >= before + events, half)
        first.kill()
        second = Child(gate.port, store, "boot-2", per_second)
        wait_until(lambda: second.accepted() >= events, half)
        gate.open()
        owed = second.accepted()
        wait_until(lambda: _arrived(ear, "boot-2") >= owed, 600)
        second.kill()
        # One more brings what the second still owed; it is stopped in order, so it owes nothing itself.
        third = Child(gate.port, store, "boot-3", per_second)
        wait_until(lambda: _arrived(ear, "boot-2") >= second.accepted() and third.lines(), 600)
        third.stop()
        wait_until(lambda: _arrived(ear, "boot-3") >= third.accepted())
        return _check(ear, [first, second, third])


def _events(ear: Ear) -> list[dict[str, object]]:
    return [json.loads(each.text) for each in ear.on("/event")]


def _arrived(ear: Ear, boot: str) -> int:
    return len({each["id"] for each in _events(ear) if each["boot_id"] == boot})


def _check(ear: Ear, children: list[Child]) -> Outage:
    heard = _events(ear)
    first_of: dict[object, dict[str, object]] = {}
    for each in heard:
        first_of.setdefault(each["id"], each)
    lines = [child.lines() for child in children]
    assert set(first_of) <= {made for said in lines for made, _ in said}, "events that nobody published"
    for said, child in zip(lines, children, strict=True):
        accepted = {made for made, _ in said[: child.accepted()]}
        assert accepted <= set(first_of), (
            f"{len(accepted - set(first_of))} accepted events of {child.boot} are lost"
        )
    by_track: dict[object, list[object]] = defaultdict(list)
    for each in first_of.values():
        by_track[(each["boot_id"], each["track"])].append(each["seq"])
    assert all(seqs == sorted(seqs) for seqs in by_track.values())  # type: ignore[type-var]
    return Outage(
        published=sum(map(len, lines)),
        accepted=sum(child.accepted() for child in children),
        arrived=len(first_of),
        copies=len(heard) - len(first_of),
    )

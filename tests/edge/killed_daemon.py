"""`oahega-edge run` killed at random moments while all around it changes, and what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Self

from brokers import Ear, Gate, Mosquitto
from mini_bundle import change, make_bundle
from noise_clip import make_clip
from oahega_edge.contract.events import Event
from oahega_edge.control.client import ask
from oahega_edge.errors import EdgeError
from oahega_edge.publishers.store import Store, StoreOptions, device_clock
from waiting import wait_until

DEVICE = "killed"
PATIENCE_S = 240
"""A hang is caught, not a speed."""
EXPECTED = re.compile(r"MQTT|broker|on trial|command")
"""Warnings that a killed or cut-off daemon owes; any other one is a complaint about what it found."""


class House:
    """A device's disk: settings, two bundles with a link, the state folder; and its broker behind a gate."""

    def __init__(self, folder: Path, gate: Gate) -> None:
        self.state = folder / "state"
        self.socket = folder / "control.sock"
        self.gate = gate
        self.link = folder / "bundles/current"
        self.log = folder / "log"
        self._folder = folder
        self._config = folder / "edge.toml"
        self.state.mkdir()
        for number in ("one", "two"):
            change(make_bundle(folder / "bundles" / number), "name", number)
        self._clip = make_clip(folder / "clip.avi")
        self.point("one")
        self.configure(0)

    def point(self, bundle: str) -> None:
        """As `ln -sfn` through a rename."""
        new = self.link.with_name("new")
        new.unlink(missing_ok=True)
        new.symlink_to(bundle)
        new.rename(self.link)

    def configure(self, masks: int) -> None:
        """Other settings, whole at once."""
        mqtt = f'host = "127.0.0.1"\nport = {self.gate.port}\ncommands = true\nkeepalive_s = 5'
        text = f"""
            [deployment]
            context = "development"
            [device]
            name = "{DEVICE}"
            [camera]
            source = "loop:{self._clip}"
            [bundle]
            path = "{self.link}"
            [detection]
            masks = {[[0.0, 0.0, 0.1, 0.1]] * masks}
            [smoothing]
            mean = "arithmetic"
            frames = 1
            [trigger]
            threshold = 0.3
            hysteresis = 0.05
            [mqtt]
            {mqtt}
            """
        new = self._config.with_suffix(".new")
        new.write_text(text)
        new.replace(self._config)

    def start(self, notify: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "oahega_edge", "run", f"--config={self._config}"]
        environment = os.environ | {
            "STATE_DIRECTORY": str(self.state),
            "RUNTIME_DIRECTORY": str(self._folder),
            "NOTIFY_SOCKET": str(notify),
        }
        with self.log.open("w") as log:
            return subprocess.Popen(command, env=environment, stderr=log)


class Systemd:
    """Hears READY and the watchdog's pings on a real socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pings = 0
        self._ready = threading.Event()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RD)
        self._thread.join()
        self._socket.close()
        self.path.unlink()

    def is_ready(self) -> bool:
        return self._ready.is_set()

    def _listen(self) -> None:
        while message := self._socket.recv(4096):
            if b"READY=1" in message:
                self._ready.set()
            self.pings += b"WATCHDOG=1" in message


@dataclass
class Ledger:
    """What was said and done before the kill, and what was found after it."""

    kills: int = 0
    in_start: int = 0
    """Of these, before READY."""
    on_trial: int = 0
    """Of these, while a bundle was on trial or had failed it."""
    owed: set[str] = field(default_factory=set)
    """Events that lay in the store after a kill."""
    ready_s: list[float] = field(default_factory=list)
    muted: bool | None = False
    """As acknowledged last; None when the kill came between wish and answer."""

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.in_start} before READY, {self.on_trial} with a bundle on trial; "
            f"{len(self.ready_s)} starts, READY after {median(self.ready_s):.2f} s "
            f"(longest {max(self.ready_s):.2f} s); "
            f"{len(self.owed)} events in the store after kills, none lost"
        )


class Mischief:
    """Changes everything a device's surroundings can change, until it is stopped."""

    def __init__(self, house: House, ledger: Ledger, ear: Ear, chance: random.Random) -> None:
        self._house = house
        self._ledger = ledger
        self._ear = ear
        self._chance = random.Random(chance.random())
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        deeds: list[Callable[[], object]] = [
            self._mute,
            self._unmute,
            self._unmute,
            lambda: self._house.point(self._chance.choice(["one", "two"])),
            lambda: self._house.configure(self._chance.randrange(3)),
            lambda: self._ear.say(f"oahega/v1/{DEVICE}/cmd/set", b'{"trigger.threshold": 0.31}'),
            self._house.gate.close,
            self._open_gate,
            lambda: ask(self._house.socket, "status"),
        ]
        while not self._stop.wait(self._chance.uniform(0.02, 0.2)):
            with contextlib.suppress(EdgeError):
                self._chance.choice(deeds)()

    def _mute(self) -> None:
        self._say("mute", True)

    def _unmute(self) -> None:
        self._say("unmute", False)

    def _say(self, request: str, muted: bool) -> None:
        before, self._ledger.muted = self._ledger.muted, None
        try:
            ask(self._house.socket, request)
        except EdgeError as error:
            if "Connection refused" in str(error) or "No such file" in str(error):
                self._ledger.muted = before  # nobody has heard it
            raise
        self._ledger.muted = muted

    def _open_gate(self) -> None:
        self._house.gate.close()
        self._house.gate.open()


def killed(broker: Mosquitto, folder: Path, times: int, longest_life: float, seed: int) -> Ledger:
    """Kill it so often; AssertionError when something half-written is read or an event on disk is lost.

    `longest_life`: seconds after READY; the link to the bundle is looked at every two seconds.
    """
    chance = random.Random(seed)
    ledger = Ledger()
    with Gate(broker.port) as gate, Ear(broker.port, (f"oahega/v1/{DEVICE}/event",)) as ear:
        house = House(folder, gate)
        gate.open()
        whole = True
        while ledger.kills < times:
            # After a kill in the start the next one is let through: each is followed by a whole start.
            whole = not whole or chance.random() < 0.7
            with Systemd(folder / "notify") as systemd:
                _live_and_die(house, systemd, ledger, ear, chance, longest_life if whole else None)
            _check_disk(house, ledger)
        with Systemd(folder / "notify") as systemd:
            _end_in_order(house, systemd, ledger, ear)
    return ledger


def _live_and_die(
    house: House, systemd: Systemd, ledger: Ledger, ear: Ear, chance: random.Random, longest: float | None
) -> None:
    """Until some moment of at most so many seconds after READY; None: until one in the start."""
    began = time.monotonic()
    usual = median(ledger.ready_s) if ledger.ready_s else 2.0
    process = house.start(systemd.path)
    try:
        with Mischief(house, ledger, ear, chance):
            if longest is not None:
                wait_until(lambda: systemd.is_ready() or _ended(process, house), PATIENCE_S)
                ledger.ready_s.append(time.monotonic() - began)
                ask(house.socket, "status")
                time.sleep(chance.uniform(0, longest))
            else:
                time.sleep(chance.uniform(0, usual))
            assert process.poll() is None, house.log.read_text()
            process.kill()
    finally:
        process.kill()
        process.wait()
    ledger.kills += 1
    if ledger.kills % 20 == 0:
        print(ledger, flush=True)
    ledger.in_start += longest is None and not systemd.is_ready()
    ledger.on_trial += (house.state / "bundle-on-trial.json").exists()
    _check_log(house)


def _ended(process: subprocess.Popen[bytes], house: House) -> bool:
    assert process.poll() is None, house.log.read_text()
    return False


def _check_log(house: House) -> None:
    lines = house.log.read_text().splitlines()
    doubtful = [line for line in lines if re.search(r"WARNING|ERROR|Traceback|^oahega-edge:", line)]
    complaints = [line for line in doubtful if not EXPECTED.search(line)]
    assert not complaints, "\n".join(complaints)


def _check_disk(house: House, ledger: Ledger) -> None:
    """On a copy: the next start shall find everything as it was left."""
    copy = house.state.with_name("copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(house.state, copy)
    store = Store(StoreOptions(folder=copy), device_clock())
    ledger.owed |= {each.event.id for each in store.after(0, 1_000_000) if isinstance(each.event, Event)}
    assert store.problem is None
    assert store.dropped == 0, "a row of the store cannot be read"
    store.close()
    assert not list(copy.glob("*.broken"))
    if (copy / "bundle-on-trial.json").exists():
        trial = json.loads((copy / "bundle-on-trial.json").read_text())
        assert all((Path(path) / "manifest.json").exists() for path in trial.values())
    if ledger.muted is not None:
        assert (copy / "muted").exists() == ledger.muted
    ledger.muted = (copy / "muted").exists()


def _end_in_order(house: House, systemd: Systemd, ledger: Ledger, ear: Ear) -> None:
    """One last start brings what is owed."""
    house.gate.close()
    house.gate.open()
    process = house.start(systemd.path)
    wait_until(lambda: systemd.is_ready() or _ended(process, house), PATIENCE_S)
    ask(house.socket, "mute")
    wait_until(lambda: ledger.owed <= {json.loads(each.text)["id"] for each in list(ear.heard)}, PATIENCE_S)
    process.terminate()
    assert process.wait(PATIENCE_S) == 0
    _check_log(house)

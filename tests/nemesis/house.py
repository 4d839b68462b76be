"""A device's surroundings, each of which can be told to fail: broker, disk, camera, bundle, people."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
from schedule import Step
from witness import WATCHDOG_S, Arrival, Broken, Witness

from brokers import Ear, Gate, Mosquitto
from edgetpu_bundle import add_edgetpu_files, make_coral_python
from faulty_day import Stage
from killed_daemon import Systemd
from mini_bundle import change, make_bundle
from network_camera import HttpCamera
from oahega_edge.control.client import ask
from oahega_edge.errors import EdgeError
from processes import environment
from waiting import wait_until

log = logging.getLogger(__name__)

DEVICE = "nemesis"
ROOT = f"oahega/v1/{DEVICE}"
PATIENCE_S = 240
"""Seconds for a start, an end and what is owed; a hang is caught, not a speed."""


ENOUGH_SEEN = 5
"""Events that show that a daemon works."""
ANSWER_S = 2.0
"""That the answer to a mute over MQTT is waited for."""
IN_THE_START_S = 0.3
"""Seconds from its first step until a daemon is told to end during its start."""
YEAR_S = 365 * 86_400
CLOCKS = {"a year ahead": YEAR_S, "a year behind": -YEAR_S, "right": 0}
"""Seconds by which the daemon's wall clock is shifted."""
REFUSALS = (0x86, 0x87, 0x88, 0x89, 0x8A, 0x95, 0x97, 0x9F)
"""Reason codes of a CONNACK (MQTT 5, 3.2.2.2): from a wrong password to a quota."""


class Line(Gate):
    """A network that can also be slow, deliver nothing, or end at a broker that refuses."""

    condition = "well"
    refused = 0
    began: list[float]
    """When a client greeted, monotonic seconds."""

    def __enter__(self) -> Self:
        self.began = []
        return super().__enter__()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if _is_connect(data):
                    self.began.append(time.monotonic())
                if self.condition == "refusing" and _is_connect(data):
                    source.sendall(self._refusal(data))
                    break
                while self.condition == "half-open":
                    time.sleep(0.05)
                if self.condition == "slow":
                    time.sleep(0.3)
                sink.sendall(data)
        self._shut(source)
        self._shut(sink)

    def _refusal(self, connect: bytes) -> bytes:
        """In the version of MQTT that is asked for; each time another reason."""
        self.refused += 1
        if connect[connect.index(b"MQTT") + 4] == 4:
            return bytes([0x20, 2, 0, 3])  # MQTT 3.1.1, 3.2.2.3: server unavailable
        return bytes([0x20, 3, 0, REFUSALS[self.refused % len(REFUSALS)], 0])


def _is_connect(data: bytes) -> bool:
    return data[0] >> 4 == 1 and b"MQTT" in data[:16]


class TimedEar(Ear):
    """Notes which event it heard, and when."""

    def __enter__(self) -> Self:
        self.arrivals: list[Arrival] = []
        return super().__enter__()

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        self.arrivals.append(Arrival(json.loads(message.payload)["id"], time.monotonic()))


class Clock:
    """The wall clock of the daemon and its children, never the host's; needs a C compiler."""

    def __init__(self, folder: Path) -> None:
        self._shift = folder / "clock"
        self._library = folder / "clock.so"
        self.become("right")
        compiler = shutil.which("cc")
        if compiler is not None:
            source = Path(__file__).with_name("clock.c")
            subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", self._library, source], check=True)

    def become(self, told: str) -> None:
        """Whole at once: the daemon reads it at any moment."""
        new = self._shift.with_suffix(".new")
        new.write_text(str(CLOCKS[told]))
        new.rename(self._shift)

    @property
    def environment(self) -> dict[str, str]:
        """For the daemon."""
        if not self._library.exists():
            return {}
        return {"LD_PRELOAD": str(self._library), "NEMESIS_CLOCK": str(self._shift)}


class Disk:
    """The state folder, on a file system of its own (root); slow without being root, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read_only = False
        self.slowness = folder.with_name("slow-disk")
        folder.mkdir()
        self.can_fail = os.geteuid() == 0
        if self.can_fail:
            _mount("-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", folder)

    def become(self, condition: str) -> None:
        self.slowness.unlink(missing_ok=True)
        if condition == "slow":
            self.slowness.touch()
        if not self.can_fail:
            return
        self._heal()
        if condition == "full":
            with contextlib.suppress(OSError), (self.folder / "fill").open("wb", buffering=0) as file:
                while file.write(bytes(4096)):
                    pass
        elif condition == "read-only":  # for new opens; what the daemon has open goes on
            _mount("--bind", self.folder, self.folder)
            _mount("-o", "remount,bind,ro", self.folder)
            self._read_only = True

    def close(self) -> None:
        self._heal()
        if self.can_fail:
            _unmount(self.folder)

    def _heal(self) -> None:
        if self._read_only:
            _unmount(self.folder)
            self._read_only = False
        (self.folder / "fill").unlink(missing_ok=True)


class House:
    """A daemon and all around it. `tell` does one step of a schedule."""

    def __init__(self, folder: Path, broker: Mosquitto) -> None:
        self._folder = folder
        self._stack, self._not_heard = contextlib.ExitStack(), contextlib.ExitStack()
        self._line = self._stack.enter_context(Line(broker.port))
        self._line.open()
        self._ear = self._stack.enter_context(TimedEar(broker.port, (f"{ROOT}/event",)))
        self._answers = self._stack.enter_context(Ear(broker.port, (f"{ROOT}/response/mute",)))
        self._stage = Stage()
        self._camera = self._stack.enter_context(HttpCamera(self._stage, fps=15))
        self._disk = Disk(folder / "state")
        self._stack.callback(self._disk.close)
        (folder / "notes").touch()
        self.witness = Witness(folder / "notes", int(self._camera.url.rpartition(":")[2].split("/")[0]))
        self._disk_is_well = self._disk_was_well = True
        """Now, and since the daemon started."""
        self._asked_to_restart = False
        self._asked_by_mqtt = 0
        self._disk_told: list[float] = []
        """Monotonic seconds."""
        for name in ("one", "two", "bad"):
            change(make_bundle(folder / "bundles" / name), "name", name)
            add_edgetpu_files(folder / "bundles" / name)
        (folder / "bundles/bad/emotion.tflite").write_bytes(b"")
        self._coral = make_coral_python(folder)
        self._fault, self._clock = folder / "fault", Clock(folder)
        self._log = folder / "log"
        self._point("one")
        self._configure("0")

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._not_heard.close()
        self._stack.close()

    def live(self, seconds: float) -> None:
        """Look again and again; a daemon that has ended with a reason is started again, as systemd would."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._process.poll() is not None:
                if self._process.returncode < 0:
                    raise Broken(f"signal {-self._process.returncode} ended it: {self._said()[-1500:]}")
                self._after_the_end(whole=False)
                time.sleep(1.0)
                self._start()
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended just now
                since_start = time.monotonic() - self._started
                self.witness.look(psutil.Process(self._process.pid), since_start, self._systemd.pings)
            time.sleep(0.05)

    def tell(self, step: Step) -> None:
        """Do one step."""
        parts = {
            "broker": self._tell_broker,
            "disk": self._tell_disk,
            "camera": self._tell_camera,
            "bundle": self._point,
            "settings": self._configure,
            "accelerator": self._tell_accelerator,
            "clock": self._clock.become,
            "daemon": self._tell_daemon,
            "mute": self._tell_mute,
        }
        parts[step.part](step.told)

    def settle(self) -> None:
        """Heal everything, see it work again, wait for what is owed, end in order and judge."""
        self._tell_broker("well")
        self._tell_disk("well")
        self._tell_camera("well")
        self._tell_accelerator("well")
        self._clock.become("right")
        self._point("one")
        self._tell_mute("off")
        self._live_until_it_sees()
        self._live_until_paid()
        self._end(signal.SIGTERM)
        if self.witness.owes(self._heard()):  # what it made last may lie on the disk
            self._start()
            self._live_until_paid()
            self._end(signal.SIGTERM)
        self.witness.judge(list(self._ear.arrivals), [*self._line.began, *self._disk_told])

    def _live_until_it_sees(self) -> None:
        """A daemon that gave up, or whose camera never comes back, would break no other promise."""
        wanted = self.witness.seen + ENOUGH_SEEN
        deadline = time.monotonic() + PATIENCE_S
        while self.witness.seen < wanted:
            if time.monotonic() > deadline:
                raise Broken(
                    f"it sees nothing {PATIENCE_S} s after all is well again: {self._said()[-1500:]}"
                )
            self.live(0.2)

    def _live_until_paid(self) -> None:
        """Events that are owed have arrived."""
        deadline = time.monotonic() + PATIENCE_S
        while self.witness.owes(self._heard()) and time.monotonic() < deadline:
            self.live(0.5)

    def _tell_broker(self, told: str) -> None:
        self._line.close()
        self._line.condition = told
        if told != "away":
            self._line.open()

    def _tell_disk(self, told: str) -> None:
        self._disk_told.append(time.monotonic())
        self._disk_is_well = told == "well"
        self._disk_was_well &= self._disk_is_well
        self._disk.become(told)

    def _tell_camera(self, told: str) -> None:
        if told == "stalls":
            self._camera.stall()
            return
        if told == "hangs":
            self._stop_capture()
            return
        self._camera.die()
        self._stage.looks = told
        if told != "dies":
            self._camera.come_back()

    def _stop_capture(self) -> None:
        """As a driver that hangs: the process that has the camera open does nothing any more."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self._process.pid).children():
                if self.witness.has_camera_open(child):
                    child.suspend()

    def _tell_accelerator(self, told: str) -> None:
        self._fault.unlink(missing_ok=True)
        if told != "well":
            new = self._fault.with_suffix(".new")
            new.write_text(told)
            new.rename(self._fault)

    def _point(self, told: str) -> None:
        """As `ln -sfn` through a rename."""
        new = self._folder / "bundles/new"
        new.symlink_to(told)
        new.rename(self._folder / "bundles/current")

    def _configure(self, told: str) -> None:
        """Other settings, whole at once; read at the next start."""
        settings = {
            "deployment.context": "development",
            "device.name": DEVICE,
            "camera.source": self._camera.url,
            "camera.attempts": 1000,
            "bundle.path": str(self._folder / "bundles/current"),
            "runtime.accelerator": "usb",
            "runtime.python": str(self._coral),
            "detection.masks": [[0.0, 0.0, 0.1, 0.1]] * int(told),
            "smoothing.mean": "arithmetic",
            "smoothing.frames": 1,
            "trigger.threshold": 0.3,
            "trigger.hysteresis": 0.05,
            "mqtt.host": "127.0.0.1",
            "mqtt.port": self._line.port,
            "mqtt.commands": True,
            "mqtt.keepalive_s": 5,
        }
        new = self._folder / "edge.new"
        new.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items()))
        new.replace(self._folder / "edge.toml")

    def _tell_daemon(self, told: str) -> None:
        if told == "second":
            self._start_second()
        elif told == "restart":
            self._asked_to_restart = True
            self._ear.say(f"{ROOT}/cmd/restart")
        elif how := told.removesuffix(" in the start"):
            self._end(signal.Signals[how])
            if how != told:
                self._begin()
                self._wait(
                    lambda: _handles_sigterm(self._process.pid) or self._process.poll() is not None,
                    "it takes no signal",
                )
                time.sleep(IN_THE_START_S)
                self._end(signal.Signals[how])
            self._start()

    def _tell_mute(self, told: str) -> None:
        if told == "on by MQTT":
            self._mute_by_mqtt()
            return
        if told == "off":
            self.witness.unmuting()
        try:
            answer = ask(self._folder / "control.sock", "mute" if told == "on" else "unmute")
        except EdgeError as error:
            self._wait(lambda: self._process.poll() is not None, f"{told}: {error}, and it goes on")
            return  # it was ending
        if told == "on":
            if not answer["muted"]:
                raise Broken(f"a mute was answered by {answer}")
            with contextlib.suppress(psutil.NoSuchProcess):
                self.witness.muted(psutil.Process(self._process.pid))

    def _mute_by_mqtt(self) -> None:
        """From its answer on it is muted; an answer that comes late, over a bad line, is not waited for."""
        self._asked_by_mqtt += 1
        transaction = f"mute-{self._asked_by_mqtt}"
        self._answers.say(f"{ROOT}/cmd/mute", json.dumps({"transaction": transaction}))
        until = time.monotonic() + ANSWER_S
        while time.monotonic() < until:
            for heard in list(self._answers.heard):
                answer = json.loads(heard.text)
                if answer.get("transaction") == transaction and answer["status"] == "ok":
                    with contextlib.suppress(psutil.NoSuchProcess):
                        self.witness.muted(psutil.Process(self._process.pid))
                    return
            self.live(0.05)

    def _start_second(self) -> None:
        if self._process.poll() is not None:
            return
        try:
            done = subprocess.run(
                self._command(), env=self._environment(), capture_output=True, text=True, timeout=PATIENCE_S
            )
        except subprocess.TimeoutExpired:
            raise Broken(f"a second daemon goes on for {PATIENCE_S} s") from None
        if done.returncode != 1 or "another oahega-edge uses" not in done.stderr:
            raise Broken(f"a second daemon ended with {done.returncode}: {done.stderr[-300:]}")

    def _start(self) -> None:
        self._begin()
        self._wait(lambda: self._systemd.is_ready() or self._process.poll() is not None, "it is not READY")
        self.witness.figures.started_after.append(time.monotonic() - self._started)
        log.info("started after %.1f s", self.witness.figures.started_after[-1])

    def _begin(self) -> None:
        """Without a wait for READY."""
        self.witness.figures.starts += 1
        self.witness.started()
        self._disk_was_well = self._disk_is_well
        self._asked_to_restart = False
        self._not_heard.close()
        self._systemd = self._not_heard.enter_context(Systemd(self._folder / "notify"))
        told = {"NOTIFY_SOCKET": str(self._systemd.path), "WATCHDOG_USEC": str(round(WATCHDOG_S * 1e6))}
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                self._command(), env=self._environment() | told, stdout=output, stderr=output
            )
        self._started = time.monotonic()

    def _wait(self, condition: Callable[[], object], otherwise: str) -> None:
        """Broken when the condition does not come true."""
        try:
            wait_until(condition, PATIENCE_S)
        except AssertionError:
            raise Broken(f"{otherwise} after {PATIENCE_S} s: {self._said()[-1500:]}") from None

    def _end(self, how: signal.Signals) -> None:
        was_alive = self._process.poll() is None
        told_at = time.monotonic()
        self._process.send_signal(how)
        self._wait(lambda: self._process.poll() is not None, f"{how.name} has not ended it")
        self.witness.figures.ended_after.append(time.monotonic() - told_at)
        log.info("ended after %.1f s", self.witness.figures.ended_after[-1])
        # After a restart was asked for, it may have been ending already, while the disk refused.
        had_a_disk = self._disk_is_well and (self._disk_was_well or not self._asked_to_restart)
        whole = was_alive and how == signal.SIGTERM and had_a_disk
        if how == signal.SIGTERM and (self._process.returncode < 0 or (whole and self._process.returncode)):
            raise Broken(f"SIGTERM ended it with {self._process.returncode}: {self._said()}")
        self._after_the_end(whole)

    def _after_the_end(self, whole: bool) -> None:
        """It ends when it is told to, or with a sentence; never with a traceback."""
        said = self._said()
        if self._process.returncode > 0:
            log.info("ended with %d: %s", self._process.returncode, said.splitlines()[-1])
        if "Traceback" in said or (self._process.returncode > 0 and "oahega-edge: " not in said):
            raise Broken(f"it ended with {self._process.returncode}: {said[-1500:]}")
        self.witness.ended(self._disk.folder, whole=whole, disk_was_well=self._disk_was_well)

    def _heard(self) -> list[str]:
        return [each.name for each in list(self._ear.arrivals)]

    def _said(self) -> str:
        return self._log.read_text()

    def _command(self) -> list[str]:
        program = Path(__file__).with_name("nemesis_daemon.py")
        files = (program, self._folder / "notes", self._folder / "edge.toml", self._disk.slowness)
        return [sys.executable, *map(str, files)]

    def _environment(self) -> dict[str, str]:
        own = environment(
            STATE_DIRECTORY=str(self._disk.folder), RUNTIME_DIRECTORY=str(self._folder), NOTIFY_SOCKET=""
        )
        return own | self._clock.environment | {"FAULTY_RUNTIME_FILE": str(self._fault)}


def _handles_sigterm(pid: int) -> bool:
    """See proc_pid_status(5)."""
    with contextlib.suppress(OSError):
        caught = Path(f"/proc/{pid}/status").read_text().partition("SigCgt:")[2].split()
        return bool(caught) and bool(int(caught[0], 16) >> (signal.SIGTERM - 1) & 1)
    return False


def _mount(*words: str | Path) -> None:
    subprocess.run(["mount", *map(str, words)], check=True)


def _unmount(folder: Path) -> None:
    """At once, even while a daemon has files of it open."""
    subprocess.run(["umount", "--lazy", str(folder)], check=True)

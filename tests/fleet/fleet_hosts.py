"""Booted Debian hosts on a bridge of this machine: real systemd, real sshd, no internet.

Each host is `systemd-nspawn --boot` over its own overlay of the cached tree, in its own network namespace and
its own control group, so that neither a restart nor a power cut of one reaches another.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

NETWORK = "10.213.77"
"""The first three bytes of every address. The bridge has .1."""
GROUPS = Path("/sys/fs/cgroup")
BOOT_S = 400
"""Seconds before a wait counts as a hang; generous, because no speed is tested."""


def wait_for(promise: Callable[[], Any], what: str, seconds: float = BOOT_S) -> Any:
    """Call `promise` until it returns a true value, and return that."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        value = promise()
        if value:
            return value
        time.sleep(0.2)
    raise AssertionError(f"timed out after {seconds:.0f} s waiting for: {what}")


@dataclass
class Bridge:
    """The network of the hosts: a bridge on this machine without a connection to the internet."""

    name: str = "oahega-fleet"

    def __enter__(self) -> Self:
        self._ip("link", "del", self.name, check=False)
        self._ip("link", "add", self.name, "type", "bridge")
        self._ip("address", "add", f"{NETWORK}.1/24", "dev", self.name)
        self._ip("link", "set", self.name, "up")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ip("link", "del", self.name, check=False)

    def detach(self, interface: str) -> None:
        """Delete the outer interface of a host that is gone."""
        self._ip("link", "del", interface, check=False)

    def attach(self, interface: str) -> bool:
        """Set the outer interface of a host up. False while it does not exist yet."""
        return self._ip("link", "set", interface, "up", check=False)

    def _ip(self, *arguments: str, check: bool = True) -> bool:
        done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
        assert not check or done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"
        return done.returncode == 0


@dataclass
class Host:
    """A machine that can be booted, reached over SSH, and powered off."""

    name: str
    number: int
    """The last byte of the host's address."""
    tree: Path
    folder: Path
    """The folder of the host's disk and console log."""
    bridge: Bridge
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def address(self) -> str:
        return f"{NETWORK}.{self.number}"

    @property
    def root(self) -> Path:
        """The file system of the host, while its disk is mounted."""
        return self.folder / "root"

    @property
    def interface(self) -> str:
        return f"vb-{self.name}"

    def insert_disk(self, files: Mapping[str, str | bytes]) -> None:
        """Mount a fresh disk with these files over the tree."""
        for part in ("upper", "work", "root"):
            (self.folder / part).mkdir(parents=True)
        options = f"lowerdir={self.tree},upperdir={self.folder}/upper,workdir={self.folder}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(self.root)], check=True)
        network = f"[Match]\nName=host0\n[Network]\nAddress={self.address}/24\nGateway={NETWORK}.1\n"
        own = {"etc/hostname": f"{self.name}\n", "etc/systemd/network/10-host0.network": network}
        for path, content in {**own, **files}.items():
            file = self.root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)

    def boot(self) -> None:
        """Boot until sshd answers. `wait_booted` waits for all of systemd."""
        command = [
            *_own_groups(self.name),
            *("systemd-nspawn", f"--directory={self.root}", f"--machine={self.name}", "--boot", "--quiet"),
            *("--keep-unit", "--register=no", "--link-journal=no", "--resolv-conf=off", "--timezone=off"),
            *(f"--network-bridge={self.bridge.name}", "--console=pipe"),
        ]
        self.bridge.detach(self.interface)
        with (self.folder / "console.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: self._alive() and self.bridge.attach(self.interface), f"{self.name} has a network")
        wait_for(lambda: self._alive() and self._answers(22), f"{self.name} answers on port 22")

    def cut_power(self) -> None:
        """Kill every process of the host at once. The disk stays as it is."""
        if self._process is None or self._process.poll() is not None:
            return
        os.kill(self._pid_1(), signal.SIGKILL)
        self._process.wait(BOOT_S)
        self._process = None

    def remove_disk(self) -> None:
        """Unmount and delete the disk, after the last power cut."""
        if self.root.is_mount():
            subprocess.run(["umount", "--lazy", str(self.root)], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def inside(self, *command: str, check: bool = True) -> str:
        """Run a command as root in the host's namespaces (not over SSH) and return what it prints."""
        done = subprocess.run(self.entering(*command), capture_output=True, text=True)
        assert not check or done.returncode == 0, f"{self.name}: {command}: {done.stderr}{done.stdout}"
        return done.stdout

    def entering(self, *command: str) -> list[str]:
        """The command line that runs a command inside the host."""
        return ["nsenter", "--target", str(self._pid_1()), "--all", "--", *command]

    def wait_booted(self) -> str:
        """Wait until systemd is `running`, or `degraded` because a unit failed, and return which."""

        def settled() -> str:
            state = self.inside("systemctl", "is-system-running", check=False).strip()
            return state if state in ("running", "degraded") else ""

        return str(wait_for(settled, f"{self.name} finishes booting"))

    def _alive(self) -> bool:
        assert self._process is not None
        code = self._process.poll()
        assert code is None, f"{self.name} ended with {code}: {self._console()}"
        return True

    def _console(self) -> str:
        return (self.folder / "console.log").read_text(errors="replace")[-2000:]

    def _answers(self, port: int) -> bool:
        try:
            with socket.create_connection((self.address, port), 1.0) as connection:
                return connection.recv(4).startswith(b"SSH")
        except OSError:
            return False

    def _pid_1(self) -> int:
        """The host's systemd, which is the only child of systemd-nspawn."""
        assert self._process is not None, f"{self.name} is powered off"
        nspawn = self._process.pid
        children = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
        return int(children[0])


def end_leftovers(*names: str) -> None:
    """Kill hosts of killed tests: systemd-nspawn dies with the tests, but what it has booted does not."""
    for name in names:
        for hierarchy in (GROUPS, GROUPS / "unified"):
            for switch in hierarchy.glob(f"oahega-fleet/{name}/cgroup.kill"):
                switch.write_text("1")


def _own_groups(name: str) -> Sequence[str]:
    """A command prefix for control groups of its own, because two systemds cannot share one."""
    hierarchies = [GROUPS] if (GROUPS / "cgroup.procs").exists() else [GROUPS / "unified", GROUPS / "systemd"]
    enter = []
    for hierarchy in hierarchies:
        group = hierarchy / "oahega-fleet" / name
        _remove_empty_groups(group)  # one in which a host was killed may kill the next host's services, too
        group.mkdir(parents=True, exist_ok=True)
        enter.append(f'echo $$ > "{group}/cgroup.procs"')
    # systemd-nspawn ends when the tests are killed; end_leftovers kills what it has booted.
    return ["sh", "-c", f'{" && ".join(enter)} && exec setpriv --pdeathsig KILL -- "$@"', "sh"]


def _remove_empty_groups(group: Path) -> None:
    for folder, _, _ in os.walk(group, topdown=False):
        with contextlib.suppress(OSError):  # somebody runs in it
            os.rmdir(folder)


def stop_all(hosts: Sequence[Host]) -> None:
    """Power off all hosts and delete their disks."""
    for host in hosts:
        host.cut_power()
        host.remove_disk()

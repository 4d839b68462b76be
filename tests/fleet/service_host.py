"""A booted Debian host with the daemon installed as on a device, for tests of the service itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleet_hosts import Host, _own_groups, wait_for

ROOT = Path(__file__).resolve().parents[2]
UNIT = "oahega-edge.service"
UNITS = {
    "oahega-edge.service": f"etc/systemd/system/{UNIT}",
    "oahega-edge.sysusers": "etc/sysusers.d/oahega-edge.conf",
    "oahega-edge.tmpfiles": "etc/tmpfiles.d/oahega-edge.conf",
    "99-oahega-edge-coral.rules": "etc/udev/rules.d/99-oahega-edge-coral.rules",
}


@dataclass
class ServiceHost(Host):
    """A host without a network; the tests run commands inside it."""

    def boot(self) -> None:
        """Boot until all of systemd is up."""
        command = [
            *_own_groups(self.name),
            *("systemd-nspawn", f"--directory={self.root}", f"--machine={self.name}", "--boot", "--quiet"),
            *("--keep-unit", "--register=no", "--link-journal=no", "--resolv-conf=off", "--timezone=off"),
            *("--private-network", "--console=pipe"),
        ]
        with (self.folder / "console.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: self._alive() and self._first_child(), f"{self.name} starts systemd")
        self.wait_booted()

    def _first_child(self) -> str:
        assert self._process is not None
        pid = self._process.pid
        return Path(f"/proc/{pid}/task/{pid}/children").read_text()

    def install(self, wheelhouse: Path) -> None:
        """Install the wheel offline into its own environment, and the files of systemd/, before the boot."""
        release = "/opt/oahega-edge/releases/test"
        wheels = self.root / "srv/wheels"
        wheels.mkdir(parents=True)
        subprocess.run(["tar", "-xf", wheelhouse, "-C", wheels], check=True)
        self._on_disk("python3", "-m", "venv", release)
        options = ("--quiet", "--no-index", "--find-links", "/srv/wheels", "--require-hashes")
        self._on_disk(f"{release}/bin/pip", "install", *options, "-r", "/srv/wheels/requirements.txt")
        (self.root / "opt/oahega-edge/current").symlink_to("releases/test")
        for name, path in UNITS.items():
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / "systemd" / name).read_bytes())

    def _on_disk(self, *command: str) -> None:
        done = subprocess.run(["chroot", str(self.root), *command], capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file to the disk. The host may be booted or not."""
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def systemctl(self, *arguments: str, check: bool = True) -> str:
        return self.inside("systemctl", *arguments, check=check)

    def apt(self, *words: str) -> str:
        """Run apt-get without questions and return what it prints."""
        command = f"DEBIAN_FRONTEND=noninteractive apt-get --quiet --yes {' '.join(words)} 2>&1"
        return self.inside("sh", "-c", command)

    def show(self, key: str, unit: str = UNIT) -> str:
        """The value of a property of the unit."""
        return self.systemctl("show", "--value", "--property", key, unit).strip()

    def journal(self, unit: str = UNIT) -> str:
        """The journal of the unit since the boot."""
        return self.inside("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    def reaches(self, key: str, value: str, seconds: float = 60) -> None:
        """Wait until a property of the unit has this value."""
        wait_for(lambda: self.show(key) == value, f"{key} becomes {value}\n{self.journal()[-3000:]}", seconds)

    def in_the_service(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as root in the file system as the service sees it."""
        enter = ("nsenter", "--target", self.show("MainPID"), "--mount", "--")
        prefix = ["nsenter", "--target", str(self._pid_1()), "--all", "--"]
        return subprocess.run([*prefix, *enter, *command], capture_output=True, text=True)


def make_wheelhouse(folder: Path) -> Path:
    """Make the wheelhouse for this machine's architecture and Bookworm's Python."""
    command: Sequence[str] = [str(ROOT / "ansible/wheelhouse.sh"), os.uname().machine, "3.11", str(folder)]
    environment = os.environ | {"RUN_PYTHON": sys.executable}
    done = subprocess.run(["sh", *command], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.split()[-1])


def make_package(folder: Path) -> Path:
    """Make the Debian package for this machine's architecture."""
    ask = ["dpkg", "--print-architecture"]
    architecture = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    command = ["sh", str(ROOT / "debian/build.sh"), architecture, str(folder)]
    environment = os.environ | {"RUN_PYTHON": sys.executable}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path(done.stdout.split()[-1])

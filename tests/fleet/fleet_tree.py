"""Trees of Debian Bookworm and Trixie, made once by debootstrap and apt, kept in `.cache/` of a checkout.

No test writes into it: hosts are overlays over it (fleet_hosts.py).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "udev",
    "libpam-systemd",
    "openssh-server",
    "sudo",
    "python3",
    "python3-venv",
    "python3-apt",
    "python3-systemd",
    "mosquitto",
    "mosquitto-clients",
    "ca-certificates",
    "iproute2",
    "procps",
)
"""What Raspberry Pi OS contains, and what a host without internet cannot download."""
RECIPE = 1
"""Raise this number when the trees are made differently; they are then made anew."""
PYTHON = {"bookworm": "3.11", "trixie": "3.13"}
"""The Python of each suite; Raspberry Pi OS has the same."""
KIOSK = ("cage", "chromium", "fonts-dejavu-core", "grim")
"""What the document installs for a screen, and what photographs it."""
ARCHIVE = ("postgresql", "postgresql-client")
"""What the role `archive` installs beside Python."""
ARCHIVE_SUITE = os.environ.get("OAHEGA_ARCHIVE_SUITE", "bookworm")
"""Debian of the host with the archive."""
TOOLS = ("debootstrap", "systemd-nspawn", "ip", "mount", "ssh-keygen")


def missing() -> str:
    """Why hosts cannot be booted on this machine; empty if they can."""
    if os.geteuid() != 0:
        return "booting hosts needs root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        packages = "debootstrap systemd-container iproute2 openssh-client"
        return f"{', '.join(absent)} missing; run: apt install {packages}"
    return ""


def ensure_tree(suite: str = "bookworm") -> Path:
    """Return the tree of a suite, and make it if there is none. Other processes wait meanwhile."""
    CACHE.mkdir(exist_ok=True)
    tree = CACHE / f"{suite}-{RECIPE}"
    with (CACHE / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.is_dir():
            partial = tree.with_suffix(".partial")
            _debootstrap(suite, partial)
            _furnish(partial)
            partial.rename(tree)
    return tree


def ensure_kiosk_tree(suite: str) -> Path:
    """Return the tree of a suite with a browser for a screen, installed from Debian if it is not there."""
    install = ("--no-install-recommends", "install", *KIOSK)
    return _ensure_grown(suite, "kiosk", install, ("clean",))


def ensure_archive_tree(suite: str) -> Path:
    """Return the tree of a suite that installs PostgreSQL without internet: its packages lie there."""
    return _ensure_grown(suite, "archive", ("--download-only", "install", *ARCHIVE))


def _ensure_grown(suite: str, kind: str, *steps: Sequence[str]) -> Path:
    """The tree of a suite after more commands of apt-get, each without questions."""
    plain = ensure_tree(suite)
    tree = CACHE / f"{suite}-{kind}-{RECIPE}"
    with (CACHE / f"{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.is_dir():
            partial = tree.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            subprocess.run(["cp", "--archive", "--reflink=auto", plain, partial], check=True)
            for step in (("update",), *steps):
                apt = ("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "--yes")
                _inside(partial, *apt, *step)
            partial.rename(tree)
    return tree


def _debootstrap(suite: str, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    mirror = os.environ.get("OAHEGA_DEBIAN_MIRROR", "http://deb.debian.org/debian")
    include = f"--include={','.join(PACKAGES)}"
    subprocess.run(
        ["debootstrap", "--variant=minbase", include, suite, str(folder), mirror],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def _furnish(folder: Path) -> None:
    # As on Raspberry Pi OS, the first user may become root without a password.
    _inside(folder, "useradd", "--create-home", "--shell", "/bin/bash", "pi")
    (folder / "etc/sudoers.d/010_pi").write_text("pi ALL=(ALL) NOPASSWD: ALL\n")
    (folder / "etc/sudoers.d/010_pi").chmod(0o440)
    _inside(folder, "systemctl", "disable", "mosquitto.service")
    _inside(folder, "systemctl", "enable", "systemd-networkd.service", "ssh.service")
    # These wait for something that an isolated host never gets, and would slow down each boot.
    for unit in ("systemd-networkd-wait-online.service", "apt-daily.timer", "apt-daily-upgrade.timer"):
        _inside(folder, "systemctl", "mask", unit)
    (folder / "etc/machine-id").write_text("")
    shutil.rmtree(folder / "var/cache/apt/archives", ignore_errors=True)
    (folder / "var/cache/apt/archives/partial").mkdir(parents=True)


def _inside(folder: Path, *command: str) -> None:
    subprocess.run(["chroot", str(folder), *command], check=True, capture_output=True)

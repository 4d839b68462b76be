"""The installation by hand, typed as the documents say it, on booted Debian Bookworm and Trixie.

`make installation-test`. Commands and settings are read from the Markdown and run as the user `pi` of an
empty host, in its login shell. The host has no internet: pip finds there what the documents let it download,
and apt has the packages already. Prints how long each command took.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from documents import ROOT, blocks, chapter
from fleet_hosts import stop_all, wait_for
from fleet_tree import PYTHON, ensure_tree, missing
from oahega_edge.tools.demo_clip import write_demo_clip
from service_host import ServiceHost

pytestmark = [pytest.mark.long, pytest.mark.skipif(bool(missing()), reason=missing())]

CAMERA = '\n[camera]\nsource = "loop:/srv/clip.mp4"\nfps = 3\n'
"""A container has no camera; all other settings are those of the documents."""
NOT_IN_A_CONTAINER = ("udevadm", "replay 0")
"""Its devices are the machine's: there is no udev and no webcam."""
OFFLINE = "[global]\nno-index = true\nfind-links = /srv/wheels\ndisable-pip-version-check = true\n"
PATIENCE_S = 300
"""Seconds; a model starts, on a machine that is busy."""


def settings() -> str:
    """The settings of the README, at a broker on the host itself."""
    (block,) = blocks("README.md", "Commands", "toml")
    here, there = 'host = "127.0.0.1"\nport = 1883', 'host = "broker.example.org"\nport = 8883'
    assert there in block
    return block.replace(there, here) + CAMERA


@pytest.fixture(scope="module", params=PYTHON)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceHost]:
    """A host with a broker, a checkout in the home of `pi`, a clip for its camera, and nothing installed."""
    folder = tmp_path_factory.mktemp(request.param)
    empty = ServiceHost("oahega-install", 8, ensure_tree(request.param), folder / "host", None)
    empty.insert_disk({})
    try:
        check_out(empty.root / "home/pi/oahega-edge")
        subprocess.run(["chroot", empty.root, "chown", "-R", "pi:pi", "/home/pi"], check=True)
        write_demo_clip(empty.root / "srv/clip.mp4", fps=3)
        since = time.monotonic()
        download(empty.root / "srv/wheels", PYTHON[request.param])
        print(f"\n{request.param}: {time.monotonic() - since:.1f} s to download what pip needs")
        empty.write("etc/pip.conf", OFFLINE)
        empty.write("etc/hosts", "127.0.0.1 localhost oahega-install\n")
        empty.boot()
        empty.systemctl("start", "mosquitto")
        yield empty
    finally:
        stop_all([empty])


def check_out(home: Path) -> None:
    """The files of this checkout, with a photograph and a clip that the documents name."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, home / name)
    shutil.copy(ROOT / "docs/pictures/read.jpg", home / "team.jpg")
    write_demo_clip(home / "clip.mp4", fps=3)


def download(folder: Path, python: str) -> None:
    wheels = ["--only-binary", ":all:", "--python-version", python, "--dest", folder]
    pins = ["--no-deps", "--require-hashes", "--requirement", ROOT / "requirements/device.txt"]
    subprocess.run([sys.executable, "-m", "pip", "--quiet", "download", *pins, *wheels], check=True)


def typed(host: ServiceHost, block: str) -> str:
    """Run a block line by line, each in a login shell in the checkout; returns what the last one printed."""
    said_last = ""
    for line in block.splitlines():
        if any(word in line for word in NOT_IN_A_CONTAINER):
            print(f"  left out: {line}")
            continue
        since = time.monotonic()
        done = said(host, line)
        print(f"{time.monotonic() - since:6.1f} s  {line}")
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        said_last = done.stdout
    return said_last


def said(host: ServiceHost, line: str) -> subprocess.CompletedProcess[str]:
    shell = ("runuser", "--login", "pi", "--command", f"cd oahega-edge && {line}")
    return subprocess.run(host.entering(*shell), capture_output=True, text=True)


def test_the_first_page_reads_a_photograph_and_a_video(host: ServiceHost) -> None:
    page = "docs/get-started.md"
    chapters = ("", "A photograph", "A video or a webcam")
    (install,), (photograph,), (video,) = (blocks(page, heading) for heading in chapters)
    print()

    typed(host, install)
    faces = typed(host, photograph)
    events = typed(host, video)

    assert "expression" in json.loads(faces.splitlines()[0])
    assert (host.root / "home/pi/oahega-edge/seen").is_dir()
    assert "emotion" in json.loads(events.splitlines()[0])


def test_the_commands_lead_from_an_empty_host_to_a_running_device(host: ServiceHost) -> None:
    program, service = blocks("systemd/README.md", "Install by hand")
    (hear,) = blocks("docs/subscribing.md", "Shell")
    print()

    typed(host, program)
    host.write("etc/oahega-edge/edge.toml", settings())
    typed(host, service)
    event = typed(host, f"{hear.rstrip()} -C 1 -W {PATIENCE_S}")

    assert json.loads(event)["schema"] == "urn:oahega:event:1"
    host.reaches("ActiveState", "active", PATIENCE_S)
    status = wait_for(lambda: with_frames(said(host, "oahega-edge status").stdout), "frames", PATIENCE_S)
    assert '"camera": "live"' in status
    systemd = host.inside("journalctl", "--no-pager", "--output=cat", "_PID=1")
    assert not re.findall(r".*oahega-edge.*(?:Unknown|deprecated|Failed to parse).*", systemd)


def test_check_as_the_document_types_it_is_well_and_a_stranger_is_told_the_group(host: ServiceHost) -> None:
    text = chapter("systemd/README.md", "Install by hand")
    (command,) = re.findall(r"`(sudo -u oahega-edge\s+oahega-edge check)`", text)

    check = said(host, " ".join(command.split()))
    unreached = said(host, "sudo -u nobody oahega-edge status")

    print(check.stdout + check.stderr, unreached.stderr, sep="\n")
    assert check.returncode == 0, check.stdout + check.stderr
    assert "Traceback" not in check.stderr + unreached.stderr
    assert unreached.returncode != 0
    assert "group oahega-edge" in unreached.stderr


def with_frames(status: str) -> str:
    return status if '"camera": "live"' in status else ""


def test_the_commands_for_several_cameras_start_one_daemon_for_each(host: ServiceHost) -> None:
    host.systemctl("stop", "oahega-edge")
    for name in ("left", "right"):
        host.write(f"etc/oahega-edge/{name}.toml", "[runtime]\nthreads = 1\n")
    (commands,) = blocks("systemd/README.md", "Several cameras")

    print()
    typed(host, commands)

    for name in ("left", "right"):
        host_state = lambda unit=f"oahega-edge@{name}": host.show("ActiveState", unit) == "active"  # noqa: E731
        wait_for(host_state, f"{name} is active", PATIENCE_S)
    muted = said(host, "oahega-edge mute")
    assert muted.returncode == 0, muted.stderr
    assert "left: muted" in muted.stderr
    assert "right: muted" in muted.stderr

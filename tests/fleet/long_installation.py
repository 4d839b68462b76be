"""The installation by hand, typed as systemd/README.md says it, on a booted Debian Bookworm.

The commands are read from the document and run as the user `pi` of an empty host, in its login shell. The
host has no internet: pip finds there what the document lets it download, and apt has the packages already.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from fleet_hosts import stop_all, wait_for
from fleet_tree import ensure_tree, missing
from oahega_edge.tools.demo_clip import write_demo_clip
from service_host import ROOT, ServiceHost

pytestmark = [pytest.mark.long, pytest.mark.skipif(bool(missing()), reason=missing())]

CHECKOUT = ("edge", "systemd", "requirements", "pyproject.toml", "README.md", "LICENSE")
SETTINGS = """
[deployment]
context = "development"
[camera]
source = "loop:/srv/clip.mp4"
fps = 3
[mqtt]
host = "127.0.0.1"
"""
NOT_IN_A_CONTAINER = "udevadm"
"""A booted container has no udev: its devices are the machine's."""
OFFLINE = "[global]\nno-index = true\nfind-links = /srv/wheels\ndisable-pip-version-check = true\n"


def blocks(heading: str) -> list[str]:
    """The shell blocks of a chapter of the document."""
    page = (ROOT / "systemd/README.md").read_text(encoding="utf-8")
    chapter = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", chapter, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceHost]:
    """A host with a checkout in the home of `pi`, a clip for its camera, and nothing installed."""
    folder = tmp_path_factory.mktemp("installation")
    empty = ServiceHost("oahega-install", 8, ensure_tree(), folder / "host", None)
    empty.insert_disk({})
    try:
        home = empty.root / "home/pi/oahega-edge"
        home.mkdir()
        for name in CHECKOUT:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, home / name)
        subprocess.run(["chroot", empty.root, "chown", "-R", "pi:pi", "/home/pi"], check=True)
        write_demo_clip(empty.root / "srv/clip.mp4", fps=3)
        wheels = ["--only-binary", ":all:", "--python-version", "3.11", "--dest", empty.root / "srv/wheels"]
        pins = ["--no-deps", "--require-hashes", "--requirement", ROOT / "requirements/device.txt"]
        subprocess.run([sys.executable, "-m", "pip", "--quiet", "download", *pins, *wheels], check=True)
        empty.write("etc/pip.conf", OFFLINE)
        empty.write("etc/hosts", "127.0.0.1 localhost oahega-install\n")
        empty.boot()
        yield empty
    finally:
        stop_all([empty])


def typed(host: ServiceHost, block: str) -> None:
    """A block line by line, each in a login shell in the checkout; prints how long each took."""
    for line in block.splitlines():
        if NOT_IN_A_CONTAINER in line:
            print(f"  left out: {line}")
            continue
        since = time.monotonic()
        done = said(host, line)
        print(f"{time.monotonic() - since:6.1f} s  {line}")
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


def said(host: ServiceHost, line: str) -> subprocess.CompletedProcess[str]:
    shell = ("runuser", "--login", "pi", "--command", f"cd oahega-edge && {line}")
    return subprocess.run(host.entering(*shell), capture_output=True, text=True)


def test_the_documents_commands_lead_from_an_empty_host_to_a_running_device(host: ServiceHost) -> None:
    program, service = blocks("Install by hand")
    print()

    typed(host, program)
    host.write("etc/oahega-edge/edge.toml", SETTINGS)
    typed(host, service)

    host.reaches("ActiveState", "active", 300)
    status = wait_for(lambda: with_frames(said(host, "oahega-edge status").stdout), "frames", 300)
    check = said(host, "sudo -u oahega-edge oahega-edge check --no-broker")
    unreached = said(host, "sudo -u nobody /usr/local/bin/oahega-edge status")
    assert '"camera": "live"' in status
    assert "Traceback" not in check.stderr + unreached.stderr
    assert unreached.returncode != 0
    assert "group oahega-edge" in unreached.stderr


def with_frames(status: str) -> str:
    return status if '"camera": "live"' in status else ""


def test_the_commands_for_several_cameras_start_one_daemon_for_each(host: ServiceHost) -> None:
    host.systemctl("stop", "oahega-edge")
    for name in ("left", "right"):
        host.write(f"etc/oahega-edge/{name}.toml", "[runtime]\nthreads = 1\n")
    (commands,) = blocks("Several cameras")

    typed(host, commands)

    for name in ("left", "right"):
        host_state = lambda unit=f"oahega-edge@{name}": host.show("ActiveState", unit) == "active"  # noqa: E731
        wait_for(host_state, f"{name} is active", 300)
    muted = said(host, "oahega-edge mute")
    assert muted.returncode == 0, muted.stderr
    assert "left: muted" in muted.stderr
    assert "right: muted" in muted.stderr

"""The Debian package on booted hosts without a network: install, first event, upgrade, remove, purge.

`make deb-test` (root, Debian). The tests are one story, told once on Bookworm and once on Trixie.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import oahega_edge
from fleet_hosts import stop_all, wait_for
from fleet_tree import ensure_tree, missing
from oahega_edge.tools.demo_clip import write_demo_clip
from service_host import UNIT, ServiceHost

pytestmark = [pytest.mark.long, pytest.mark.skipif(bool(missing()), reason=missing())]

PASSWORD = "correct-horse"
ANSWERS = f"""
oahega-edge oahega-edge/context select development
oahega-edge oahega-edge/camera string loop:/srv/clip.mp4
oahega-edge oahega-edge/broker string 127.0.0.1:1883
oahega-edge oahega-edge/username string kiosk
oahega-edge oahega-edge/password password {PASSWORD}
"""
SETTINGS = "etc/oahega-edge/edge.toml"
CREDENTIAL = "etc/credstore/oahega-edge.mqtt-password"
CAMERA_PASSWORD = "battery-staple"
CAMERA_CREDENTIAL = "etc/credstore/oahega-edge.camera-password"
OLDER = "0.3.9"
PAGE_UNIT = "oahega-edge-page.service"
PAGE = "http://127.0.0.1:8321/"
OTHER_PYTHON = {"bookworm": "3.13", "trixie": "3.11"}
PATIENCE_S = 300
"""Seconds; the packages are unpacked and a model starts, on a machine that is busy."""


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def host(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, package: Path
) -> Iterator[ServiceHost]:
    """A booted host with a broker, a clip for a camera, the package, and an older one of the same content."""
    folder = tmp_path_factory.mktemp("package")
    tree = ensure_tree(request.param)
    machine = ServiceHost(f"oahega-{request.param}", 8, tree, folder / "host", None)  # type: ignore[arg-type]
    machine.insert_disk({"srv/answers": ANSWERS, "srv/new.deb": package.read_bytes()})
    older = folder / "older"
    subprocess.run(["dpkg-deb", "--raw-extract", package, older], check=True)
    renumber(older)
    pack = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", older, machine.root / "srv/old.deb"]
    subprocess.run(pack, check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(older)
    write_demo_clip(machine.root / "srv/clip.mp4", fps=3)
    try:
        machine.boot()
        machine.systemctl("start", "mosquitto")
        yield machine
    finally:
        stop_all([machine])


def renumber(tree: Path) -> None:
    """Make an older package of the same content."""
    control = tree / "DEBIAN/control"
    lines = control.read_text().splitlines()
    lines = [f"Version: {OLDER}" if line.startswith("Version: ") else line for line in lines]
    control.write_text("\n".join(lines) + "\n")
    (tree / "usr/lib/oahega-edge/version").write_text(OLDER + "\n")


def first_event(host: ServiceHost) -> dict[str, object]:
    waited = ("-h", "127.0.0.1", "-W", str(PATIENCE_S), "-C", "1", "-q", "1")
    try:
        heard = host.inside("mosquitto_sub", *waited, "-t", "oahega/v1/+/event")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{host.journal()[-3000:]}") from error
    return dict(json.loads(heard))


def environments(host: ServiceHost) -> list[str]:
    return sorted(path.name for path in (host.root / "opt/oahega-edge/releases").iterdir())


def test_one_command_leads_to_the_first_event(host: ServiceHost) -> None:
    host.inside("debconf-set-selections", "/srv/answers")
    began = time.monotonic()
    host.apt("install", "/srv/old.deb")
    installed = time.monotonic()
    event = first_event(host)
    print(
        f"installed after {installed - began:.0f} s, first event {time.monotonic() - installed:.0f} s later"
    )

    assert event["schema"] == "urn:oahega:event:1"
    assert host.show("ActiveState") == "active"
    assert host.show("User") == "oahega-edge"
    assert host.systemctl("is-enabled", UNIT).strip() == "enabled"
    assert "development" in host.inside("oahega-edge", "config")


def test_the_password_is_where_only_root_and_the_service_read_it(host: ServiceHost) -> None:
    assert host.inside("stat", "--format=%a %U", f"/{CREDENTIAL}").strip() == "400 root"
    assert host.inside("cat", f"/{CREDENTIAL}").strip() == PASSWORD
    for place in ("/var/cache/debconf", "/etc/oahega-edge"):
        host.inside("sh", "-c", f"! grep -r --quiet {PASSWORD} {place}")


def test_an_upgrade_keeps_settings_and_mute_and_takes_the_old_environment_away(host: ServiceHost) -> None:
    host.write(SETTINGS, (host.root / SETTINGS).read_text() + "\n[trigger]\nthreshold = 0.61\n")
    host.inside("oahega-edge", "mute")
    (old,) = environments(host)
    began = time.monotonic()
    host.apt("install", "/srv/new.deb")
    print(f"upgraded after {time.monotonic() - began:.0f} s")
    wait_for(lambda: host.show("ActiveState") == "active", "the new release runs", PATIENCE_S)

    (new,) = environments(host)
    assert OLDER in old
    assert oahega_edge.__version__ in new
    assert host.inside("oahega-edge", "--version").strip() == oahega_edge.__version__
    assert "0.61" in (host.root / SETTINGS).read_text()
    assert json.loads(host.inside("oahega-edge", "status", "--json"))["state"]["muted"]
    host.inside("oahega-edge", "unmute")


def test_the_environment_is_made_again_when_the_python_of_the_system_changes(
    host: ServiceHost, request: pytest.FixtureRequest
) -> None:
    """The host is as an upgrade of Debian leaves it: the environment in use belongs to the other Python."""
    suite = request.node.callspec.params["host"]
    (name,) = environments(host)
    other = f"deb-{oahega_edge.__version__}-py{OTHER_PYTHON[suite]}-0"
    releases = "/opt/oahega-edge/releases"
    host.inside("mv", f"{releases}/{name}", f"{releases}/{other}")
    host.inside("ln", "-sfn", f"releases/{other}", "/opt/oahega-edge/current")
    host.inside("dpkg-trigger", "--by-package=python3-minimal", "--no-await", "/usr/bin/python3")
    host.inside("dpkg", "--triggers-only", "oahega-edge")

    assert environments(host) == [name]
    assert os.readlink(host.root / "opt/oahega-edge/current") == f"releases/{name}"
    assert first_event(host)


def test_the_page_is_started_by_its_unit(host: ServiceHost) -> None:
    host.write(SETTINGS, (host.root / SETTINGS).read_text() + "\n[page]\nport = 8321\n")
    host.systemctl("restart", UNIT)
    host.systemctl("start", PAGE_UNIT)
    ask = f"import urllib.request as u; print(u.urlopen({PAGE!r}, timeout=30).read().decode())"
    page = wait_for(lambda: host.inside("python3", "-c", ask, check=False), "the page is served", PATIENCE_S)

    assert "<html" in page
    assert host.show("User", PAGE_UNIT) == "oahega-edge-page"


def test_a_python_without_wheels_is_one_sentence_and_changes_nothing(host: ServiceHost) -> None:
    pretended = '#!/bin/sh\n[ "$1" = -c ] && echo 3.99 || exec /usr/bin/python3 "$@"\n'
    host.write("srv/bin/python3", pretended, 0o755)
    before = environments(host)
    command = "PATH=/srv/bin:$PATH /usr/lib/oahega-edge/environment build 2>&1 || true"

    assert "for Python 3.11 and 3.13, and this system has 3.99" in host.inside("sh", "-c", command)
    assert environments(host) == before


def test_remove_leaves_settings_password_and_state(host: ServiceHost) -> None:
    host.apt("remove", "oahega-edge")

    assert host.inside("sh", "-c", "command -v oahega-edge || true") == ""
    assert host.show("ActiveState") == "inactive"
    assert host.show("ActiveState", PAGE_UNIT) == "inactive"
    for gone in ("opt/oahega-edge", "usr/lib/oahega-edge", f"usr/lib/systemd/system/{UNIT}"):
        assert not (host.root / gone).exists()
    for kept in (SETTINGS, CREDENTIAL, "var/lib/oahega-edge"):
        assert (host.root / kept).exists()


def test_purge_takes_them_away(host: ServiceHost) -> None:
    host.apt("purge", "oahega-edge")

    for gone in ("etc/oahega-edge", CREDENTIAL, "var/lib/oahega-edge"):
        assert not (host.root / gone).exists()
    assert "oahega" not in host.inside("sh", "-c", "ls /etc/systemd/system/*.wants")
    assert "oahega-edge/" not in host.inside("cat", "/var/cache/debconf/config.dat")


def test_without_an_answer_it_is_installed_and_says_what_to_do(host: ServiceHost) -> None:
    said = host.apt("install", "/srv/new.deb")

    assert "dpkg-reconfigure oahega-edge" in said
    assert host.show("ActiveState") == "inactive"


def test_the_questions_can_be_answered_later(host: ServiceHost) -> None:
    host.inside("debconf-set-selections", "/srv/answers")
    host.inside("dpkg-reconfigure", "--frontend=noninteractive", "oahega-edge")

    assert first_event(host)
    assert (host.root / f"{SETTINGS}.old").exists()


def test_the_password_in_a_cameras_address_is_kept_as_that_of_the_broker(host: ServiceHost) -> None:
    address = f"rtsp://kiosk:{CAMERA_PASSWORD}@192.0.2.1/main"
    host.write("srv/camera", f"oahega-edge oahega-edge/camera string {address}\n")
    host.inside("debconf-set-selections", "/srv/camera")
    host.inside("rm", "/srv/camera")
    host.inside("dpkg-reconfigure", "--frontend=noninteractive", "oahega-edge")

    assert 'source = "rtsp://192.0.2.1/main"\nuser = "kiosk"\n' in (host.root / SETTINGS).read_text()
    assert host.inside("stat", "--format=%a %U", f"/{CAMERA_CREDENTIAL}").strip() == "400 root"
    assert host.inside("cat", f"/{CAMERA_CREDENTIAL}").strip() == CAMERA_PASSWORD
    for place in ("/var/cache/debconf/config.dat", "/etc/oahega-edge"):
        host.inside("sh", "-c", f"! grep -r --quiet {CAMERA_PASSWORD} {place}")

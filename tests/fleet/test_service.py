"""The real wheel and the real unit under a booted systemd (root, Debian; half a minute to boot).

A drop-in shortens the watchdog and the pauses; the rest of the unit is unchanged.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from fleet_hosts import stop_all, wait_for
from fleet_tree import ensure_tree, missing
from mini_bundle import make_bundle
from service_host import UNIT, ServiceHost, make_wheelhouse

pytestmark = [pytest.mark.long, pytest.mark.skipif(bool(missing()), reason=missing())]

WATCHDOG_S = 4
CLI = "/opt/oahega-edge/current/bin/oahega-edge"
PASSWORD = "correct-horse"
SETTINGS = """
[deployment]
context = "development"
[camera]
source = "loop:/srv/clip.avi"
[bundle]
path = "/srv/bundle"
[mqtt]
host = "127.0.0.1"
username = "kiosk"
"""
DROP_IN = f"""
[Service]
WatchdogSec={WATCHDOG_S}
RestartSec=1
TimeoutStopSec=5
"""
BROKER = """
listener 1883 127.0.0.1
allow_anonymous false
password_file /etc/mosquitto/passwd
"""


def make_clip(path: Path) -> None:
    """Write changing noise: not black, not frozen, and without a face."""
    random = np.random.default_rng(3)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for _ in range(40):
        coarse = random.integers(0, 256, (12, 16, 3)).astype(np.uint8)
        writer.write(cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_NEAREST))
    writer.release()


def furnish(host: ServiceHost) -> None:
    """Write the operator's files and a clip for the camera."""
    host.write("etc/oahega-edge/edge.toml", SETTINGS)
    host.write(f"etc/systemd/system/{UNIT}.d/test.conf", DROP_IN)
    host.write("etc/mosquitto/conf.d/test.conf", BROKER)
    host.write("etc/credstore/oahega-edge.mqtt-password", PASSWORD + "\n", 0o400)
    make_clip(host.root / "srv/clip.avi")
    make_bundle(host.root / "srv/bundle")


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A booted host with the daemon installed but not started, and a broker that requires a password."""
    folder = tmp_path_factory.mktemp("service")
    host = ServiceHost("oahega-service", 9, ensure_tree(), folder / "host", None)
    host.insert_disk({})
    try:
        furnish(host)
        host.install(make_wheelhouse(folder / "wheelhouse"))
        host.boot()
        host.inside("mosquitto_passwd", "-b", "-c", "/etc/mosquitto/passwd", "kiosk", PASSWORD)
        host.inside("mosquitto_passwd", "-b", "/etc/mosquitto/passwd", "reader", "read")
        host.systemctl("start", "mosquitto")
        yield host
    finally:
        stop_all([host])


@pytest.fixture
def service(machine):
    """The host with the daemon started and READY, with its usual settings."""
    machine.write("etc/oahega-edge/edge.toml", SETTINGS)
    machine.systemctl("start", "mosquitto")
    machine.systemctl("reset-failed", UNIT, check=False)
    machine.systemctl("start", UNIT)
    yield machine
    machine.systemctl("stop", UNIT)
    machine.systemctl("reset-failed", UNIT, check=False)


def periods(number: float) -> None:
    """Wait for some periods of the watchdog."""
    time.sleep(number * WATCHDOG_S)


def test_it_is_ready_after_a_frame_and_stays_up(service):
    pid = service.show("MainPID")

    periods(3)

    assert service.show("ActiveState") == "active"
    assert service.show("MainPID") == pid
    assert re.search(r"\d+ faces, \d+ people", service.show("StatusText"))


def test_the_watchdog_restarts_a_hung_loop(service):
    before = service.show("MainPID")
    restarts = int(service.show("NRestarts"))

    service.inside("kill", "-STOP", before)
    began = time.monotonic()

    service.reaches("NRestarts", str(restarts + 1))
    service.reaches("ActiveState", "active")
    print(f"hung loop: active again after {time.monotonic() - began:.1f} s (WatchdogSec={WATCHDOG_S})")
    assert service.show("MainPID") != before
    assert "Watchdog timeout" in service.journal()


def test_it_restarts_after_sigkill(service):
    before = service.show("MainPID")
    restarts = int(service.show("NRestarts"))

    service.inside("kill", "-KILL", before)
    began = time.monotonic()

    service.reaches("NRestarts", str(restarts + 1))
    service.reaches("ActiveState", "active")
    print(f"SIGKILL: active again after {time.monotonic() - began:.1f} s (RestartSec=1)")
    assert service.show("MainPID") != before


def test_a_wrong_setting_exits_with_78_names_the_key_and_is_not_retried(machine):
    machine.systemctl("reset-failed", UNIT, check=False)
    machine.write("etc/oahega-edge/edge.toml", SETTINGS + "[trigger]\ntreshold = 0.7\n")

    machine.systemctl("start", UNIT, check=False)
    periods(1)

    assert machine.show("ExecMainStatus") == "78"
    assert machine.show("NRestarts") == "0"
    assert machine.show("ActiveState") == "failed"
    assert "trigger.treshold" in machine.journal()


def test_the_password_reaches_the_broker_and_nobody_else(service):
    subscribe = (
        "mosquitto_sub",
        "-h",
        "127.0.0.1",
        "-u",
        "reader",
        "-P",
        "read",
        "-t",
        "oahega/v1/+/availability",
        "-C",
        "1",
    )
    pid = service.show("MainPID")
    credential = f"/run/credentials/{UNIT}/mqtt-password"

    availability = wait_for(
        lambda: service.inside(*subscribe, "-W", "5", check=False).strip(), "availability"
    )

    assert availability == "online"
    assert service.in_the_service("cat", credential).stdout.strip() == PASSWORD
    as_user = service.in_the_service("setpriv", "--reuid=oahega-edge", "--clear-groups", "cat", credential)
    assert as_user.stdout.strip() == PASSWORD
    for reuid in ("--reuid=nobody", "--reuid=pi"):
        as_other = service.in_the_service("setpriv", reuid, "--clear-groups", "cat", credential)
        assert as_other.returncode != 0
        assert PASSWORD not in as_other.stdout
    for seen in (f"/proc/{pid}/environ", f"/proc/{pid}/cmdline"):
        assert PASSWORD not in service.inside("cat", seen)
    assert PASSWORD not in service.systemctl("show", UNIT)
    assert PASSWORD not in service.journal()


def test_it_can_write_only_to_its_own_folders(service):
    state, runtime = "/var/lib/oahega-edge", "/run/oahega-edge"
    elsewhere = ("/etc/oahega-edge", "/opt/oahega-edge/current", "/srv", "/var/tmp/..", "/usr", "/")

    refused = [service.in_the_service("touch", f"{folder}/written").stderr for folder in elsewhere]
    allowed = [service.in_the_service("touch", f"{folder}/written").returncode for folder in (state, runtime)]

    assert all("Read-only file system" in text for text in refused), refused
    assert allowed == [0, 0]
    assert service.in_the_service("ls", "/home").stdout == ""


def test_it_writes_nothing_elsewhere(service):
    service.inside("touch", "/srv/marker")

    periods(1)

    find = ("find", "/", "-xdev", "-newer", "/srv/marker", "-user", "oahega-edge", "-type", "f")
    written = service.inside(*find).split()
    assert [path for path in written if not path.startswith(("/var/lib/oahega-edge/", "/run/"))] == []


def test_it_has_no_capabilities_and_leaves_no_core_dump(service):
    pid = service.show("MainPID")

    status = service.inside("cat", f"/proc/{pid}/status")

    assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert re.search(r"^Cap(Eff|Prm|Bnd|Amb):\t0+$", status, re.MULTILINE)
    assert re.search(r"^Uid:\t[1-9]", status, re.MULTILINE)
    assert re.search(r"^Max core file size +0 ", service.inside("cat", f"/proc/{pid}/limits"), re.MULTILINE)


def test_it_stops_cleanly(service):
    """After TimeoutStopSec (5 s here) systemd would send SIGKILL, and the result would be `timeout`."""
    began = time.monotonic()

    service.systemctl("stop", UNIT)

    print(f"stopped after {time.monotonic() - began:.2f} s")
    assert service.show("Result") == "success"
    assert service.show("ExecMainStatus") == "0"


@pytest.mark.parametrize("absent", ["broker", "camera", "broker and camera"])
def test_it_becomes_ready_without(machine, absent):
    if "broker" in absent:
        machine.systemctl("stop", "mosquitto")
    if "camera" in absent:
        machine.write("etc/oahega-edge/edge.toml", SETTINGS.replace("loop:/srv/clip.avi", "/dev/video7"))
    machine.systemctl("reset-failed", UNIT, check=False)
    machine.systemctl("start", UNIT)
    pid = machine.show("MainPID")

    periods(3)

    assert machine.show("ActiveState") == "active"
    assert machine.show("MainPID") == pid
    machine.systemctl("stop", UNIT)
    machine.systemctl("start", "mosquitto")
    machine.write("etc/oahega-edge/edge.toml", SETTINGS)


def test_it_stays_muted_over_a_restart(service):
    """Members of the daemon's group may mute it; here its own user does."""
    service.inside("setpriv", "--reuid=oahega-edge", "--regid=oahega-edge", "--clear-groups", CLI, "mute")
    service.systemctl("restart", UNIT)
    pid = service.show("MainPID")

    periods(3)

    assert service.show("StatusText").startswith("muted")
    assert service.show("MainPID") == pid
    service.inside("setpriv", "--reuid=oahega-edge", "--regid=oahega-edge", "--clear-groups", CLI, "unmute")
    wait_for(lambda: "faces" in service.show("StatusText"), "the camera is open again")


def test_other_users_may_not_mute(service):
    muted = service.inside("setpriv", "--reuid=nobody", "--clear-groups", CLI, "mute", check=False)

    periods(0.5)

    assert "muted" not in service.show("StatusText"), muted


def test_the_accelerators_process_works_in_the_same_sandbox(machine):
    """Run the unit once with a program that runs a model in a child process."""
    program = (
        "import json, pathlib\n"
        "from oahega_edge.bundles.load import load_bundle, self_test\n"
        "from oahega_edge.runtimes.isolated import ModelSpec, open_isolated\n"
        "bundle = load_bundle(pathlib.Path('/srv/bundle'))\n"
        "entry = bundle.manifest.emotion\n"
        "spec = ModelSpec(bundle.file(entry.cpu), entry.outputs, entry.input)\n"
        "with_child = open_isolated({'emotion': spec})\n"
        "print('worst', self_test(entry, with_child['emotion']))\n"
        "with_child['emotion'].close()\n"
    )
    unit = (machine.root / "etc/systemd/system" / UNIT).read_text()
    unit = re.sub(r"ExecStart=.*", "ExecStart=/opt/oahega-edge/current/bin/python /srv/child.py", unit)
    unit = unit.replace("Type=notify", "Type=oneshot").replace("Restart=always", "Restart=no")
    machine.write("srv/child.py", program)
    machine.write("etc/systemd/system/oahega-child.service", unit.replace("WatchdogSec=30\n", ""))
    machine.systemctl("daemon-reload")

    machine.systemctl("start", "oahega-child", check=False)

    assert machine.show("Result", "oahega-child") == "success", machine.journal("oahega-child")
    assert "worst" in machine.journal("oahega-child")

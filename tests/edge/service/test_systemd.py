"""The unit as systemd's own tools judge it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).resolve().parents[3] / "systemd"
UNIT = SYSTEMD / "oahega-edge.service"
PAGE = SYSTEMD / "oahega-edge-page.service"
ARCHIVE = SYSTEMD / "oahega-edge-archive.service"
KIOSK = SYSTEMD / "oahega-kiosk.service"
HIGHEST_EXPOSURE = 1.6
HIGHER_EXPOSURE = {KIOSK.name: 4.1}
"""A browser's own sandbox needs namespaces."""

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")


@pytest.fixture
def root(tmp_path):
    """As much of a file system as `systemd-analyze verify` wants to see."""
    program = tmp_path / "opt/oahega-edge/current/bin/oahega-edge"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    units = tmp_path / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    (tmp_path / "lib").symlink_to("usr/lib")
    for target in Path("/lib/systemd/system").glob("*.target"):
        shutil.copy(target, units)
    return tmp_path


def complaints(root: Path, unit: str, *drop_ins: Path) -> str:
    folder = root / "etc/systemd/system"
    folder.mkdir(parents=True)
    (folder / UNIT.name).write_text(unit)
    for drop_in in drop_ins:
        (folder / f"{UNIT.name}.d").mkdir(exist_ok=True)
        shutil.copy(drop_in, folder / f"{UNIT.name}.d")
    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={root}", UNIT.name], capture_output=True, text=True
    )
    return done.stdout + done.stderr


@needs_analyze
def test_systemd_has_nothing_to_complain_about(root):
    assert complaints(root, UNIT.read_text()) == ""


@needs_analyze
def test_nor_about_the_browser(root):
    folder = root / "etc/systemd/system"
    folder.mkdir(parents=True)
    shutil.copy(KIOSK, folder)
    for unit in ("dbus.socket", "systemd-logind.service"):
        (root / "usr/lib/systemd/system" / unit).write_text(f"[{unit.split('.')[1].title()}]\n")
    browser = root / "bin/sh"
    browser.parent.mkdir(parents=True, exist_ok=True)
    browser.write_text("#!/bin/sh\n")
    browser.chmod(0o755)

    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={root}", KIOSK.name], capture_output=True, text=True
    )

    assert [line for line in done.stderr.splitlines() if KIOSK.name in line] == []


@needs_analyze
@pytest.mark.parametrize("other", [PAGE, ARCHIVE], ids=lambda file: file.stem)
def test_nor_about_the_page_and_the_archive(root, other):
    folder = root / "etc/systemd/system"
    folder.mkdir(parents=True)
    for unit in (UNIT, other):
        shutil.copy(unit, folder)

    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={root}", other.name], capture_output=True, text=True
    )

    assert done.stdout + done.stderr == ""


@needs_analyze
def test_nor_about_the_drop_in_that_reboots(root):
    assert complaints(root, UNIT.read_text(), SYSTEMD / "reboot.conf") == ""


@needs_analyze
def test_a_misspelt_directive_would_be_noticed(root):
    assert "WatchdogSex" in complaints(root, UNIT.read_text().replace("WatchdogSec", "WatchdogSex"))


@needs_analyze
def test_nor_about_the_template_for_several_cameras(root):
    folder = root / "etc/systemd/system"
    (folder / "oahega-edge@.service.d").mkdir(parents=True)
    shutil.copy(UNIT, folder / "oahega-edge@.service")
    shutil.copy(SYSTEMD / "instance.conf", folder / "oahega-edge@.service.d")

    done = subprocess.run(
        ["systemd-analyze", "verify", f"--root={root}", "oahega-edge@left.service"],
        capture_output=True,
        text=True,
    )

    assert done.stdout + done.stderr == ""


@needs_analyze
@pytest.mark.parametrize("source", sorted(SYSTEMD.glob("*.service")), ids=lambda file: file.stem)
@pytest.mark.parametrize("more", ["", (SYSTEMD / "instance.conf").read_text()], ids=["alone", "an instance"])
def test_the_exposure_stays_low(source, more, tmp_path):
    unit = tmp_path / source.name
    unit.write_text(source.read_text() + more)
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]

    report = subprocess.run(command, capture_output=True, text=True, check=False).stdout

    score = re.search(r"Overall exposure level for \S+: ([\d.]+)", report)
    assert score is not None, report
    assert float(score[1]) <= HIGHER_EXPOSURE.get(source.name, HIGHEST_EXPOSURE)


def directives() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if re.match(r"[A-Z]\w+=", line):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_automatic_restarts_never_reach_the_start_limit():
    set_to = {key: values[0] for key, values in directives().items()}

    restarts = int(set_to["StartLimitIntervalSec"]) / int(set_to["RestartSec"])

    assert restarts + 1 < int(set_to["StartLimitBurst"])


def test_every_line_of_the_unit_has_its_reason_in_the_readme():
    text = (SYSTEMD / "README.md").read_text().partition("## Tried and left out")[0]
    unexplained = {"Description", "ExecStart", "WantedBy"}

    missing = [key for key in directives() if key not in unexplained and not re.search(rf"\b{key}\b", text)]

    environment = [value.partition("=")[0] for value in directives()["Environment"]]
    assert [key for key in missing if key != "Environment"] == []
    assert [name for name in environment if name not in text] == []


def test_the_installation_by_hand_makes_its_folders_and_uses_what_is_there(tmp_path):
    """Bookworm has no /etc/sysusers.d; the commands are those of the document."""
    page = (SYSTEMD / "README.md").read_text(encoding="utf-8").partition("## Install by hand")[2]
    first, second = re.findall(r"^```sh\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)[:2]
    commands = [line.removeprefix("sudo ") for line in second.splitlines() if " install " in line]

    for command in commands:
        done = command.replace(" /etc/", f" {tmp_path}/etc/")
        subprocess.run(["bash", "-euc", done], cwd=SYSTEMD.parent, check=True)

    made = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert made == {
        "etc/systemd/system/oahega-edge.service",
        "etc/sysusers.d/oahega-edge.conf",
        "etc/tmpfiles.d/oahega-edge.conf",
        "etc/udev/rules.d/99-oahega-edge-coral.rules",
    }
    started = re.search(r"^ExecStart=(\S+)/bin/oahega-edge run", UNIT.read_text(), re.MULTILINE)
    assert started is not None
    assert f" {started[1]}\n" in first
    assert f"{started[1]}/bin/oahega-edge /usr/local/bin/" in first


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="no systemd-sysusers here")
def test_sysusers_makes_the_user_with_its_groups(tmp_path):
    (tmp_path / "etc").mkdir()
    command = ["systemd-sysusers", f"--root={tmp_path}", str(SYSTEMD / "oahega-edge.sysusers")]

    subprocess.run(command, check=True, capture_output=True)

    passwd = (tmp_path / "etc/passwd").read_text()
    groups = {
        line.split(":")[0]
        for line in (tmp_path / "etc/group").read_text().splitlines()
        if "oahega-edge" in line
    }
    assert re.search(
        r"^oahega-edge:x:\d+:\d+:OAHEGA edge:/var/lib/oahega-edge:\S*nologin$", passwd, re.MULTILINE
    )
    assert groups == {"oahega-edge", "oahega-edge-page", "video", "render", "plugdev", "apex"}


@pytest.mark.skipif(shutil.which("systemd-tmpfiles") is None, reason="no systemd-tmpfiles here")
def test_tmpfiles_keeps_secrets_for_root(tmp_path):
    secret = tmp_path / "etc/credstore/oahega-edge.mqtt-password"
    secret.parent.mkdir(parents=True)
    secret.write_text("secret")
    secret.chmod(0o644)
    command = ["systemd-tmpfiles", f"--root={tmp_path}", "--create", str(SYSTEMD / "oahega-edge.tmpfiles")]

    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert secret.stat().st_mode & 0o777 == 0o400
    assert (tmp_path / "etc/credstore").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "etc/oahega-edge").is_dir()


def test_the_udev_rules_are_well_formed():
    """Every match is `==` or `!=`, every assignment `=`: what udev would otherwise skip with a warning."""
    lines = (SYSTEMD / "99-oahega-edge-coral.rules").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]

    for rule in rules:
        for part in rule.split(", "):
            assert re.fullmatch(
                r'(ACTION|SUBSYSTEM|ENV\{\w+\}|ATTR\{\w+\}|TEST)(==|!=)"[^"]+"'
                r'|(GROUP|MODE|ATTR\{power/control\})="[^"]+"',
                part,
            ), part
    assert {re.search(r'ATTR\{idVendor\}=="(\w+)"', rule)[1] for rule in rules if "idVendor" in rule} == {
        "1a6e",
        "18d1",
    }

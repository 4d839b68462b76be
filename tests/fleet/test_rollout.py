"""Rollouts to real systemd hosts over SSH. Each test begins and ends with a fleet that is healthy on OLD.

The short form (`-m "fleet and not long"`) has a canary and one other device, the long form (`-m "fleet and
long"`) four devices and every fault. Both need root, Debian and Ansible: ansible/fleet-test.sh.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from fleet import (
    SEES_NOBODY,
    Fleet,
    status_table,
    status_text,
)
from fleet_announced import announced_by, changed_between, snapshot
from fleet_bundles import BAD, NEWER
from fleet_coral import LIBRARY, named_with_digest
from fleet_hosts import wait_for
from fleet_releases import CRASHES, OLD, SEES_NOTHING, Releases
from oahega_edge.bundles.load import DEFAULT_BUNDLE

NEW, CRASHING, BLIND, INTERRUPTED = "0.9.2", "0.9.3", "0.9.4", "0.9.5"
CAMERA_PASSWORD = "the-camera's-canary"

pytestmark = pytest.mark.fleet


def test_what_a_check_announces_is_what_the_first_run_changes(fresh_fleet: Fleet) -> None:
    fleet = fresh_fleet
    before = {host.name: snapshot(host) for host in [fleet.broker, *fleet.devices]}
    checked = fleet.play("site.yml", "--check", "--diff", callback="ansible.posix.json")
    untouched = {host.name: snapshot(host) for host in [fleet.broker, *fleet.devices]}

    done = fleet.play("site.yml", "-vvv")

    after = {host.name: snapshot(host) for host in [fleet.broker, *fleet.devices]}
    assert checked.code == 0, checked.text[-6000:]
    assert done.code == 0, done.text[-6000:]
    announced = announced_by(checked.text)
    for host in [fleet.broker, *fleet.devices]:
        assert changed_between(before[host.name], untouched[host.name]) == set(), "a check changed something"
        assert announced[host.name] == changed_between(before[host.name], after[host.name])
        assert after[host.name] != before[host.name]
    for host in fleet.devices:
        fleet.assert_healthy(host, OLD)
    # The most verbose run printed no secret.
    assert not [secret for secret in fleet.secrets if secret in done.text or secret in checked.text]
    fleet.note(f"first installation of {len(fleet.devices)} hosts and the broker", done)


def test_a_second_run_changes_nothing(fleet: Fleet) -> None:
    before = {host.name: fleet.running(host) for host in fleet.devices}

    again = fleet.play("site.yml", "--diff")

    assert again.code == 0, again.text[-6000:]
    assert again.total("changed") == 0, again.text
    assert {host.name: fleet.running(host) for host in fleet.devices} == before
    fleet.note("second run, nothing to do", again)


def test_only_root_can_read_the_secrets_on_a_device(fleet: Fleet) -> None:
    host = fleet.devices[0]
    password = fleet.passwords[host.name]

    modes = host.inside("stat", "-c", "%a %U", "/etc/credstore/oahega-edge.mqtt-password", "/etc/credstore")
    as_pi = host.inside(
        "runuser", "-u", "pi", "--", "cat", "/etc/credstore/oahega-edge.mqtt-password", check=False
    )
    elsewhere = host.inside(
        "grep", "-rlF", "-e", password, "/etc", "/opt/oahega-edge/previous", "/var/log", check=False
    )

    assert modes.splitlines() == ["400 root", "700 root"]
    assert as_pi == ""
    assert elsewhere.split() == ["/etc/credstore/oahega-edge.mqtt-password"]


def test_the_password_of_a_camera_reaches_the_service_and_nobody_else(fleet: Fleet) -> None:
    host = fleet.devices[0]
    file = "/etc/credstore/oahega-edge.camera-password"
    rotate = ("playbooks/rotate-credentials.yml", "--limit", f"{fleet.broker.name},{host.name}")
    wish = {
        "oahega_edge_camera_password": CAMERA_PASSWORD,
        "oahega_edge_settings": {"camera": {"user": "pi"}},
    }

    given = fleet.play(*rotate, "-vvv", "--diff", **wish)
    mode = host.inside("stat", "-c", "%a %U", file)
    handed_over = host.inside("cat", "/run/credentials/oahega-edge.service/camera-password")
    taken = fleet.play(*rotate)

    assert given.code == 0, given.text[-6000:]
    assert CAMERA_PASSWORD not in given.text
    assert (mode.strip(), handed_over) == ("400 root", CAMERA_PASSWORD)
    assert taken.code == 0, taken.text[-6000:]
    assert host.inside("stat", file, check=False) == ""
    fleet.assert_healthy(host, OLD)


def test_only_the_device_that_asks_for_extras_has_them(fleet: Fleet) -> None:
    """Google's files and the hardware watchdog are installed where the inventory asks for them."""
    first, last = fleet.devices[0], fleet.devices[-1]
    python = "/opt/oahega-edge/current/bin/python"
    watchdog = ("systemctl", "show", "-p", "RuntimeWatchdogUSec", "--value")

    library = last.inside("dpkg-query", "--show", "--showformat", "${Version}", LIBRARY)
    imported = last.inside(python, "-c", "import pycoral; print(pycoral.__file__)").strip()

    assert library == "16.0"
    assert imported.startswith("/opt/oahega-edge/current/")
    assert last.inside(*watchdog).strip() == "14s"
    assert first.inside(*watchdog).strip() != "14s"
    assert first.inside("dpkg-query", "--show", LIBRARY, check=False) == ""
    assert first.inside(python, "-c", "import pycoral", check=False) == ""
    assert not Path(f"{first.root}/etc/systemd/system.conf.d").exists()


def test_googles_files_are_rejected_if_a_digest_is_wrong(fleet: Fleet) -> None:
    """Nothing is copied, and the operator sees both digests."""
    last = fleet.devices[-1]
    before = snapshot(last)
    wheel, library = (next(fleet.folder.glob(name)) for name in ("pycoral-*.whl", "libedgetpu*.deb"))
    wrong = "0" * 64

    refused = fleet.play(
        "playbooks/rollout.yml",
        *("--limit", last.name, "--tags", "oahega_edge_preflight"),
        oahega_edge_pycoral_wheel={"file": str(wheel), "sha256": wrong},
        oahega_edge_libedgetpu_deb={"file": str(library), "sha256": wrong},
    )

    assert refused.code != 0
    for file in (wheel, library):
        digest = named_with_digest(file)["sha256"]
        assert f"{file} has the SHA-256 {digest}, the inventory expects {wrong}" in refused.said
    assert changed_between(before, snapshot(last)) == set()


def test_a_bad_bundle_stops_at_the_canary(fleet: Fleet, bundles: Path) -> None:
    """The bundle fails its self-test on the device, before anything is switched."""
    before = {host.name: fleet.running(host) for host in fleet.devices}

    refused = fleet.play("playbooks/bundle.yml", oahega_edge_bundle=str(bundles / BAD))

    assert refused.code != 0
    assert "fails its self-test" in refused.said
    assert "was not changed" in refused.said
    assert refused.recap[fleet.devices[0].name]["failed"] == 1
    assert {host.name: fleet.running(host) for host in fleet.devices} == before
    assert fleet.devices[1].name not in refused.visited
    fleet.assert_healthy(fleet.devices[0], OLD)
    fleet.note("bad bundle", refused)


def test_a_bundle_is_rolled_out_and_back(fleet: Fleet, bundles: Path) -> None:
    """A run for models only ignores the release of the inventory, even if it was never built."""
    canary = fleet.devices[0]
    before = fleet.running(canary)
    variables = {"oahega_edge_bundle": str(bundles / NEWER), "oahega_edge_release": "9.9.9"}

    forth = fleet.play("playbooks/bundle.yml", "--limit", canary.name, **variables)
    between = fleet.running(canary)
    back = fleet.play("playbooks/rollback.yml", "--limit", canary.name)

    after = fleet.running(canary)
    assert forth.code == 0, forth.text[-6000:]
    assert "-97.1-" in between.bundle
    assert between.release == before.release
    assert back.code == 0, back.text[-6000:]
    assert (after.release, after.bundle, after.settings) == (before.release, before.bundle, before.settings)
    fleet.assert_healthy(canary, OLD)
    fleet.note("models only, one device", forth)
    fleet.note("rollback.yml, one device", back)


def test_the_table_shows_every_device(fleet: Fleet) -> None:
    """The last device sees faces; the canary has never seen one."""
    canary, last = fleet.devices[0], fleet.devices[-1]
    wait_for(lambda: fleet.health(last)["events"], f"{last.name} sees a face")

    table = fleet.play("playbooks/status.yml")

    assert table.code == 0, table.text
    for host in fleet.devices:
        row = rf"{host.name} +online +[0-9]+ s +{OLD} += +[0-9a-f]{{12}} += +cpu +[0-9.]+ "
        assert re.search(row, table.text), table.text
    assert re.search(rf"{canary.name} .* 0 +never +learning *$", table.text, re.MULTILINE), table.text
    assert re.search(rf"{last.name} .* [1-9][0-9]* +[0-9]+ (s|min) +learning *$", table.text, re.MULTILINE), (
        table.text
    )


def test_the_table_shows_the_age_of_the_last_event() -> None:
    times = {
        "seconds": "2026-11-24T11:59:18.900Z",
        "minutes": "2026-11-24T11:15:00.000Z",
        "hours": "2026-11-24T02:00:00.000Z",
        "days": "2026-11-17T11:00:00.000Z",
        "never": None,
    }
    healths = {
        device: {"time": "2026-11-24T12:00:00.000Z", "events": 5, "last_event": time}
        for device, time in times.items()
    }
    without_the_field = {"time": "2026-11-24T12:00:00.000Z", "events": 5}

    lines = status_table(healths | {"old-release": without_the_field}, now="2026-11-24T12:00:00.000Z")

    after_events = {device: line.partition(" 5 ")[2] for device, line in lines.items()}
    shown = {device: re.split(r" {2,}", text.strip())[0] for device, text in after_events.items()}
    assert shown == {
        **{"seconds": "41 s", "minutes": "45 min", "hours": "10 h", "days": "7 d", "never": "never"},
        "old-release": "-",
    }


def test_a_device_that_is_off_is_not_shown_as_busy() -> None:
    """Its last message says that an event had just been made; that was a day ago."""
    off = {"time": "2026-11-24T12:00:00.000Z", "events": 5, "last_event": "2026-11-24T12:00:00.000Z"}

    lines = status_table({"kiosk-1": off}, now="2026-11-26T12:00:00.000Z")

    assert re.search(r"^kiosk-1 +unknown +2 d ", lines["kiosk-1"])
    assert re.search(r" 5 +2 d +- *$", lines["kiosk-1"])


def test_the_table_says_since_when_faces_are_not_as_they_were() -> None:
    told = {"time": "2026-11-24T12:00:00.000Z", "events": 5, "last_event": None}
    drifts = {
        "drifting": {"problem": "faces are darker", "since": "2026-11-22", "learning": False},
        "learning": {"problem": None, "since": None, "learning": True},
        "as-before": {"problem": None, "since": None, "learning": False},
    }

    lines = status_table(
        {device: told | {"drift": drift} for device, drift in drifts.items()}, now="2026-11-24T12:00:07.000Z"
    )

    shown = {device: line.partition(" never ")[2].split()[0] for device, line in lines.items()}
    assert shown == {"drifting": "2026-11-22", "learning": "learning", "as-before": "none"}


def test_the_table_tells_the_wanted_release_from_the_running_one_and_is_json_for_programs() -> None:
    told = {"time": "2026-11-24T12:00:00.000Z", "events": 5, "last_event": None}
    moment = "2026-11-24T12:00:07.000Z"

    digest = hashlib.sha256((DEFAULT_BUNDLE / "manifest.json").read_bytes()).hexdigest()
    packaged = {"oahega_edge_bundle": str(DEFAULT_BUNDLE)}

    as_wanted = status_text(
        {"kiosk-1": told | {"bundle_sha256": digest}}, moment, oahega_edge_release="0.9.1", **packaged
    )
    behind = status_text({"kiosk-1": told}, moment, oahega_edge_release="0.9.2", **packaged)
    (row,) = json.loads(
        status_text(
            {"kiosk-1": told},
            moment,
            oahega_edge_release="0.9.2",
            oahega_edge_status_format="json",
            **packaged,
        )
    )

    assert re.search(rf" 7 s +0\.9\.1 += +{digest[:12]} += ", as_wanted)
    assert re.search(rf" 7 s +0\.9\.1 +0\.9\.2 +{'a' * 12} +{digest[:12]} ", behind)
    assert {key: row[key] for key in ("device", "last_seen_s", "release", "wanted_release")} == {
        "device": "kiosk-1",
        "last_seen_s": 7,
        "release": "0.9.1",
        "wanted_release": "0.9.2",
    }
    assert (row["bundle"], row["wanted_bundle"]) == ("a" * 64, digest)


@pytest.mark.long
def test_settings_alone_are_rolled_back(fleet: Fleet) -> None:
    canary = fleet.devices[0]
    before = fleet.running(canary)
    changed = {"oahega_edge_settings": SEES_NOBODY | {"trigger": {"min_interval_ms": 700}}}

    forth = fleet.play("site.yml", "--limit", canary.name, **changed)
    between = fleet.running(canary)
    back = fleet.play("playbooks/rollback.yml", "--limit", canary.name)
    after = fleet.running(canary)
    again = fleet.play("playbooks/rollback.yml", "--limit", canary.name)

    assert forth.code == 0, forth.text[-6000:]
    assert between.settings != before.settings
    assert back.code == 0, back.text[-6000:]
    assert (after.release, after.bundle, after.settings) == (before.release, before.bundle, before.settings)
    assert again.code == 0, again.text[-6000:]


@pytest.mark.long
def test_a_batch_soaks_and_every_change_is_logged_on_the_operators_side(fleet: Fleet) -> None:
    canary = fleet.devices[0]
    log = fleet.inventory / "rollouts.jsonl"
    log.unlink(missing_ok=True)
    only = ("--limit", canary.name)
    changed = {"oahega_edge_settings": SEES_NOBODY | {"trigger": {"min_interval_ms": 800}}}

    forth = fleet.play("playbooks/rollout.yml", *only, oahega_edge_soak_minutes=0.2, **changed)
    again = fleet.play("playbooks/rollout.yml", *only, oahega_edge_soak_minutes=9, **changed)
    back = fleet.play("playbooks/rollback.yml", *only)

    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [play.code for play in (forth, again, back)] == [0, 0, 0], forth.text[-3000:] + back.text[-3000:]
    assert forth.seconds > 12
    assert again.total("changed") == 0, "nothing changed, so nothing soaks"
    assert [(line["device"], line["release"], line["outcome"]) for line in lines] == [
        (canary.name, OLD, "healthy"),
        (canary.name, OLD, "rolled back, healthy"),
    ]


@pytest.mark.long
def test_a_good_upgrade_reaches_every_device(fleet: Fleet, releases: Releases, bundles: Path) -> None:
    canary = fleet.devices[0]
    releases.build(NEW)
    variables = {"oahega_edge_release": NEW, "oahega_edge_bundle": str(bundles / NEWER)}
    before = snapshot(canary)
    only = ("--limit", canary.name)
    checked = fleet.play("site.yml", "--check", "--diff", *only, callback="ansible.posix.json", **variables)

    done = fleet.play("site.yml", **variables)

    assert done.code == 0, done.text[-6000:]
    for host in fleet.devices:
        fleet.assert_healthy(host, NEW)
    assert announced_by(checked.text)[canary.name] == changed_between(before, snapshot(canary))
    fleet.note(f"upgrade of {len(fleet.devices)} hosts", done)

    back = fleet.play("playbooks/rollback.yml")

    assert back.code == 0, back.text[-6000:]
    for host in fleet.devices:
        fleet.assert_healthy(host, OLD)
    fleet.note(f"rollback.yml of {len(fleet.devices)} hosts", back)


@pytest.mark.long
@pytest.mark.parametrize(
    ("version", "fault", "said", "journal"),
    [
        (CRASHING, CRASHES, "Start the service:", "RuntimeError: a release that crashes, made by the tests"),
        (BLIND, SEES_NOTHING, "its camera is stalled", "no picture: a release that loses every frame"),
    ],
    ids=["crashes", "starts but sends no frames"],
)
def test_a_bad_release_is_rolled_back_on_the_canary(
    fleet: Fleet, releases: Releases, version: str, fault: str, said: str, journal: str
) -> None:
    releases.build(version, fault)
    before = {host.name: fleet.running(host) for host in fleet.devices}

    failed = fleet.play("playbooks/rollout.yml", oahega_edge_release=version)

    assert failed.code != 0
    report = failed.said.rpartition("Report the failure]")[2]
    assert said in report
    assert f"is back on {OLD} and healthy" in report
    assert journal in report
    assert failed.recap[fleet.devices[0].name]["failed"] == 1
    fleet.assert_only_canary_restarted(before)
    assert not set(failed.visited) & {host.name for host in fleet.devices[1:]}
    fleet.assert_healthy(fleet.devices[0], OLD)
    fleet.note(f"bad release ({journal}), until the canary was back", failed)


@pytest.mark.long
def test_a_wrong_certificate_is_rolled_back_on_the_canary(fleet: Fleet) -> None:
    """The new authority did not sign the broker's certificate."""
    before = {host.name: fleet.running(host) for host in fleet.devices}
    authority = fleet.folder / "other-authority"
    made = fleet.play("playbooks/new-authority.yml", authority=str(authority), broker_name="elsewhere.test")
    assert made.code == 0, made.text

    failed = fleet.play("playbooks/rollout.yml", oahega_edge_mqtt_ca=(authority / "ca.pem").read_text())

    assert failed.code != 0
    assert "no health message was received" in failed.said
    assert f"is back on {OLD} and healthy" in failed.said
    fleet.assert_only_canary_restarted(before)
    fleet.assert_healthy(fleet.devices[0], OLD)
    fleet.note("wrong certificate authority", failed)


@pytest.mark.long
def test_nothing_is_switched_while_a_canary_is_unreachable(fleet: Fleet, bundles: Path) -> None:
    canary, *others = fleet.devices
    before = {host.name: fleet.running(host) for host in others}
    canary.cut_power()

    stopped = fleet.play("playbooks/bundle.yml", oahega_edge_bundle=str(bundles / NEWER))

    canary.boot()
    assert stopped.code != 0
    assert stopped.recap[canary.name]["unreachable"] == 1
    assert {host.name: fleet.running(host) for host in others} == before
    fleet.assert_healthy(canary, OLD)
    fleet.note("canary unreachable", stopped)


@pytest.mark.long
def test_an_unreachable_host_stops_the_rest_of_its_batch(fleet: Fleet, bundles: Path) -> None:
    """The canary is healthy and the first host of the fleet is down: the hosts after it do not change."""
    canary, lost, *rest = fleet.devices
    before = {host.name: fleet.running(host) for host in rest}
    lost.cut_power()

    stopped = fleet.play("playbooks/bundle.yml", oahega_edge_bundle=str(bundles / NEWER))

    lost.boot()
    back = fleet.play("playbooks/rollback.yml", "--limit", canary.name)
    assert stopped.code != 0
    assert stopped.recap[canary.name]["failed"] == 0
    assert stopped.recap[lost.name]["unreachable"] == 1
    assert {host.name: fleet.running(host) for host in rest} == before
    assert back.code == 0, back.text[-6000:]
    fleet.assert_healthy(canary, OLD)
    fleet.assert_healthy(lost, OLD)


@pytest.mark.long
def test_a_power_cut_during_an_installation(fleet: Fleet, releases: Releases) -> None:
    """The host boots into the old release, the others are not touched, and the next run finishes."""
    canary, *others = fleet.devices
    releases.build(INTERRUPTED)
    before = {host.name: fleet.running(host) for host in others}
    new = f"/opt/oahega-edge/releases/{INTERRUPTED}"

    with fleet.playing("playbooks/rollout.yml", oahega_edge_release=INTERRUPTED) as play:
        numpy = f"{new}/lib/python3.11/site-packages/numpy"
        wait_for(lambda: canary.inside("ls", numpy, check=False), "pip installs numpy", 900)
        canary.cut_power()
        text = play.communicate()[0]
    canary.boot()

    assert play.returncode != 0
    assert "UNREACHABLE" in text
    assert canary.inside("ls", "-A", new) != ""
    fleet.assert_healthy(canary, OLD)
    assert {host.name: fleet.running(host) for host in others} == before

    again = fleet.play("playbooks/rollout.yml", "--limit", canary.name, oahega_edge_release=INTERRUPTED)

    assert again.code == 0, again.text[-6000:]
    fleet.assert_healthy(canary, INTERRUPTED)
    # The last three of all releases that these tests have installed.
    assert len(canary.inside("ls", "/opt/oahega-edge/releases").split()) <= 3
    assert fleet.play("playbooks/rollback.yml", "--limit", canary.name).code == 0
    fleet.assert_healthy(canary, OLD)


@pytest.mark.long
def test_passwords_are_rotated(fleet: Fleet) -> None:
    old = dict(fleet.passwords)
    fleet.change_passwords()

    rotated = fleet.play("playbooks/rotate-credentials.yml", "-vvv")

    assert rotated.code == 0, rotated.text[-6000:]
    for host in fleet.devices:
        fleet.assert_healthy(host, OLD)
    speaker = fleet.devices[0].name
    with_old = fleet.publish(speaker, f"oahega/v1/{speaker}/health", "x", old[speaker])
    assert "Not authorized" in with_old
    assert fleet.publish(speaker, f"oahega/v1/{speaker}/health", "x") == ""
    assert not [secret for secret in [*old.values(), *fleet.secrets] if secret in rotated.text]
    fleet.note(f"new passwords for {len(fleet.devices)} hosts", rotated)


@pytest.mark.long
def test_removal_leaves_nothing_on_the_device(fleet: Fleet) -> None:
    """Runs last, because the device stays without an installation."""
    gone = fleet.devices[-1]

    unconfirmed = fleet.play("playbooks/remove.yml", "--limit", gone.name)
    removed = fleet.play("playbooks/remove.yml", "--limit", gone.name, oahega_edge_remove=gone.name)

    assert unconfirmed.code != 0
    assert removed.code == 0, removed.text[-6000:]
    left = gone.inside("find", "/etc", "/opt", "/var/lib", "-xdev", "-name", "*oahega*")
    assert left == ""
    assert gone.inside("getent", "passwd", "oahega-edge", check=False) == ""
    assert gone.inside("ls", "/etc/systemd/system.conf.d") == ""

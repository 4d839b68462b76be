"""Roll-out with proof: people pass before the canary, which runs a new bundle in the shadow of the old one.

In the long form. Each test begins and ends with a fleet that is healthy on the embedded bundle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet import HEALTH_S, Fleet
from fleet_bundles import CONFUSED, NEWER
from fleet_hosts import Host, wait_for
from fleet_passers import write_passers_by
from fleet_releases import OLD
from oahega_edge.bundles.load import DEFAULT_BUNDLE, digest_of
from oahega_edge.shadow.trial import LEAST_FACES
from oahega_edge.tools.status import as_lines

pytestmark = [pytest.mark.fleet, pytest.mark.long]

MINUTES = 2.5
"""In the shadow: longer than the gate would wait without one."""
PROGRAM = "/opt/oahega-edge/current/bin/oahega-edge"


@pytest.fixture(scope="module")
def canary(fresh_fleet: Fleet) -> Iterator[Host]:
    fleet = fresh_fleet
    fleet.install_where_absent()
    write_passers_by(fleet.devices[0].root / "srv/passers-by.avi")
    settings = {
        "camera": {"source": "loop:/srv/passers-by.avi", "fps": 3},
        "health": {"interval_s": HEALTH_S},
    }
    with fleet.canary_with(oahega_edge_shadow_minutes=MINUTES, oahega_edge_settings=settings) as host:
        yield host


def shadow(host: Host) -> dict[str, Any]:
    """What `status` says on the device of the bundle in the shadow; empty while it says nothing of one."""
    text = host.inside(PROGRAM, "status", "--json", check=False)
    return ((json.loads(text)["health"]["shadow"] or {}) if text else {}) | {"text": text}


def test_a_bundle_that_reads_otherwise_is_rolled_back_and_the_fleet_never_gets_it(
    fresh_fleet: Fleet, canary: Host, bundles: Path
) -> None:
    before = {host.name: fresh_fleet.running(host) for host in fresh_fleet.devices}

    refused = fresh_fleet.play("playbooks/bundle.yml", oahega_edge_bundle=str(bundles / CONFUSED))

    assert refused.code != 0
    report = refused.said.rpartition("Report the failure]")[2]
    reason = (
        r"in the shadow of the bundle before it was refused: it gives 0 of (\d+) faces the same expression"
    )
    found = re.search(reason, report)
    assert found, report
    assert int(found[1]) >= LEAST_FACES
    assert f"{canary.name} is back on {OLD} and healthy" in report
    fresh_fleet.assert_only_canary_restarted(before)
    assert not refused.visited & {host.name for host in fresh_fleet.devices[1:]}
    said = fresh_fleet.health(canary)
    assert (said["bundle_sha256"], said["shadow"]) == (digest_of(DEFAULT_BUNDLE), None)
    fresh_fleet.note("bundle that is refused in the shadow", refused)


def test_a_bundle_that_reads_alike_takes_over_after_its_time_and_the_fleet_follows(
    fresh_fleet: Fleet, canary: Host, bundles: Path
) -> None:
    fleet, others = fresh_fleet, fresh_fleet.devices[1:]
    before = {host.name: fleet.running(host) for host in others}
    old, new = digest_of(DEFAULT_BUNDLE), digest_of(bundles / NEWER)

    with fleet.playing("playbooks/bundle.yml", oahega_edge_bundle=str(bundles / NEWER)) as play:
        running = wait_for(lambda: (said := shadow(canary)).get("faces") and said, "both read faces", 300)
        said = fleet.health(canary)
        event = fleet.event(canary)
        untouched = {host.name: fleet.running(host) for host in others}
        text = play.communicate()[0]

    assert play.returncode == 0, text[-6000:]
    assert untouched == before
    assert (running["state"], running["agreement"], running["bundle"]["sha256"]) == ("running", 1.0, new)
    assert "running until" in next(line for line in as_lines(json.loads(running["text"])) if "shadow" in line)
    assert (said["bundle_sha256"], said["shadow"]["state"]) == (old, "running")
    assert event["model"]["sha256"] == old
    passed = fleet.health(canary)["shadow"]
    assert (passed["state"], passed["agreement"]) == ("passed", 1.0)
    assert passed["faces"] >= LEAST_FACES
    for host in fleet.devices:
        assert fleet.health(host)["bundle_sha256"] == new

    back = fleet.play("playbooks/rollback.yml")

    assert back.code == 0, back.text[-6000:]
    for host in fleet.devices:
        said = fleet.health(host)
        assert (said["bundle_sha256"], said["shadow"]) == (old, None)

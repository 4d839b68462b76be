"""What breaks in the field, in short; the long forms lie in long_faults.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from brokers import Mosquitto
from edge.mqtt_faults import outage_with_kills, restart_under_load

pytestmark = pytest.mark.broker


def test_after_each_restart_of_the_broker_all_is_said_again_and_commands_are_answered(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    told = restart_under_load(mosquitto, tmp_path / "store", times=3)

    assert len(told) == 3


@pytest.mark.lengthy
def test_an_outage_with_a_killed_daemon_in_its_middle_loses_nothing_accepted(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    outage = outage_with_kills(mosquitto, tmp_path, events=75, per_second=50)

    assert outage.accepted >= 2 * 75
    assert outage.arrived >= outage.accepted

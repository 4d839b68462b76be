"""The long forms: `pytest -s -m long tests/edge/long_faults.py` (a quarter of an hour).

They print what they measured.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from brokers import Mosquitto
from edge.mqtt_faults import outage_with_kills, restart_under_load

pytestmark = [pytest.mark.broker, pytest.mark.long]


def test_twenty_restarts_of_the_broker_under_load(mosquitto: Mosquitto, tmp_path: Path) -> None:
    told = restart_under_load(mosquitto, tmp_path / "store", times=20)

    print(f"all said again after: median {sorted(told)[10]:.2f} s, longest {max(told):.2f} s")


def test_ten_minutes_of_outage_at_twenty_events_a_second_with_kills(
    mosquitto: Mosquitto, tmp_path: Path
) -> None:
    outage = outage_with_kills(mosquitto, tmp_path, events=6_000, per_second=20)

    print(outage)
    assert outage.accepted > 10_000
    assert outage.arrived >= outage.accepted

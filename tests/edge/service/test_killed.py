from __future__ import annotations

from pathlib import Path

import pytest

from brokers import Mosquitto
from killed_daemon import killed

pytestmark = pytest.mark.broker


@pytest.mark.lengthy
@pytest.mark.parametrize(("times", "life"), [(5, 0.8), pytest.param(200, 3.5, marks=pytest.mark.long)])
def test_after_sigkill_at_any_moment_the_next_start_is_clean_and_no_event_on_disk_is_lost(
    mosquitto: Mosquitto, tmp_path: Path, times: int, life: float
) -> None:
    ledger = killed(mosquitto, tmp_path, times, life, seed=20261124)

    print(ledger)
    assert ledger.kills == times
    assert ledger.ready_s

"""The simulation judges devices as they judge themselves, from readings that belong to the bundle."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import pytest

from oahega_build.experiments.drift_table import (
    FAULTS,
    FIRST_DAY,
    GAINS,
    RULES,
    Pool,
    Site,
    cache_file,
    count_day,
    keep,
    kept,
    table,
    watched,
)
from oahega_edge.drift.drift import LEAST_FACES, Drift
from oahega_edge.drift.look import Look, bins_of

pytestmark = pytest.mark.training
LABELS = 3


def pool(seed: int, faces: int = 120) -> Pool:
    rng = np.random.default_rng(seed)
    scores = rng.dirichlet(np.ones(LABELS), (len(GAINS), faces))
    light = np.array(GAINS)[:, None] * rng.uniform(80, 120, faces)
    measured = np.stack([light, rng.uniform(0.1, 0.3, light.shape)], axis=2)
    return Pool(scores, measured, np.arange(faces) % LABELS)


@pytest.fixture(scope="module")
def pools() -> dict[str, Pool]:
    return {name: pool(i) for i, name in enumerate(("home", "blurred", "small", "unknown", "elsewhere"))}


def test_readings_come_back_as_they_were_kept(pools: dict[str, Pool], tmp_path: Path) -> None:
    file = cache_file(tmp_path / "new", "ab12", tmp_path)

    keep(pools, file)

    back = kept(file)
    assert back.keys() == pools.keys()
    assert all(np.array_equal(back[name].scores, pools[name].scores) for name in pools)
    assert all(np.array_equal(back[name].labels, pools[name].labels) for name in pools)
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_another_bundle_or_other_data_are_read_anew(tmp_path: Path) -> None:
    files = {
        cache_file(tmp_path, bundle, data)
        for bundle in ("ab12", "cd34")
        for data in (tmp_path, tmp_path / "x")
    }

    assert len(files) == 4
    assert cache_file(tmp_path, "ab12", tmp_path) in files


def test_a_day_at_once_is_counted_as_face_after_face() -> None:
    """Until the next day's first face, when a device closes the block."""
    rng = np.random.default_rng(1)
    at_once, one_by_one = Drift(LABELS), Drift(LABELS)
    for number in range(10):
        day = FIRST_DAY + datetime.timedelta(days=number)
        looks = [
            Look(
                rng.dirichlet(np.ones(LABELS)), *rng.uniform((20, 40, 0.05, 0.5, 0.1), (300, 200, 0.5, 1, 2))
            )
            for _ in range(LEAST_FACES + 50)
        ]
        moment = datetime.datetime.combine(day, datetime.time(15))
        one_by_one.saw(looks, moment)
        slot, places = np.full(len(looks), 5), bins_of(looks)
        shown = np.array([look.scores.argmax() for look in looks])
        count_day(at_once, places, shown, slot, day)
    one_by_one.due(moment + datetime.timedelta(days=1))

    assert np.array_equal(at_once.base.bins, one_by_one.base.bins)
    assert np.array_equal(at_once.quiet, one_by_one.quiet)
    assert at_once.blocks == one_by_one.blocks == 7


def test_a_twin_of_a_site_goes_on_by_itself(pools: dict[str, Pool]) -> None:
    site, same = Site(pools, 1), Site(pools, 1)
    twin = site.copy()
    for number in range(3):
        twin.day(FIRST_DAY + datetime.timedelta(days=number), FAULTS[0], number)

    days = [each.day(FIRST_DAY, FAULTS[0], -1) for each in (site, same)]

    assert all(np.array_equal(a, b) for a, b in zip(*days, strict=True))


def test_half_of_the_light_is_noticed_and_named_however_short_the_time_is(pools: dict[str, Pool]) -> None:
    lines = list(table([watched(pools, seed, 30) for seed in range(2)], months=1))

    begins = "| half of the light, from one day to the next | 8 | now |"
    assert lines[0].startswith("2 devices, 1 months, no fault, rule now: ")
    (row,) = (line for line in lines if line.startswith(begins))
    assert row.split(" | ")[5] == "100%"
    assert "brightness 100%" in row
    assert len(lines) == len(RULES) * (1 + len(FAULTS)) + 3

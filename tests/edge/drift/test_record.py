"""What is kept on the disk: small, whole, of counts only, and refused when it is damaged."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.drift.faces import MONDAY, faces, live
from oahega_edge.drift.drift import Drift
from oahega_edge.drift.record import from_text, to_text

MOST_BYTES = 64 << 10
MOST_LABELS = 64


@pytest.fixture(scope="module")
def text() -> str:
    drift = Drift(3)
    rng = np.random.default_rng(0)
    after = live(drift, 16, rng)
    live(drift, 1, rng, first=after, brightness=50.0)
    drift.saw(tuple(faces(rng, 20)), after + timedelta(days=1))
    return to_text(drift, "k")


def test_it_comes_back_as_it_was(text: str) -> None:
    drift = from_text(text.encode(), "k", 3)

    assert to_text(drift, "k") == text
    assert drift.alarms


def test_every_part_of_the_day_is_written_also_one_without_a_face(text: str) -> None:
    """As all releases with this format read it."""
    drift = from_text(text.encode(), "k", 3)

    kept = json.loads(text)

    for name, tally in (("base", drift.base), ("block", drift.block)):
        assert kept[name] == {"bins": tally.bins.tolist(), "shown": tally.shown.tolist()}
        assert 0 in tally.shown.sum(axis=1)
        assert tally.faces


def test_it_fits_into_64_kilobytes_after_a_year_of_full_days() -> None:
    drift = Drift(MOST_LABELS)
    rng = np.random.default_rng(1)
    for tally in (drift.base, drift.block):
        tally.shown[:] = rng.integers(0, 200, tally.shown.shape)
        for slot, total in enumerate(tally.shown.sum(axis=1)):
            tally.bins[slot] = rng.multinomial(total, np.full(32, 1 / 32), 7)
    drift.blocks, drift.began, drift.day = 7, MONDAY.date(), MONDAY.date()
    drift.quiet = [rng.normal(0, 0.1, 7 + MOST_LABELS) for _ in range(60)]
    few = Drift(6)
    few.quiet = [rng.normal(0, 0.1, 13) for _ in range(60)]

    assert len(to_text(drift, "k" * 64)) < MOST_BYTES
    assert len(to_text(few, "k" * 64)) < MOST_BYTES / 4


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", 1),
        ("format", 3),
        ("key", "another"),
        ("base", None),
        ("base", {"bins": [[1]], "shown": [[1]]}),
        ("blocks", -1),
        ("blocks", 1.5),
        ("blocks", True),
        ("blocks", 0),
        ("began", "yesterday"),
        ("day", None),
        ("quiet", [[1.0]]),
        ("quiet", [[float("nan")] * 10]),
        ("calm", [1.0]),
        ("calm", "much"),
        ("alarms", {"99": "2026-01-01"}),
        ("alarms", {"x": "2026-01-01"}),
        ("alarms", []),
        ("last", [[0.0] * 10]),
        ("last", [[0.0] * 10, [0.0] * 10]),
        ("middles", ["a"]),
        ("middles", []),
        ("middles", [32] * 7),
    ],
)
def test_what_is_damaged_or_of_something_else_is_refused(text: str, key: str, value: Any) -> None:
    kept = {**json.loads(text), key: value}

    with pytest.raises(ValueError, match=r"."):
        from_text(json.dumps(kept).encode(), "k", 3)


@pytest.mark.parametrize("change", [-1, 1])
def test_counts_that_do_not_agree_are_refused(text: str, change: int) -> None:
    kept = json.loads(text)
    kept["base"]["bins"][4][0][16] += change

    with pytest.raises(ValueError, match=r"agree|impossible"):
        from_text(json.dumps(kept).encode(), "k", 3)


@settings(max_examples=40, deadline=None)
@given(cut=st.floats(0, 0.999), place=st.floats(0, 0.999), byte=st.integers(0, 255))
def test_no_damage_of_the_file_does_more_than_to_be_refused(
    text: str, cut: float, place: float, byte: int
) -> None:
    whole = bytearray(text.encode())
    whole[int(place * len(whole))] = byte
    for damaged in (bytes(whole), bytes(whole[: int(cut * len(whole))])):
        try:
            drift = from_text(damaged, "k", 3)
        except ValueError:
            continue
        drift.quantities()
        live(drift, 1, np.random.default_rng(0), count=10)

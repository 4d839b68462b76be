"""2,000 strange bundles, with the largest figures: `make strange-bundles`."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from checking import Checked, Checker
from strange_bundles import Strange, any_strange_bundle, signed_bundle, strange_bundles

EXAMPLES = int(os.environ.get("OAHEGA_EXAMPLES", "2000"))

pytestmark = pytest.mark.long


def test_any_mixture_ends_in_bounds(tmp_path: Path) -> None:
    sound = signed_bundle(tmp_path / "sound")
    ended: list[Checked] = []
    with Checker() as checker:

        @given(strange=strange_bundles)
        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
        def each(strange: Strange) -> None:
            ended.append(any_strange_bundle(checker, sound, strange))

        each()

    print(
        f"\n{len(ended)} bundles, {dict(Counter(each.code for each in ended))} by exit code; at most "
        f"{max(each.seconds for each in ended)} s by the clock, {max(each.cpu_s for each in ended)} s of the "
        f"processor, {max(each.peak_mb for each in ended)} MB"
    )

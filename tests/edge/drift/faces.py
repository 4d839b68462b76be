"""Faces that are drawn from a seed, and days of them."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np

from oahega_edge.drift.drift import Drift
from oahega_edge.drift.look import Look

MONDAY = datetime(2026, 1, 5, 12)
USUAL = {
    "sure": 2.0,
    "height": 90.0,
    "brightness": 120.0,
    "sharpness": 0.4,
    "score": 0.9,
    "wait": 0.15,
    "happy": 0.4,
}
"""Middle of each quantity, and the share of the first label."""


def faces(rng: np.random.Generator, count: int, **changed: float) -> list[Look]:
    """So many faces with three labels; `changed` replaces middles of USUAL."""
    usual = {**USUAL, **changed}
    looks = []
    for _ in range(count):
        logits = rng.normal(0, 0.5, 3)
        logits[0 if rng.random() < usual["happy"] else rng.integers(1, 3)] += usual["sure"]
        powers = np.exp(logits)
        spread = np.exp(rng.normal(0, 0.4, 3))
        looks.append(
            Look(
                powers / powers.sum(),
                usual["height"] * spread[0],
                float(np.clip(usual["brightness"] + rng.normal(0, 25), 0, 255)),
                usual["sharpness"] * spread[1],
                float(np.clip(usual["score"] - abs(rng.normal(0, 0.1)), 0, 1)),
                usual["wait"] * spread[2],
            )
        )
    return looks


def live(
    drift: Drift,
    days: int,
    rng: np.random.Generator,
    *,
    first: datetime = MONDAY,
    count: int = 200,
    **changed: float,
) -> datetime:
    """Days of faces; afterwards, the morning after the last one, on which it was judged."""
    for day in range(days):
        now = first + timedelta(days=day)
        drift.saw(tuple(faces(rng, count, **changed)), now)
    after = first + timedelta(days=days)
    drift.due(after)
    return after

"""What a drift most likely is, in words for who looks after the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from oahega_edge.drift.asked import Asked
from oahega_edge.drift.drift import Drifted
from oahega_edge.drift.look import QUANTITIES

LIKELY = {
    ("sharpness", -1): "faces are less sharp: the lens is dirty or out of focus",
    ("sharpness", 1): "faces are sharper or noisier: the lens was cleaned, or the light is weak",
    ("brightness", -1): "faces are darker: a light failed, or something shades the place",
    ("brightness", 1): "faces are brighter: new light, or the sun shines on them",
    ("height", -1): "faces are smaller: the camera was moved, or people stand farther away",
    ("height", 1): "faces are larger: the camera was moved, or people stand nearer",
    ("score", -1): "faces are found less surely: they are turned away, covered or hardly lit",
    ("score", 1): "faces are found more surely: they are better lit or turned to the camera",
    ("wait", 1): "faces are read later: the device is slow, or finds them with gaps",
    ("wait", -1): "faces are read sooner: the device is faster, or the frame rate is higher",
    ("confidence", -1): "expressions are read less surely: perhaps unknown expressions or other people",
    ("confidence", 1): "expressions are read more surely: other people, or a picture of a face",
    ("entropy", 1): "expressions are less clear: perhaps unknown expressions or other people",
    ("entropy", -1): "expressions are clearer: other people, or a picture of a face",
    ("labels", 1): "one expression is more frequent than in the first days",
    ("labels", -1): "one expression is less frequent than in the first days",
}
"""By quantity and direction; what comes first is more often the cause of what comes later."""
COMPARED = {
    ("brightness", -1): "darker than",
    ("brightness", 1): "brighter than",
    ("sharpness", -1): "less sharp than",
    ("height", -1): "smaller than",
}
MIDDLE = (0.05, 0.95)
"""Of the pictures that a bundle learned from; beyond, a face is unlike them."""


def asked_problem(asked: Asked) -> str | None:
    """One sentence; None while as many are read right as before."""
    if not asked.is_worse or asked.since is None:
        return None
    now, before = asked.right / asked.faces, asked.before_right / asked.before
    return (
        f"asked expressions are read right less often: {now:.0%} of {asked.faces} faces, {before:.0%} of "
        f"{asked.before} in earlier rounds (since {asked.since.isoformat()})"
    )


def problem(
    found: Mapping[str, Drifted], middles: Sequence[int], reference: Mapping[str, Sequence[int]] | None
) -> str | None:
    """One sentence; None while nothing drifts.

    `middles`: median bin of each quantity in the last block; `reference`: the bundle's histograms.
    """
    for (name, sign), said in LIKELY.items():
        one = found.get(name)
        if one is not None and one.since is not None and (one.delta > 0) == (sign > 0):
            known = _known(name, sign, middles, reference or {})
            return f"{said}{known} (since {one.since.isoformat()})"
    return None


def _known(name: str, sign: int, middles: Sequence[int], reference: Mapping[str, Sequence[int]]) -> str:
    """How that compares with what the bundle learned from, if it is told and far from it."""
    compared, histogram = COMPARED.get((name, sign)), reference.get(name)
    if compared is None or histogram is None or not middles:
        return ""
    unlike = _is_unlike(middles[QUANTITIES.index(name)], sign, histogram)
    return f"; they are {compared} the pictures that the bundle learned from" if unlike else ""


def _is_unlike(place: int, sign: int, histogram: Sequence[int]) -> bool:
    """Whether half of the faces lie beyond nearly all that the bundle learned from."""
    below = np.cumsum(histogram) / max(1, sum(histogram))
    low, high = (int(np.searchsorted(below, share)) for share in MIDDLE)
    return place < low if sign < 0 else place > high

"""Small drawn datasets with the shape of the published ones."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def face(label: int, seed: int, side: int = 48) -> NDArray[np.uint8]:
    """A grey disc before clouds, with a mouth whose curve tells the label; every seed differs."""
    rng = np.random.default_rng([label, seed])
    clouds = rng.integers(0, 110, (4, 4)).astype(np.uint8)
    picture = cv2.resize(clouds, (side, side), interpolation=cv2.INTER_CUBIC)
    unit = side / 48
    x, y = (rng.uniform(-2, 2, 2) + 24) * unit

    def at(dx: float, dy: float) -> tuple[int, int]:
        return round(x + dx * unit), round(y + dy * unit)

    cv2.circle(picture, at(0, 0), round(19 * unit), int(rng.integers(140, 220)), -1)
    for dx in (-7, 7):
        cv2.circle(picture, at(dx, -5), max(1, round(2 * unit)), 30, -1)
    start, end = ((20, 160), (200, 340), (0, 360))[label % 3]
    axes = (round(8 * unit), round((4 + label) * unit))
    cv2.ellipse(picture, at(0, 8), axes, 0, start, end, 30, max(1, round(2 * unit)))
    grain = rng.normal(0, 4, picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)


def write_dataset(
    root: Path, counts: Mapping[str, Mapping[str, int]], labels: Sequence[str], side: int = 48
) -> Path:
    """`root/<part>/<label>/<n>.png` for each part ('' for none) and its count per label."""
    for part, per_label in counts.items():
        for label, count in per_label.items():
            folder = root / part / label
            folder.mkdir(parents=True)
            for i in range(count):
                seed = i + (10_000 if part == "valid" else 0)
                cv2.imwrite(str(folder / f"{i:04d}.png"), face(labels.index(label), seed, side))
    return root


def write_votes(root: Path, rows: Mapping[str, Mapping[str, float]]) -> None:
    """`votes.csv` with a column per key of the first row."""
    columns = list(next(iter(rows.values())))
    with (root / "votes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", *columns])
        for name, votes in rows.items():
            writer.writerow([name, *(votes[column] for column in columns)])

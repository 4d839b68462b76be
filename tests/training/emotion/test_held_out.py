"""What was held out of training is what is evaluated as held out."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from oahega_build.emotion.evaluate import part_of
from oahega_build.pictures.dataset import Sample, read_dataset, split_train

PATTERN = r"/(p\d+)-"


def person(sample: Sample) -> str:
    return sample.name.split("/")[-1].split("-")[0]


def test_held_out_is_what_the_recipe_of_the_run_held_out(tmp_path: Path) -> None:
    """Its share, and nobody of its groups on both sides."""
    for number in range(80):
        pixels = np.random.default_rng(number).integers(0, 255, (48, 48), np.uint8)
        file = tmp_path / "faces" / ("happy" if number % 2 else "sad") / f"p{number // 8}-{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), pixels)
    (tmp_path / "recipe.json").write_text(json.dumps({"held_out": 0.3, "group_pattern": PATTERN}))
    dataset = read_dataset(tmp_path / "faces")
    kept, held = split_train(dataset, 0.3, PATTERN)

    part = part_of(dataset, "held-out", tmp_path)

    assert [sample.name for sample in part] == [sample.name for sample in held]
    assert {person(s) for s in part}.isdisjoint({person(s) for s in kept})
    assert len(part_of(dataset, "held-out")) < len(part)

"""Our figures of a detector are COCO's: the same detections give pycocotools' precision and recall."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from oahega_build.detector.metrics import MatchCollector, Matches
from oahega_build.pictures.readers import LabelledBox
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.geometry import Box

PICTURES = 30
FINE = np.linspace(0, 1, 20001)
"""Recalls at which COCO reads the precision, instead of 101: close enough to the area that we compute."""

Picture = tuple[list[LabelledBox], list[Detection]]


def drawn_picture(rng: np.random.Generator) -> Picture:
    """Faces and ignore regions; detections near most of them, twice on some, and some of nothing."""
    there = [LabelledBox("face", drawn_box(rng), bool(rng.random() < 0.25)) for _ in range(rng.integers(5))]
    boxes = [moved(known.box, rng) for known in there for _ in range(rng.integers(3))]
    boxes += [drawn_box(rng) for _ in range(rng.integers(3))]
    return there, [Detection("face", box, float(rng.uniform(0.05, 1))) for box in boxes]


def drawn_box(rng: np.random.Generator) -> Box:
    left, top = rng.uniform(0, 0.6, 2)
    width, height = rng.uniform(0.05, 0.35, 2)
    return Box(left, top, left + width, top + height)


def moved(box: Box, rng: np.random.Generator) -> Box:
    dx, dy = rng.uniform(0, 0.35, 2) * (box.width, box.height)
    return Box(box.left + dx, box.top + dy, min(1.0, box.right + dx), min(1.0, box.bottom + dy))


def ours(pictures: Sequence[Picture]) -> Matches:
    matching = MatchCollector("face")
    for there, found in pictures:
        matching.add(found, there)
    return matching.matches()


def cocos(pictures: Sequence[Picture]) -> COCOeval:
    """COCO's evaluation at one IoU and without a limit of detections; ignore regions are its crowds."""
    truth, found = COCO(), []
    annotations = [
        {"image_id": i, "bbox": xywh(known.box), "area": known.box.area, "iscrowd": int(known.ignore)}
        for i, (there, _) in enumerate(pictures)
        for known in there
    ]
    truth.dataset = {
        "images": [{"id": i} for i in range(len(pictures))],
        "categories": [{"id": 1}],
        "annotations": [{"id": n, "category_id": 1, **each} for n, each in enumerate(annotations, start=1)],
        "info": {},
    }
    found = [
        {"image_id": i, "category_id": 1, "bbox": xywh(detection.box), "score": detection.score}
        for i, (_, detections) in enumerate(pictures)
        for detection in detections
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.params.recThrs = FINE
        evaluation.params.maxDets = [1000]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


def xywh(box: Box) -> list[float]:
    return [box.left, box.top, box.width, box.height]


@pytest.mark.parametrize("seed", range(8))
def test_average_precision_and_recall_are_cocos(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pictures = [drawn_picture(rng) for _ in range(PICTURES)]

    matches, evaluation = ours(pictures), cocos(pictures)

    assert 0.1 < matches.average_precision() < 0.9
    assert matches.average_precision() == pytest.approx(evaluation.eval["precision"].mean(), abs=2e-4)
    assert matches.recall == pytest.approx(evaluation.eval["recall"].item())

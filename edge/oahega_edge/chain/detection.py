"""Raw SSD heads to detections: anchors, decoding, non-maximum suppression. Shared with the trainer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.geometry import Box, iou_matrix
from oahega_edge.chain.preprocess import Placement
from oahega_edge.manifest import COVERED_FACE, DetectorEntry, InputTensor, OutputTensor, SsdDecoder, output_of

FACE, PERSON = "face", "person"
MOST_CANDIDATES = 200
"""Boxes per label that enter the suppression; more faces than any camera view shows."""


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing found, in unit coordinates of the picture."""

    label: str
    box: Box
    score: float
    covered: bool = False
    """Of a face: something hides its mouth, so that its expression cannot be read."""


def anchor_boxes(input_: InputTensor, decoder: SsdDecoder) -> NDArray[np.float64]:
    """Every anchor as center x, center y, width, height in units of the input: (N, 4), in output order."""
    parts = []
    for level in decoder.levels:
        rows = (np.arange(math.ceil(input_.height / level.stride)) + 0.5) * level.stride / input_.height
        columns = (np.arange(math.ceil(input_.width / level.stride)) + 0.5) * level.stride / input_.width
        sizes = np.array([(a.width / input_.width, a.height / input_.height) for a in level.anchors])
        grid = np.empty((len(rows), len(columns), len(sizes), 4))
        grid[..., 0] = columns[None, :, None]
        grid[..., 1] = rows[:, None, None]
        grid[..., 2:] = sizes
        parts.append(grid.reshape(-1, 4))
    return np.concatenate(parts)


def anchor_labels(input_: InputTensor, decoder: SsdDecoder) -> list[str]:
    """The label that each of the N anchors answers for."""
    labels: list[str] = []
    for level in decoder.levels:
        cells = math.ceil(input_.height / level.stride) * math.ceil(input_.width / level.stride)
        labels += [anchor.label for anchor in level.anchors] * cells
    return labels


def decode_boxes(
    offsets: NDArray[np.floating], anchors: NDArray[np.float64], decoder: SsdDecoder
) -> NDArray[np.float64]:
    """Offsets dy, dx, dh, dw (n, 4) on their anchors -> left, top, right, bottom (n, 4)."""
    middle = anchors[:, :2] + offsets[:, 1::-1] * decoder.center_variance * anchors[:, 2:]
    size = anchors[:, 2:] * np.exp(np.minimum(offsets[:, 3:1:-1] * decoder.size_variance, 10.0))
    return np.concatenate([middle - size / 2, middle + size / 2], axis=1)


def encode_boxes(
    boxes: NDArray[np.floating], anchors: NDArray[np.float64], decoder: SsdDecoder
) -> NDArray[np.float64]:
    """The inverse of `decode_boxes`: the trainer's targets."""
    size = boxes[:, 2:] - boxes[:, :2]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    shift = (middle - anchors[:, :2]) / (decoder.center_variance * anchors[:, 2:])
    growth = np.log(size / anchors[:, 2:]) / decoder.size_variance
    return np.concatenate([shift[:, ::-1], growth[:, ::-1]], axis=1)


def non_maximum_suppression(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], iou: float
) -> NDArray[np.intp]:
    """Greedy NMS on boxes (n, 4) of one label: indices kept, best score first."""
    order = np.argsort(-scores, kind="stable")
    overlapping = iou_matrix(boxes[order], boxes[order]) > iou
    kept = np.ones(len(order), bool)
    for i in range(len(order)):
        if kept[i]:
            kept[i + 1 :] &= ~overlapping[i, i + 1 :]
    return np.asarray(order[kept], np.intp)


NESTED = 0.8
"""Two boxes that share this much of the smaller one are one face, e.g. a second box on eyes and mouth."""


def without_nested(detections: Sequence[Detection]) -> list[Detection]:
    """Keep only the best of faces that lie mostly inside each other; in the order given.

    Not for people: a child in front of an adult is a person inside a person.
    """
    kept: list[Detection] = []
    for detection in sorted(detections, key=lambda d: -d.score):
        if all(_shared_of_smaller(detection.box, other.box) < NESTED for other in kept):
            kept.append(detection)
    return [detection for detection in detections if detection in kept]


SAME_FACE = 0.5
"""IoU from which a face and a covered face are one."""


def with_covers(detections: Sequence[Detection]) -> list[Detection]:
    """The detections with `covered` set; covered faces are not detections of their own."""
    covers = [d.box for d in detections if d.label == COVERED_FACE]
    return [
        replace(d, covered=d.label == FACE and any(d.box.iou(box) >= SAME_FACE for box in covers))
        for d in detections
        if d.label != COVERED_FACE
    ]


HEAD_ODDS = 1.3
"""Factor on the odds of a face that lies where a found person's head is."""


@dataclass(frozen=True, slots=True)
class HeadPosition:
    """Where on a person a face may lie to be that person's."""

    least_inside: float = 0.8
    """Share of the face that lies inside the person."""
    highest: float = -0.05
    """Least distance from the person's top down to the face's top, in heights of the face."""
    lowest: float = 0.6
    """Largest such distance."""
    narrowest: float = 0.1
    """Least width of the face, as a share of the person's."""
    widest: float = 0.65
    """Largest such width."""
    off_middle: float = 0.3
    """Largest horizontal distance between the two centers, as a share of the person's width."""

    def holds(self, face: Box, person: Box) -> bool:
        """Whether the face may be that person's."""
        return (
            self.highest <= (face.top - person.top) / face.height <= self.lowest
            and self.narrowest <= face.width / person.width <= self.widest
            and abs(face.center[0] - person.center[0]) <= self.off_middle * person.width
            and face.shared_area(person) >= self.least_inside * face.area
        )


HEAD = HeadPosition()


def boost_faces_on_shoulders(detections: Sequence[Detection], person_score: float = 0.0) -> list[Detection]:
    """Raise the score of faces where a person's head is, by HEAD_ODDS in odds; the rest stays.

    A face that is just not sure enough by itself then counts on a person's shoulders, and not on a wall.
    `person_score`: least score of a person who supports a face.
    """
    people = [d.box for d in detections if d.label == PERSON and d.score >= person_score]
    return [
        replace(d, score=min(1.0, HEAD_ODDS * d.score / (HEAD_ODDS * d.score + 1 - d.score)))
        if d.label == FACE and any(HEAD.holds(d.box, person) for person in people)
        else d
        for d in detections
    ]


def _shared_of_smaller(a: Box, b: Box) -> float:
    return a.shared_area(b) / min(a.area, b.area)


def dequantize(values: NDArray[Any], output: OutputTensor) -> NDArray[np.float64]:
    """Stored values of an output to real ones."""
    if output.quantization is None:
        return values.astype(np.float64)
    steps = values.astype(np.float64) - output.quantization.zero_point
    return steps * output.quantization.scale


class Decoder:
    """A detector's outputs to detections."""

    def __init__(self, entry: DetectorEntry, scores: Mapping[str, float], nms_iou: float) -> None:
        """`scores`: least score per label, 0..1; `nms_iou`: overlap above which two boxes are one."""
        self._decoder = entry.decoder
        self._boxes = output_of(entry, "boxes")
        self._scores = output_of(entry, "scores")
        self._anchors = anchor_boxes(entry.input, entry.decoder)
        labels = np.array(anchor_labels(entry.input, entry.decoder))
        self._nms_iou = nms_iou
        self._groups = [
            (label, np.flatnonzero(labels == label), self._least_stored(scores[label]))
            for label in entry.labels
        ]

    def _least_stored(self, score: float) -> float:
        """The smallest stored logit of this score, so that most anchors are dropped unconverted."""
        score = min(max(score, 1e-6), 1 - 1e-6)
        logit = math.log(score / (1 - score))
        quantization = self._scores.quantization
        return logit if quantization is None else logit / quantization.scale + quantization.zero_point

    def __call__(self, outputs: Mapping[str, NDArray[Any]], placement: Placement) -> list[Detection]:
        """Detections of all labels, best first within a label."""
        stored_scores = outputs["scores"].reshape(-1)
        stored_boxes = outputs["boxes"].reshape(-1, 4)
        found: list[Detection] = []
        for label, members, least in self._groups:
            of_label = stored_scores[members]
            picked = np.flatnonzero(of_label >= least)
            if len(picked) > MOST_CANDIDATES:
                best = np.argpartition(-of_label[picked].astype(np.float64), MOST_CANDIDATES)
                picked = picked[best[:MOST_CANDIDATES]]
            if len(picked):
                found += self._detections(label, members[picked], stored_scores, stored_boxes, placement)
        return found

    def _detections(
        self,
        label: str,
        chosen: NDArray[np.intp],
        stored_scores: NDArray[Any],
        stored_boxes: NDArray[Any],
        placement: Placement,
    ) -> list[Detection]:
        scores = 1 / (1 + np.exp(-dequantize(stored_scores[chosen], self._scores)))
        offsets = dequantize(stored_boxes[chosen], self._boxes)
        boxes = placement.to_picture(decode_boxes(offsets, self._anchors[chosen], self._decoder))
        result = []
        for i in non_maximum_suppression(boxes, scores, self._nms_iou):
            left, top, right, bottom = boxes[i].tolist()
            box = Box(left, top, right, bottom)
            if box.clipped() is not None:  # the letterbox's padding may find faces, too
                result.append(Detection(label, box, float(scores[i])))
        return result

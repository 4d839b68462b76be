"""The picture of a sample: the classifier's crop of one face, and no more of the frame."""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import crop_face
from oahega_edge.manifest import EmotionEntry

LARGEST_SIDE = 96
"""Pixels."""


def crop_of(frame: Frame, box: Box, entry: EmotionEntry, masks: Sequence[Box] = ()) -> bytes:
    """The face at `box` as the classifier of `entry` sees it, masked regions black; PNG, in memory."""
    input_ = entry.input
    shrink = min(1.0, LARGEST_SIDE / max(input_.width, input_.height))
    size = {"width": round(input_.width * shrink), "height": round(input_.height * shrink)}
    picture = crop_face(_masked(frame.pixels, masks), box, input_.model_copy(update=size), entry.crop)
    done, png = cv2.imencode(".png", picture if picture.ndim == 2 else picture[:, :, ::-1])
    if not done:
        raise ValueError("the crop cannot be encoded")
    return png.tobytes()


def _masked(pixels: Pixels, masks: Sequence[Box]) -> Pixels:
    if not masks:
        return pixels
    height, width = pixels.shape[:2]
    covered = pixels.copy()
    for mask in masks:
        covered[
            int(mask.top * height) : round(mask.bottom * height),
            int(mask.left * width) : round(mask.right * width),
        ] = 0
    return covered

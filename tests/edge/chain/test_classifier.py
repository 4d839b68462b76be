"""What a classifier sees of a face is cropped once, and kept no longer than its frame."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle
from oahega_edge.chain.classifier import FaceCrop, FaceGauge
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import crop_face
from oahega_edge.drift.look import light_of
from oahega_edge.manifest import EmotionEntry

FACE, OTHER = Box(0.2, 0.2, 0.5, 0.6), Box(0.4, 0.3, 0.9, 0.9)


@pytest.fixture(scope="module")
def entry() -> EmotionEntry:
    return load_bundle(DEFAULT_BUNDLE).manifest.emotion


def frame(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (120, 160, 3), np.uint8)


def test_the_same_face_of_the_same_frame_is_cropped_once(entry: EmotionEntry) -> None:
    crop, pixels = FaceCrop(entry), frame(0)

    assert crop(pixels, FACE) is crop(pixels, FACE)


@pytest.mark.parametrize(("seed", "box"), [(1, FACE), (0, OTHER), (1, OTHER)])
def test_another_face_or_frame_is_cropped_anew(entry: EmotionEntry, seed: int, box: Box) -> None:
    crop, first, second = FaceCrop(entry), frame(0), frame(seed)
    crop(first, FACE)

    made = crop(second, box)

    assert np.array_equal(made, crop_face(second, box, entry.input, entry.crop))


def test_a_crop_goes_with_its_frame(entry: EmotionEntry) -> None:
    crop, pixels = FaceCrop(entry), frame(0)
    kept = weakref.ref(crop(pixels, FACE))

    del pixels
    gc.collect()

    assert kept() is None


def test_a_frame_that_goes_takes_no_crop_of_the_next_one(entry: EmotionEntry) -> None:
    crop, first, second = FaceCrop(entry), frame(0), frame(1)
    crop(first, FACE)
    made = crop(second, FACE)

    del first
    gc.collect()

    assert crop(second, FACE) is made


def test_a_face_is_measured_on_what_the_classifier_sees(entry: EmotionEntry) -> None:
    pixels = frame(0)

    height, brightness, sharpness = FaceGauge(FaceCrop(entry))(pixels, FACE)

    seen = crop_face(pixels, FACE, entry.input, entry.crop)
    assert height == pytest.approx(0.4 * 120)
    assert (brightness, sharpness) == light_of(seen)

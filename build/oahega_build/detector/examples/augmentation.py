"""Augmentation of scenes: placement, light and colour."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from oahega_build.pictures.drawing import jpeg
from oahega_edge.chain.frame import Pixels


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Probabilities and ranges of the augmentations; probabilities are 0..1."""

    modes: Mapping[str, float] = field(
        default_factory=lambda: {"fit": 0.35, "zoom_out": 0.15, "zoom_in": 0.25, "face": 0.25}
    )
    """Shares of the ways to place a scene: as on the device; smaller; enlarged around an object; with a face
    at 20 to 85 % of the input's height."""
    mosaic: float = 0.2
    """Probability of four scenes on one input."""
    crowd: float = 0.0
    """Probability of a grid of scenes on one input, so that small faces are common."""
    crowd_rows: tuple[int, int] = (3, 6)
    """Minimum and maximum number of rows of the grid."""
    crowd_modes: Mapping[str, float] = field(
        default_factory=lambda: {"fit": 0.3, "zoom_in": 0.3, "face": 0.4}
    )
    """Ways to place the scenes of the grid."""
    covered: float = 0.0
    """Probability of a scene with covered faces (masks and others), if their landmarks are known."""
    pasted: float = 0.35
    """Probability of pasted faces, if there are any."""
    stretch: float = 0.15
    """Maximum change of the aspect ratio, as a natural logarithm; not for `fit`."""
    grey: float = 0.1
    blur: float = 0.12
    jpeg: float = 0.15
    noise: float = 0.1
    dark: float = 0.1
    colour: float = 0.7
    least_face: float = 0.5
    """Minimum visible share of a face; a face with less is an ignore region."""
    least_person: float = 0.3
    smallest_face: float = 5.5
    """Minimum height of a face, pixels of the input; smaller faces are ignore regions."""
    smallest_covered: float = 12.0
    """Minimum height of a face that is known to be covered."""
    smallest_person: float = 11.0


def photometric(pixels: Pixels, how: Augmentation, rng: np.random.Generator) -> Pixels:
    """Change light, colour, blur, noise and compression as cameras do."""
    if rng.random() < how.colour:
        pixels = _relit(pixels, rng)
    if rng.random() < how.dark:
        pixels = np.asarray(cv2.convertScaleAbs(pixels, alpha=rng.uniform(0.2, 0.6)), np.uint8)
    if rng.random() < how.grey:
        pixels = _grey(pixels)
    if rng.random() < how.blur:
        pixels = _blurred(pixels, rng)
    if rng.random() < how.noise:
        pixels = _noisy(pixels, rng)
    if rng.random() < how.jpeg:
        pixels = jpeg(pixels, int(rng.integers(25, 85)))
    return pixels


def _relit(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Change brightness, contrast and colour cast, and in half of the cases the saturation."""
    gain = rng.uniform(0.7, 1.35) * rng.uniform(0.88, 1.12, 3)
    shift = rng.uniform(-25, 25)
    gamma = math.exp(rng.uniform(-0.35, 0.35))
    ramp = 255 * (np.arange(256) / 255) ** gamma
    table = np.clip((ramp[:, None] - 128) * gain + 128 + shift, 0, 255).astype(np.uint8)
    pixels = np.asarray(cv2.LUT(pixels, table[None]), np.uint8)
    if rng.random() < 0.5:
        amount = rng.uniform(0.3, 1.3)
        pixels = np.asarray(cv2.addWeighted(pixels, amount, _grey(pixels), 1 - amount, 0), np.uint8)
    return pixels


def _grey(pixels: Pixels) -> Pixels:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)


def _noisy(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    noise = np.empty(pixels.shape, np.int16)
    cv2.setRNGSeed(int(rng.integers(1 << 30)))  # OpenCV's generator is several times faster than numpy's
    cv2.randn(noise, np.zeros(3), np.full(3, rng.uniform(3, 14)))  # a number alone is the first channel's
    return np.asarray(np.clip(pixels + noise, 0, 255), np.uint8)


def _blurred(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.5, 1.8)), np.uint8)
    length = int(rng.integers(3, 8))
    kernel = np.full((1, length), 1 / length)
    return np.asarray(cv2.filter2D(pixels, -1, kernel if rng.random() < 0.7 else kernel.T), np.uint8)

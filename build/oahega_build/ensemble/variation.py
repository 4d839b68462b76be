"""Variations of whole batches of grey faces in Keras operations: the same on every backend, fast on a GPU.

`emotion_inputs` varies picture by picture in OpenCV; this does it where the network is. What a variation
hides of the face is told, so that the target can be spread out as much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops, random
from numpy.typing import NDArray

CANVAS = 64
"""Side of the stored pictures: the device's crop in the middle, what lies around it at the edges."""
CROP = 48
"""Side of the device's crop on them, and of what `Variation` makes."""
BLOCK = 8
"""Side of JPEG's blocks."""
DRAWS = 72
"""Random numbers per face and variation."""

_JPEG_TABLE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
"""Luminance quantization of ITU-T T.81, table K.1: quality 50."""
_MIDDLES = (np.arange(CROP, dtype=np.float32) + 0.5) / CROP * 2 - 1


@dataclass(frozen=True, slots=True)
class View:
    """The square that the device crops, on a stored picture; as it stands, what is stored as its crop."""

    side: float = 1.0
    """In sides of what is stored; less is nearer."""
    lower: float = 0.0
    """Its middle lies below the stored one's by this share of the latter's side."""


STORED = View()


@dataclass(frozen=True, slots=True)
class Ranges:
    """How far faces are varied; shares of pictures are probabilities."""

    rotation: float = 18.0
    """Degrees to each side."""
    scale: float = 0.16
    stretch: float = 0.06
    """Of width against height, and as much shear: faces turned away, lenses."""
    shift: float = 0.07
    """Share of the side, in each direction."""
    perspective: float = 0.08
    """Change of scale from one edge to the other."""
    surroundings: float = 0.3
    """Share of faces whose surroundings come from another picture."""
    gamma: float = 0.7
    """Exponent from 1 / (1 + gamma) to 1 + gamma."""
    contrast: float = 0.4
    brightness: float = 0.15
    light: float = 0.5
    """Most fall of the light from one side of the face to the other; a hard shadow half as often."""
    blur: float = 0.5
    """Share of faces blurred by up to `blur_pixels` in each direction: small, moving, out of focus."""
    blur_pixels: float = 1.6
    sharpen: float = 0.15
    noise: float = 0.3
    """Share with noise of up to `noise_levels` grey levels, more of it in dark pictures."""
    noise_levels: float = 14.0
    jpeg: float = 0.3
    """Share that went through JPEG at quality 15 to 90."""
    erase: float = 0.2
    """Share of which a rectangle is covered."""
    mask: float = 0.05
    """Share with a mask over mouth and nose."""
    glasses: float = 0.05
    """Share with dark glasses."""
    hand: float = 0.07
    """Share with something round, a hand or hair, over a part of the face."""


MASK_HIDES, GLASSES_HIDE, HAND_HIDES, ERASING_HIDES = 0.6, 0.2, 0.25, 0.1
"""Of the expression: what a picture's target is spread out by."""


def as_real(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """Grey levels to the network's -1..1, as the int8 file has them."""
    return pixels / 128.0 - 1.0


def crop(canvas: keras.KerasTensor, view: View = STORED) -> keras.KerasTensor:
    """What the device crops of stored pictures (n, CANVAS, CANVAS), as grey levels (n, CROP, CROP)."""
    if view == STORED:
        edge = (CANVAS - CROP) // 2
        return ops.cast(canvas[:, edge : edge + CROP, edge : edge + CROP], "float32")
    pixels = ops.cast(canvas, "float32")
    everywhere = ops.zeros_like(pixels[:, :CROP, :CROP])
    across, down = everywhere + _x() * view.side, everywhere + _y() * view.side + 2 * view.lower
    place = CANVAS / 2 - 0.5
    return _looked_up(pixels, across * CROP / 2 + place, down * CROP / 2 + place)


class Variation(keras.layers.Layer):
    """(n, CANVAS, CANVAS) grey levels -> ((n, CROP, CROP, 1) real pixels, (n,) share that is hidden)."""

    def __init__(self, ranges: Ranges, seed: int, view: View = STORED, **kwargs: object) -> None:
        super().__init__(trainable=False, **kwargs)
        self._ranges, self._view = ranges, view
        self.seed_generator = random.SeedGenerator(seed)

    def call(self, canvas: keras.KerasTensor) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """A random variation of each."""
        pixels = ops.cast(canvas, "float32")
        dice = _Dice(random.uniform((ops.shape(pixels)[0], DRAWS), seed=self.seed_generator))
        face = self._moved(pixels, dice)
        face = self._surrounded(face, dice)
        face, hidden = self._covered(face, dice)
        face = self._lit(face, dice)
        face = self._resolved(face, dice)
        face = self._noisy(face, dice)
        face = ops.where(_each(dice.some(self._ranges.jpeg)), _compressed(face, dice), face)
        face = ops.round(ops.clip(face, 0.0, 255.0))
        return ops.stop_gradient(as_real(face)[..., None]), ops.stop_gradient(hidden)

    def _moved(self, pixels: keras.KerasTensor, dice: _Dice) -> keras.KerasTensor:
        """Flipped, turned, scaled, sheared, shifted, seen from the side: one bilinear look-up."""
        r = self._ranges
        turn = dice.uniform() * math.radians(r.rotation)
        grow = ops.exp(dice.uniform() * math.log1p(r.scale)) / self._view.side
        wide = ops.exp(dice.uniform() * math.log1p(r.stretch))
        shear = dice.uniform() * r.stretch
        flip = ops.where(dice.uniform() < 0, -1.0, 1.0)
        x, y = _x(), _y()
        away = 1 + _each(dice.uniform() * r.perspective) * x + _each(dice.uniform() * r.perspective) * y
        x, y = x * _each(flip * wide), y / _each(wide)
        x = x + _each(shear) * y
        sine, cosine = _each(ops.sin(turn) / grow), _each(ops.cos(turn) / grow)
        across = (cosine * x - sine * y) / away + _each(dice.uniform() * 2 * r.shift)
        down = (sine * x + cosine * y) / away + _each(dice.uniform() * 2 * r.shift) + 2 * self._view.lower
        place = CANVAS / 2 - 0.5
        return _looked_up(pixels, across * CROP / 2 + place, down * CROP / 2 + place)

    def _surrounded(self, face: keras.KerasTensor, dice: _Dice) -> keras.KerasTensor:
        """Another picture of the batch around some of the faces, softly, as bright as the face."""
        power = _each(dice.uniform(2.0, 5.0))
        away = ops.abs(_x() / _each(dice.uniform(0.75, 1.0))) ** power
        away = away + ops.abs(_y() / _each(dice.uniform(0.9, 1.15))) ** power
        own = ops.clip((1 - away) / _each(dice.uniform(0.05, 0.5)), 0.0, 1.0)
        other = ops.roll(face, 1, axis=0)
        light = ops.mean(face, (1, 2), keepdims=True) / (ops.mean(other, (1, 2), keepdims=True) + 1.0)
        light = light ** _each(dice.uniform(0.0, 1.0))
        around = ops.where(dice.some(self._ranges.surroundings)[:, None, None], 1.0 - own, 0.0)
        return face * (1 - around) + other * light * around

    def _covered(self, face: keras.KerasTensor, dice: _Dice) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Masks, dark glasses, hands and rectangles over some of the faces; and how much they hide."""
        r = self._ranges
        tilt = _each(dice.uniform() * 0.2)
        x, y = _x(), _y()
        mask = _soft(y + tilt * x - _each(dice.uniform(0.0, 0.3)) - 0.15 * x * x)
        mask = mask * _soft(_each(dice.uniform(0.7, 0.95)) - ops.abs(x))
        eyes = ops.abs(ops.abs(x) - 0.33) / 0.27
        glasses = _soft(1 - eyes**3 - ops.abs((y + tilt * x + 0.2) / _each(dice.uniform(0.14, 0.24))) ** 3)
        angle = dice.uniform() * math.pi
        from_x = x - _each(ops.cos(angle) * 0.9)
        from_y = y - _each(ops.sin(angle) * 0.9)
        size = _each(dice.uniform(0.3, 0.65))
        hand = _soft(1 - (from_x / size) ** 2 - (from_y / (size * _each(dice.uniform(0.6, 1.4)))) ** 2)
        left, top = _each(dice.uniform(-1.0, 0.7)), _each(dice.uniform(-1.0, 0.7))
        wide, high = _each(dice.uniform(0.2, 0.8)), _each(dice.uniform(0.2, 0.8))
        inside = (x > left) & (x < left + wide) & (y > top) & (y < top + high)
        patch = ops.cast(inside, "float32")
        hidden = ops.zeros_like(angle)
        for shape, share, hides, low, high_level in (
            (hand, r.hand, HAND_HIDES, 0.0, 1.3),
            (glasses, r.glasses, GLASSES_HIDE, 0.0, 0.4),
            (mask, r.mask, MASK_HIDES, 0.2, 2.0),
            (patch, r.erase, ERASING_HIDES, 0.0, 2.0),
        ):
            there = ops.cast(dice.some(share), "float32")
            level = _each(ops.mean(face, (1, 2)) * dice.uniform(low, high_level))
            shading = 1 + _each(dice.uniform() * 0.25) * x + _each(dice.uniform() * 0.25) * y
            covers = shape * _each(there)
            face = face * (1 - covers) + ops.clip(level * shading, 0.0, 255.0) * covers
            hidden = ops.maximum(hidden, there * hides)
        return face, hidden

    def _lit(self, face: keras.KerasTensor, dice: _Dice) -> keras.KerasTensor:
        r = self._ranges
        angle = dice.uniform() * math.pi
        along = _each(ops.cos(angle)) * _x() + _each(ops.sin(angle)) * _y()
        fall = ops.exp(_each(dice.uniform(0.0, r.light)) * along * -0.7)
        hard = ops.sigmoid((along - _each(dice.uniform() * 0.6)) * _each(dice.uniform(3.0, 15.0)))
        shadow = 1 - hard * _each(dice.uniform(0.0, r.light) * ops.cast(dice.some(0.25), "float32"))
        share = ops.clip(face * fall * shadow / 255.0, 1e-4, 1.0)
        share = share ** _each(ops.exp(dice.uniform() * math.log1p(r.gamma)))
        share = (share - 0.5) * _each(1 + dice.uniform() * r.contrast) + 0.5
        return (share + _each(dice.uniform() * r.brightness)) * 255.0

    def _resolved(self, face: keras.KerasTensor, dice: _Dice) -> keras.KerasTensor:
        """Blurred by a Gaussian of its own in each direction, or sharpened as cameras do."""
        r = self._ranges
        some = ops.cast(dice.some(r.blur), "float32")
        both = dice.uniform(0.0, 1.0) ** 1.5 * r.blur_pixels
        across = some * both * dice.uniform(0.6, 1.0)
        down = some * both * dice.uniform(0.6, 1.0)
        face = ops.matmul(ops.matmul(_gaussian(down), face), ops.transpose(_gaussian(across), (0, 2, 1)))
        narrow = _gaussian(ops.ones((1,)))
        soft = ops.matmul(ops.matmul(narrow, face), ops.transpose(narrow, (0, 2, 1)))
        amount = ops.cast(dice.some(r.sharpen), "float32") * dice.uniform(0.2, 1.2)
        return face + _each(amount) * (face - soft)

    def _noisy(self, face: keras.KerasTensor, dice: _Dice) -> keras.KerasTensor:
        r = self._ranges
        level = ops.cast(dice.some(r.noise), "float32") * dice.uniform(1.0, r.noise_levels)
        grain = random.normal(ops.shape(face), seed=self.seed_generator)
        coarse = ops.cast(dice.uniform() < 0, "float32") * 0.8
        smooth = _gaussian(coarse)
        blurred = ops.matmul(ops.matmul(smooth, grain), ops.transpose(smooth, (0, 2, 1)))
        return face + _each(level * (1 + coarse * 1.5)) * blurred


class _Dice:
    """Random numbers for every picture, drawn at once: one draw each would be the slowest part."""

    def __init__(self, numbers: keras.KerasTensor) -> None:
        self._numbers = numbers
        self._next = 0

    def uniform(self, low: float = -1.0, high: float = 1.0) -> keras.KerasTensor:
        """A number per picture."""
        self._next += 1
        return self._numbers[:, self._next - 1] * (high - low) + low

    def some(self, share: float) -> keras.KerasTensor:
        """Whether, per picture, in that share of them."""
        return self.uniform(0.0, 1.0) < share


def _each(values: keras.KerasTensor) -> keras.KerasTensor:
    """A value per picture, for all its pixels."""
    return ops.reshape(values, (-1, 1, 1))


def _x() -> keras.KerasTensor:
    """Columns from -1 to 1, (1, 1, CROP)."""
    return ops.convert_to_tensor(_MIDDLES[None, None, :])


def _y() -> keras.KerasTensor:
    """Rows from -1 to 1, (1, CROP, 1)."""
    return ops.convert_to_tensor(_MIDDLES[None, :, None])


def _soft(inside: keras.KerasTensor) -> keras.KerasTensor:
    """1 where positive, 0 where negative, over about two pixels."""
    return ops.clip(inside * 12.0 + 0.5, 0.0, 1.0)


def _compressed(face: keras.KerasTensor, dice: _Dice) -> keras.KerasTensor:
    quality = dice.uniform(15.0, 90.0)
    scale = ops.where(quality < 50, 50.0 / quality, 2.0 - quality / 50.0)
    steps = ops.maximum(1.0, ops.convert_to_tensor(_JPEG_TABLE) * ops.reshape(scale, (-1, 1, 1, 1, 1)))
    cells = CROP // BLOCK
    blocks = ops.reshape(face - 128.0, (-1, cells, BLOCK, cells, BLOCK))
    blocks = ops.transpose(blocks, (0, 1, 3, 2, 4))
    waves, back = ops.convert_to_tensor(_cosines()), ops.convert_to_tensor(_cosines().T.copy())
    found = ops.matmul(ops.matmul(waves, blocks), back)
    found = ops.round(found / steps) * steps
    blocks = ops.matmul(ops.matmul(back, found), waves)
    return ops.reshape(ops.transpose(blocks, (0, 1, 3, 2, 4)), (-1, CROP, CROP)) + 128.0


def _gaussian(sigma: keras.KerasTensor) -> keras.KerasTensor:
    """(n, CROP, CROP) matrices that blur columns by `sigma` pixels each; 0 leaves them."""
    number = np.arange(CROP, dtype=np.float32)
    square = ops.convert_to_tensor((number[:, None] - number[None, :])[None] ** 2)
    weights = ops.exp(-square / (2 * _each(sigma) ** 2 + 1e-3))
    return weights / ops.sum(weights, axis=-1, keepdims=True)


def _cosines() -> NDArray[np.floating]:
    """The orthonormal DCT of eight values."""
    k, i = np.arange(BLOCK)[:, None], np.arange(BLOCK)[None, :]
    waves = np.cos(math.pi * (2 * i + 1) * k / (2 * BLOCK)) * math.sqrt(2 / BLOCK)
    waves[0] /= math.sqrt(2)
    return waves.astype(np.float32)


def _looked_up(
    pixels: keras.KerasTensor, across: keras.KerasTensor, down: keras.KerasTensor
) -> keras.KerasTensor:
    """Bilinear, at columns `across` and rows `down` (n, CROP, CROP); outside, the edge repeats."""
    across, down = ops.clip(across, 0.0, CANVAS - 1.001), ops.clip(down, 0.0, CANVAS - 1.001)
    left, top = ops.floor(across), ops.floor(down)
    right_share, low_share = across - left, down - top
    flat = ops.reshape(pixels, (-1, CANVAS * CANVAS))
    first = ops.reshape(ops.cast(top * CANVAS + left, "int32"), (-1, CROP * CROP))

    def at(step: int) -> keras.KerasTensor:
        return ops.reshape(ops.take_along_axis(flat, first + step, axis=1), (-1, CROP, CROP))

    upper = at(0) * (1 - right_share) + at(1) * right_share
    lower = at(CANVAS) * (1 - right_share) + at(CANVAS + 1) * right_share
    return upper * (1 - low_share) + lower * low_share

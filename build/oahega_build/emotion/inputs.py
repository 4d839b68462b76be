"""The input of the emotion network: the device's own crop, and its augmentation for training.

Every picture goes through `oahega_edge.chain.preprocess`; augmentation only changes the picture before that
crop, or the brightness after it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import Queue
from threading import Thread
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.pictures.dataset import Sample
from oahega_build.pictures.drawing import jpeg, outline, skin
from oahega_build.pictures.framing import Framing, crop_sample
from oahega_edge.chain.preprocess import resize_pixels
from oahega_edge.manifest import InputTensor


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Ranges of the augmentations; 0 switches one off."""

    flip: float = 0.5
    """Probability of a horizontal flip."""
    rotation: float = 15.0
    """Maximum rotation to either side, degrees."""
    scale: float = 0.12
    """Maximum change of the size, as a share; detector boxes vary as much."""
    shift: float = 0.06
    """Maximum shift in each direction, as a share of the side."""
    brightness: float = 0.15
    """Maximum change of the brightness, as a share of the full range."""
    contrast: float = 0.3
    gamma: float = 0.5
    """The exponent is between 1 / (1 + gamma) and 1 + gamma."""
    shrink: float = 0.3
    """Probability that the face is reduced, to at least `shrink_to` pixels, and enlarged again."""
    shrink_to: int = 16
    blur: float = 0.1
    """Probability of a Gaussian blur of 0.4 to 1.2 px."""
    noise: float = 0.15
    """Probability of Gaussian noise of 2 to 14 grey levels."""
    jpeg: float = 0.1
    """Probability of JPEG at quality 25 to 80."""
    erase: float = 0.25
    """Probability that a rectangle of 3 to 15 % is covered."""
    zoom_out: float = 0.0
    """Maximum increase of the distance of the face, as a share; the edges of the picture are repeated."""
    surroundings: float = 0.0
    """Probability that the surroundings of the face come from another training picture."""
    heads: float = 0.0
    """Probability that the face is drawn over a face in a photograph, in the light of its skin."""


NO_AUGMENTATION = Augmentation(0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0)


class Augmenter:
    """Augments pictures from a random stream."""

    def __init__(
        self,
        augmentation: Augmentation,
        framing: Framing,
        input_: InputTensor,
        heads: Sequence[NDArray[np.uint8]] = (),
    ) -> None:
        """`heads`: pictures with faces at `framing.box`, for `Augmentation.heads`."""
        self._ranges = augmentation
        self._framing = framing
        self._input = input_
        self._heads = heads

    @property
    def asks_for_another(self) -> bool:
        """Whether a second picture is needed."""
        return self._ranges.surroundings > 0

    def __call__(
        self, pixels: NDArray[np.uint8], rng: np.random.Generator, other: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """An augmented crop of the input's size. `other` is a picture for the surroundings."""
        ranges = self._ranges
        if self._heads and rng.random() < ranges.heads:
            pixels = self._on_a_head(pixels, self._heads[int(rng.integers(len(self._heads)))], rng)
        elif other is not None and rng.random() < ranges.surroundings:
            pixels = _surrounded(pixels, other, rng)
        pixels = self._moved(pixels, rng)
        if rng.random() < ranges.shrink:
            pixels = self._shrunk(pixels, rng)
        face = crop_sample(pixels, self._framing, self._input)
        if rng.random() < ranges.blur:
            face = np.asarray(cv2.GaussianBlur(face, (0, 0), rng.uniform(0.4, 1.2)), np.uint8)
        face = self._relit(face, rng)
        if rng.random() < ranges.noise:
            noise = rng.standard_normal(face.shape, np.float32) * rng.uniform(2, 14)
            face = np.clip(face + noise, 0, 255).astype(np.uint8)
        if rng.random() < ranges.jpeg:
            face = jpeg(face, int(rng.integers(25, 81)))
        if rng.random() < ranges.erase:
            face = _erased(face, rng)
        return face

    def _on_a_head(
        self, pixels: NDArray[np.uint8], head: NDArray[np.uint8], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """The picture of a head with this face drawn over it, slightly rotated, as bright as the skin."""
        height, width = head.shape[:2]
        face = resize_pixels(pixels, (width, height), "linear")
        turn = cv2.getRotationMatrix2D(
            ((width - 1) / 2, (height - 1) / 2), rng.uniform(-1, 1) * self._ranges.rotation, 1.0
        )
        place = self._framing.box_in(width, height)
        light = np.median(skin(head, place)) / max(1.0, float(np.median(skin(face, place))))
        turned = cv2.warpAffine(face, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
        share = cv2.warpAffine(outline(height, width, rng), turn, (width, height))
        share = share if head.ndim == 2 else share[..., None]
        drawn = turned * (light * math.exp(rng.uniform(-0.15, 0.15))) * share + head * (1 - share)
        return np.clip(drawn, 0, 255).astype(np.uint8)

    def _moved(self, pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        ranges = self._ranges
        if not (ranges.flip or ranges.rotation or ranges.scale or ranges.shift or ranges.zoom_out):
            return pixels
        height, width = pixels.shape[:2]
        grow = math.exp(rng.uniform(-1, 1) * math.log1p(ranges.scale))
        if ranges.zoom_out:
            grow /= rng.uniform(1, 1 + ranges.zoom_out)
        turn = rng.uniform(-1, 1) * ranges.rotation
        matrix: NDArray[Any] = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn, grow)
        matrix[:, 2] += rng.uniform(-1, 1, 2) * ranges.shift * min(width, height)
        if rng.random() < ranges.flip:
            matrix = matrix @ np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1.0]])
        moved = cv2.warpAffine(
            pixels, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(moved, np.uint8)

    def _shrunk(self, pixels: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        """Reduce the picture, which removes detail; the crop enlarges it with the device's kernel."""
        height, width = pixels.shape[:2]
        least = min(1.0, self._ranges.shrink_to / max(height, width))
        share = rng.uniform(least, 1.0)
        return resize_pixels(pixels, (max(2, round(width * share)), max(2, round(height * share))), "area")

    def _relit(self, face: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
        ranges = self._ranges
        if not (ranges.brightness or ranges.contrast or ranges.gamma):
            return face
        exponent = math.exp(rng.uniform(-1, 1) * math.log1p(ranges.gamma))
        contrast = 1 + rng.uniform(-1, 1) * ranges.contrast
        brightness = rng.uniform(-1, 1) * ranges.brightness
        levels = (np.arange(256) / 255) ** exponent
        table = np.clip(((levels - 0.5) * contrast + 0.5 + brightness) * 255, 0, 255).astype(np.uint8)
        return table[face]


def _surrounded(
    pixels: NDArray[np.uint8], other: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The face with corners and edges of another picture, as if in front of another background."""
    height, width = pixels.shape[:2]
    around = resize_pixels(other, (width, height), "linear")
    around = np.roll(around[:, :: rng.choice((-1, 1))], rng.integers(0, (height, width)), axis=(0, 1))
    share = outline(height, width, rng)
    share = share if pixels.ndim == 2 else share[..., None]
    return np.asarray(pixels * share + around * (1 - share), np.uint8)


def _erased(face: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    height, width = face.shape[:2]
    area = rng.uniform(0.03, 0.15) * height * width
    aspect = math.exp(rng.uniform(-0.7, 0.7))
    high = min(height, max(1, round(math.sqrt(area * aspect))))
    wide = min(width, max(1, round(math.sqrt(area / aspect))))
    top = int(rng.integers(0, height - high + 1))
    left = int(rng.integers(0, width - wide + 1))
    face = face.copy()
    face[top : top + high, left : left + wide] = rng.integers(0, 256)
    return face


@dataclass(frozen=True, slots=True)
class Batch:
    """The input of one training step."""

    pixels: NDArray[np.uint8]
    """Pixels (n, height, width, channels), as for the device's quantizer."""
    targets: NDArray[np.float32]
    """Shares (n, labels) of the labels."""


class Epochs:
    """Shuffled, augmented batches that depend on seed and epoch only, so training can be resumed."""

    def __init__(
        self,
        samples: Sequence[Sample],
        augmenter: Augmenter,
        batch: int,
        seed: int,
        balance: float = 0.0,
    ) -> None:
        """`balance`: 0 shows every picture once per epoch; 1 shows every class equally often, drawing with
        replacement; in between, the share of a class is proportional to count ** (1 - balance).
        """
        self._samples = samples
        self._augmenter = augmenter
        self._batch = batch
        self._seed = seed
        self._balance = balance

    @property
    def steps(self) -> int:
        """The number of batches per epoch, without the last, smaller one."""
        return max(1, len(self._samples) // self._batch)

    def batches(self, epoch: int, side: int | None = None) -> Iterator[Batch]:
        """The batches of one epoch, prepared ahead in a thread. `side` replaces the input's size."""
        ready: Queue[Batch | BaseException | None] = Queue(maxsize=4)
        Thread(target=self._fill, args=(epoch, side, ready), daemon=True).start()
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def _fill(self, epoch: int, side: int | None, ready: Queue[Batch | BaseException | None]) -> None:
        try:
            order = self._order(np.random.default_rng([self._seed, epoch]))
            for step in range(self.steps):
                chosen = order[step * self._batch : (step + 1) * self._batch]
                ready.put(self._made(chosen, np.random.default_rng([self._seed, epoch, step]), side))
        except BaseException as error:  # the consumer raises it in its own thread
            ready.put(error)
        ready.put(None)

    def _order(self, rng: np.random.Generator) -> NDArray[np.intp]:
        if not self._balance:
            return rng.permutation(len(self._samples))
        labels = np.array([sample.label for sample in self._samples])
        weights = np.bincount(labels).astype(float)[labels] ** -self._balance
        return rng.choice(len(labels), len(labels), p=weights / weights.sum())

    def _made(self, chosen: NDArray[np.intp], rng: np.random.Generator, side: int | None) -> Batch:
        faces = []
        for i in chosen:
            face = self._augmenter(self._samples[i].pixels, rng, self._other(rng))
            faces.append(face if side is None else resize_pixels(face, (side, side), "area"))
        pixels = np.stack(faces)
        return Batch(
            pixels if pixels.ndim == 4 else pixels[..., None],
            np.stack([self._samples[i].target for i in chosen]),
        )

    def _other(self, rng: np.random.Generator) -> NDArray[np.uint8] | None:
        """A random picture if the augmenter needs one."""
        if not self._augmenter.asks_for_another:
            return None
        return self._samples[int(rng.integers(len(self._samples)))].pixels

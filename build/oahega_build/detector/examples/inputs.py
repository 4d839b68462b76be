"""Examples for the detector's training: augmented, composed scenes.

Scenes are kept decoded in memory. Placing a scene means scaling and shifting it on the input. The ways of
placing make small faces as in a street and large faces as at a kiosk from the same pictures. The plain way
is `oahega_edge.chain.preprocess.fit_picture`, as on the device.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.detector.examples.augmentation import Augmentation, photometric
from oahega_build.detector.examples.covering import cover
from oahega_build.detector.examples.pasting import FacePaster
from oahega_build.detector.targets import Boxes, areas
from oahega_build.pictures.bodies import body_of
from oahega_build.pictures.drawing import View, show
from oahega_build.pictures.readers import LabelledBox
from oahega_build.pictures.record import Record
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box, edges_of
from oahega_edge.chain.preprocess import fit_picture, resize_pixels
from oahega_edge.manifest import COVERED_FACE, InputTensor, Resize

COVERINGS = 2
"""Number of variants of a scene with covered faces."""
COVERED = 0.8
"""Probability that a face in such a variant is covered."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture in memory. The edges of its boxes are in its own pixels."""

    set_name: str
    pixels: Pixels
    boxes: Boxes
    landmarks: Mapping[int, NDArray[np.float64]] = field(default_factory=dict)
    """The five landmarks of a face, (5, 2) in pixels, by its index in `boxes`."""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One input of the network. The edges of boxes are in units of the input."""

    pixels: Pixels
    boxes: Boxes


def scene_of(record: Record, labels: Sequence[str], longest: int) -> Scene:
    """Decode a record, with a longer side of at most `longest` pixels."""
    pixels = record.pixels()
    ratio = min(1.0, longest / max(pixels.shape[:2]))
    size = (max(1, round(pixels.shape[1] * ratio)), max(1, round(pixels.shape[0] * ratio)))
    known = [b for b in record.boxes if b.label in labels]
    edges = edges_of(b.box for b in known)
    boxes = Boxes(
        edges * np.array([size[0], size[1], size[0], size[1]]),
        np.array([labels.index(b.label) for b in known], np.intp),
        np.array([b.ignore for b in known], bool),
    )
    landmarks = {i: np.array(b.landmarks) * np.array(size) for i, b in enumerate(known) if b.landmarks}
    return Scene(record.key.split("/")[0], resize_pixels(pixels, size, "area"), boxes, landmarks)


class Composer:
    """Composes examples from scenes. The same number gives the same example."""

    def __init__(
        self,
        scenes: Sequence[Scene],
        shares: Mapping[str, float],
        input_: InputTensor,
        resize: Resize,
        augmentation: Augmentation,
        labels: Sequence[str],
        seed: int,
        paster: FacePaster | None = None,
    ) -> None:
        """`shares`: the share of the drawn scenes, by set. Sets without scenes are left out."""
        self._scenes = scenes
        self._input = input_
        self._resize = resize
        self._how = augmentation
        self._paster = paster
        self._face = labels.index("face") if "face" in labels else -1
        self._person = labels.index("person") if "person" in labels else -1
        # No picture comes with this label: it is known of the faces that are covered here.
        self._hidden = labels.index(COVERED_FACE) if COVERED_FACE in labels else -1
        self._seed = seed
        by_set: dict[str, list[int]] = {}
        for i, scene in enumerate(scenes):
            by_set.setdefault(scene.set_name, []).append(i)
        drawn = [name for name in by_set if shares.get(name, 0) > 0]
        self._members = [np.array(by_set[name]) for name in drawn]
        weights = np.array([shares[name] for name in drawn], float)
        self._edges = np.cumsum(weights / weights.sum())[:-1]
        self._coverings: dict[tuple[int, int], Scene] = {}

    def example(self, number: int) -> Example:
        """Example number `number` of an endless series."""
        rng = np.random.default_rng((self._seed, number))
        size = (self._input.width, self._input.height)
        kind = rng.random()
        if kind < self._how.mosaic:
            pixels, boxes = self._mosaic(rng, size)
        elif kind < self._how.mosaic + self._how.crowd:
            pixels, boxes = self._crowd(rng, size)
        else:
            pixels, boxes = self._placed(rng, size, self._how.modes)
        if self._paster is not None and rng.random() < self._how.pasted:
            pixels, boxes = self._with_faces(self._paster, pixels, boxes, rng)
        if rng.random() < 0.5:
            pixels, boxes = _mirrored(pixels, boxes)
        pixels = photometric(pixels, self._how, rng)
        edges = boxes.edges / np.array([size[0], size[1], size[0], size[1]])
        return Example(pixels, Boxes(edges, boxes.labels, boxes.ignore))

    def _with_faces(
        self, paste: FacePaster, pixels: Pixels, boxes: Boxes, rng: np.random.Generator
    ) -> tuple[Pixels, Boxes]:
        """The example with pasted faces. They have no bodies, so persons are ignored there."""
        pixels, faces = paste(pixels, boxes.edges[boxes.labels == self._face], rng)
        height, width = pixels.shape[:2]
        added = [Boxes.of(edges_of(faces), self._face, ignore=False)]
        if self._person >= 0:
            bodies = edges_of(body_of(face) for face in faces)
            added.append(Boxes.of(bodies, self._person, ignore=True))
        return pixels, self._seen(Boxes.joined([boxes, *added]), (width, height))

    def _draw(self, rng: np.random.Generator) -> int:
        members = self._members[int(np.searchsorted(self._edges, rng.random()))]
        return int(members[int(rng.integers(len(members)))])

    def _mosaic(self, rng: np.random.Generator, size: tuple[int, int]) -> tuple[Pixels, Boxes]:
        x, y = (int(side * rng.uniform(0.3, 0.7)) for side in size)
        return self._joined(rng, [[0, x, size[0]]] * 2, [0, y, size[1]], self._how.modes)

    def _crowd(self, rng: np.random.Generator, size: tuple[int, int]) -> tuple[Pixels, Boxes]:
        """Rows that become higher towards the bottom, because people who stand nearer look larger."""
        count = int(rng.integers(self._how.crowd_rows[0], self._how.crowd_rows[1] + 1))
        heights = np.linspace(1, rng.uniform(1, 2.5), count) * rng.uniform(0.8, 1.2, count)
        rows = _partition(heights, size[1])
        columns = []
        for top, bottom in itertools.pairwise(rows):
            across = max(1, round(size[0] / (bottom - top) * rng.uniform(0.7, 1.3)))
            columns.append(_partition(rng.uniform(0.8, 1.2, across), size[0]))
        return self._joined(rng, columns, rows, self._how.crowd_modes)

    def _joined(
        self,
        rng: np.random.Generator,
        columns: Sequence[Sequence[int]],
        rows: Sequence[int],
        modes: Mapping[str, float],
    ) -> tuple[Pixels, Boxes]:
        """Place a scene in every cell. `columns`: the edges of the cells of each row."""
        canvas = np.empty((rows[-1], columns[0][-1], 3), np.uint8)
        parts = []
        for (top, bottom), edges in zip(itertools.pairwise(rows), columns, strict=True):
            for left, right in itertools.pairwise(edges):
                pixels, boxes = self._placed(rng, (right - left, bottom - top), modes)
                canvas[top:bottom, left:right] = pixels
                shifted = boxes.edges + np.array([left, top, left, top])
                parts.append(Boxes(shifted, boxes.labels, boxes.ignore))
        return canvas, Boxes.joined(parts)

    def _placed(
        self, rng: np.random.Generator, size: tuple[int, int], shares: Mapping[str, float]
    ) -> tuple[Pixels, Boxes]:
        scene = self._covered(rng, self._draw(rng))
        modes = list(shares)
        mode = modes[rng.choice(len(modes), p=np.array(list(shares.values())) / sum(shares.values()))]
        if mode == "fit" and size == (self._input.width, self._input.height):
            pixels, placement = fit_picture(scene.pixels, self._input, self._resize)
            scale_x = placement.width * size[0] / scene.pixels.shape[1]
            scale_y = placement.height * size[1] / scene.pixels.shape[0]
            view = View(scale_x, scale_y, 0.0, 0.0)
        else:
            view = self._view(rng, scene, mode, size)
            pixels, view = show(scene.pixels, view, size, self._background(rng), _kernel(rng))
        there = scene.boxes
        return pixels, self._seen(Boxes(view.edges(there.edges), there.labels, there.ignore), size)

    def _covered(self, rng: np.random.Generator, number: int) -> Scene:
        """The scene, or one of its cached variants with covered faces."""
        scene = self._scenes[number]
        if not scene.landmarks or rng.random() >= self._how.covered:
            return scene
        key = (number, int(rng.integers(COVERINGS)))
        if key not in self._coverings:
            drawn = np.random.default_rng((self._seed, *key))
            self._coverings[key] = covered_scene(scene, drawn, self._hidden)
        return self._coverings[key]

    def _view(self, rng: np.random.Generator, scene: Scene, mode: str, size: tuple[int, int]) -> View:
        height, width = scene.pixels.shape[:2]
        fit = min(size[0] / width, size[1] / height)
        stretch = math.exp(rng.uniform(-self._how.stretch, self._how.stretch))
        focus = self._focus(rng, scene, faces_only=mode == "face")
        if mode == "face" and focus is not None:
            scale = min(3.5, size[1] * rng.uniform(0.2, 0.85) / (focus[3] - focus[1]))
        elif mode == "zoom_out":
            scale = fit * math.exp(rng.uniform(math.log(0.35), 0))
        elif mode == "fit":
            scale = fit
        else:
            scale = max(size[0] / width, size[1] / height) * math.exp(rng.uniform(-0.1, math.log(2.5)))
        scale_x, scale_y = scale * stretch, scale / stretch
        if mode in ("zoom_out", "fit"):
            x = rng.uniform(*sorted((0.0, size[0] - width * scale_x)))
            y = rng.uniform(*sorted((0.0, size[1] - height * scale_y)))
        elif mode == "face" and focus is not None:
            x = size[0] * rng.uniform(0.2, 0.8) - (focus[0] + focus[2]) / 2 * scale_x
            y = size[1] * rng.uniform(0.25, 0.75) - (focus[1] + focus[3]) / 2 * scale_y
        else:
            x, y = self._corner(rng, focus, (width * scale_x, height * scale_y), (scale_x, scale_y), size)
        return View(scale_x, scale_y, x, y)

    @staticmethod
    def _corner(
        rng: np.random.Generator,
        focus: NDArray[np.float64] | None,
        shown: tuple[float, float],
        scale: tuple[float, float],
        size: tuple[int, int],
    ) -> tuple[float, float]:
        """The corner of the scaled scene, so that the input is filled and `focus` is mostly inside."""
        corner = []
        for axis in (0, 1):
            least = size[axis] - shown[axis]
            if focus is None or rng.random() < 0.25:
                place = rng.uniform(min(least, 0), max(least, 0))
            else:
                middle = (focus[axis] + focus[axis + 2]) / 2 * scale[axis]
                place = float(
                    np.clip(size[axis] * rng.uniform(0.2, 0.8) - middle, min(least, 0), max(least, 0))
                )
            corner.append(place)
        return corner[0], corner[1]

    def _focus(self, rng: np.random.Generator, scene: Scene, faces_only: bool) -> NDArray[np.float64] | None:
        usable = ~scene.boxes.ignore
        if faces_only:
            usable &= scene.boxes.labels == self._face
        candidates = np.flatnonzero(usable)
        return scene.boxes.edges[rng.choice(candidates)] if len(candidates) else None

    def _background(self, rng: np.random.Generator) -> tuple[int, int, int]:
        if rng.random() < 0.5:
            return (self._resize.pad,) * 3
        r, g, b = (int(value) for value in rng.integers(0, 256, 3))
        return r, g, b

    def _seen(self, boxes: Boxes, size: tuple[int, int]) -> Boxes:
        """Cut boxes at the edge of the input. Boxes that are mostly outside or tiny become ignore regions."""
        edges = boxes.edges
        cut = np.clip(edges, 0, np.array([size[0], size[1], size[0], size[1]]))
        shares = areas(cut) / np.maximum(areas(edges), 1e-9)
        persons = boxes.labels == self._person
        least = np.where(persons, self._how.least_person, self._how.least_face)
        smallest = np.where(persons, self._how.smallest_person, self._how.smallest_face)
        smallest[boxes.labels == self._hidden] = self._how.smallest_covered
        small = cut[:, 3] - cut[:, 1] < smallest
        kept = (shares > 0.02) & np.all(cut[:, 2:] - cut[:, :2] > 1.0, axis=1)
        ignore = boxes.ignore | (shares < least) | small
        return Boxes(cut[kept], boxes.labels[kept], ignore[kept])


def covered_scene(scene: Scene, rng: np.random.Generator, label: int) -> Scene:
    """The scene with most of its faces covered; `label` is that of faces whose mouth is hidden, or -1."""
    pixels = scene.pixels.copy()
    hidden = [
        i
        for i, points in scene.landmarks.items()
        if rng.random() < COVERED and cover(pixels, points, scene.boxes.edges[i], rng)
    ]
    there = scene.boxes
    added = Boxes(there.edges[hidden], np.full(len(hidden), label, np.intp), there.ignore[hidden])
    boxes = Boxes.joined([there, added]) if label >= 0 else there
    return replace(scene, pixels=pixels, boxes=boxes)


def covered_records(
    records: Sequence[Record], labels: Sequence[str], longest: int, seed: int
) -> list[Record]:
    """The records that show faces with landmarks, most of them covered; the same for the same seed.

    Empty where `labels` has none for covered faces.
    """
    if COVERED_FACE not in labels:
        return []
    made = []
    for number, record in enumerate(records):
        scene = scene_of(record, labels, longest)
        if scene.landmarks:
            rng = np.random.default_rng((seed, number))
            made.append(_record_of(covered_scene(scene, rng, labels.index(COVERED_FACE)), record.key, labels))
    return made


def _record_of(scene: Scene, key: str, labels: Sequence[str]) -> Record:
    height, width = scene.pixels.shape[:2]
    _, encoded = cv2.imencode(".png", cv2.cvtColor(scene.pixels, cv2.COLOR_RGB2BGR))
    there = scene.boxes
    unit = there.edges / np.array([width, height, width, height])
    boxes = tuple(
        LabelledBox(labels[label], Box(*edges), bool(ignore), 1.0, "drawn")
        for edges, label, ignore in zip(unit.tolist(), there.labels, there.ignore, strict=True)
    )
    return Record(key, encoded.tobytes(), width, height, boxes)


def box_sizes(
    composer: Composer, input_: InputTensor, labels: Sequence[str], count: int
) -> dict[str, NDArray[np.float64]]:
    """Widths and heights of the boxes in the first `count` examples, by label, in pixels of the input."""
    found: dict[str, list[NDArray[np.float64]]] = {label: [np.zeros((0, 2))] for label in labels}
    pixels = np.array([input_.width, input_.height])
    for number in range(count):
        boxes = composer.example(number).boxes
        sizes = (boxes.edges[:, 2:] - boxes.edges[:, :2]) * pixels
        for place, label in enumerate(labels):
            found[label].append(sizes[(boxes.labels == place) & ~boxes.ignore])
    return {label: np.concatenate(parts) for label, parts in found.items()}


def _mirrored(pixels: Pixels, boxes: Boxes) -> tuple[Pixels, Boxes]:
    width = pixels.shape[1]
    edges = boxes.edges[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1]) + np.array([width, 0, width, 0])
    return np.ascontiguousarray(pixels[:, ::-1]), Boxes(edges, boxes.labels, boxes.ignore)


def _kernel(rng: np.random.Generator) -> str:
    return "area" if rng.random() < 0.7 else "linear"


def _partition(parts: NDArray[np.float64], length: int) -> list[int]:
    """Divide a length in proportion to `parts`, and return the edges."""
    edges = np.concatenate([[0.0], np.cumsum(parts)]) / parts.sum() * length
    return [round(edge) for edge in edges.tolist()]

"""What the detector sees in training: scenes, augmented and composed, and their targets per anchor.

Scenes are kept decoded in memory. Placing a scene means scaling and shifting it on the input; the
modes of placing make small street faces and large kiosk faces out of the same pictures. The plain mode
is `oahega_edge.chain.preprocess.fit_picture`, the device's own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from oahega_build.detector.pasting import FacePaster
from oahega_build.labelling.label import body_of
from oahega_build.pictures.records import Record
from oahega_edge.chain.detection import anchor_boxes, anchor_labels, encode_boxes
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box, iou_matrix
from oahega_edge.chain.preprocess import fit_picture, resize_pixels
from oahega_edge.manifest import InputTensor, Resize, SsdDecoder

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1
"""Values of `Targets.kind`."""


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """Boxes of one picture in arrays."""

    edges: NDArray[np.float64]
    """(n, 4) left, top, right, bottom; the owner says in which unit."""
    labels: NDArray[np.intp]
    """(n,) places in the label list."""
    ignore: NDArray[np.bool_]
    """(n,)"""

    @classmethod
    def none(cls) -> Boxes:
        """No boxes."""
        return cls(np.zeros((0, 4)), np.zeros(0, np.intp), np.zeros(0, bool))

    @classmethod
    def of(cls, edges: ArrayLike, label: int, *, ignore: bool) -> Boxes:
        """Boxes of one label."""
        rows = np.asarray(edges, np.float64).reshape(-1, 4)
        return cls(rows, np.full(len(rows), label, np.intp), np.full(len(rows), ignore))

    @classmethod
    def joined(cls, parts: Sequence[Boxes]) -> Boxes:
        """All boxes of several parts."""
        if not parts:
            return cls.none()
        return cls(
            np.concatenate([p.edges for p in parts]),
            np.concatenate([p.labels for p in parts]),
            np.concatenate([p.ignore for p in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture in memory; edges of its boxes in its own pixels."""

    set_name: str
    pixels: Pixels
    boxes: Boxes


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How often what happens; chances 0..1."""

    modes: Mapping[str, float] = field(
        default_factory=lambda: {"fit": 0.35, "zoom_out": 0.15, "zoom_in": 0.25, "face": 0.25}
    )
    """Shares of the ways to place a scene: as the device does; smaller; larger around something; a face
    at 20..85 % of the input's height."""
    mosaic: float = 0.2
    """Four scenes on one input."""
    pasted: float = 0.35
    """Still faces on the scene, where there are some to paste."""
    stretch: float = 0.15
    """Largest change of the aspect, as a natural logarithm; not in `fit`."""
    grey: float = 0.1
    blur: float = 0.12
    jpeg: float = 0.15
    noise: float = 0.1
    dark: float = 0.1
    colour: float = 0.7
    least_face: float = 0.5
    """Share of a face that must stay inside to count; less makes it an ignore region."""
    least_person: float = 0.3
    smallest_face: float = 5.5
    """Pixels of the input; lower faces are ignore regions."""
    smallest_person: float = 11.0


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """One input of the network; edges in units of the input."""

    pixels: Pixels
    boxes: Boxes


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What the network should say of one example."""

    kind: NDArray[np.int8]
    """(N,) POSITIVE, NEGATIVE or IGNORED."""
    offsets: NDArray[np.float32]
    """(N, 4) dy, dx, dh, dw; zeros but for positives."""


def scene_of(record: Record, labels: Sequence[str], longest: int) -> Scene:
    """The record decoded, its longer side at most `longest` pixels."""
    pixels = record.pixels()
    ratio = min(1.0, longest / max(pixels.shape[:2]))
    size = (max(1, round(pixels.shape[1] * ratio)), max(1, round(pixels.shape[0] * ratio)))
    known = [b for b in record.boxes if b.label in labels]
    edges = np.array([(b.box.left, b.box.top, b.box.right, b.box.bottom) for b in known]).reshape(-1, 4)
    boxes = Boxes(
        edges * np.array([size[0], size[1], size[0], size[1]]),
        np.array([labels.index(b.label) for b in known], np.intp),
        np.array([b.ignore for b in known], bool),
    )
    return Scene(record.key.split("/")[0], resize_pixels(pixels, size, "area"), boxes)


class Composer:
    """Examples out of scenes: the same number gives the same example."""

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
        """`shares`: set -> share of the drawn scenes; sets without scenes drop out."""
        self._scenes = scenes
        self._input = input_
        self._resize = resize
        self._how = augmentation
        self._paster = paster
        self._face = labels.index("face") if "face" in labels else -1
        self._person = labels.index("person") if "person" in labels else -1
        self._seed = seed
        by_set: dict[str, list[int]] = {}
        for i, scene in enumerate(scenes):
            by_set.setdefault(scene.set_name, []).append(i)
        drawn = [name for name in by_set if shares.get(name, 0) > 0]
        self._members = [np.array(by_set[name]) for name in drawn]
        weights = np.array([shares[name] for name in drawn], float)
        self._weights = weights / weights.sum()

    def example(self, number: int) -> Example:
        """Example `number` of an endless series."""
        rng = np.random.default_rng((self._seed, number))
        size = (self._input.width, self._input.height)
        if rng.random() < self._how.mosaic:
            pixels, boxes = self._mosaic(rng, size)
        else:
            pixels, boxes = self._placed(rng, size)
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
        """Faces drawn onto the example. They have no bodies, which are neither asked for nor denied."""
        pixels, faces = paste(pixels, boxes.edges[boxes.labels == self._face], rng)
        height, width = pixels.shape[:2]
        added = [Boxes.of([_edges(face) for face in faces], self._face, ignore=False)]
        if self._person >= 0:
            bodies = [_edges(body_of(face)) for face in faces]
            added.append(Boxes.of(bodies, self._person, ignore=True))
        return pixels, self._seen(Boxes.joined([boxes, *added]), (width, height))

    def _draw(self, rng: np.random.Generator) -> Scene:
        members = self._members[rng.choice(len(self._members), p=self._weights)]
        return self._scenes[int(rng.choice(members))]

    def _mosaic(self, rng: np.random.Generator, size: tuple[int, int]) -> tuple[Pixels, Boxes]:
        width, height = size
        x, y = (int(side * rng.uniform(0.3, 0.7)) for side in size)
        canvas = np.empty((height, width, 3), np.uint8)
        parts = []
        for left, top, right, bottom in (
            (0, 0, x, y),
            (x, 0, width, y),
            (0, y, x, height),
            (x, y, width, height),
        ):
            pixels, boxes = self._placed(rng, (right - left, bottom - top))
            canvas[top:bottom, left:right] = pixels
            shifted = boxes.edges + np.array([left, top, left, top])
            parts.append(Boxes(shifted, boxes.labels, boxes.ignore))
        return canvas, Boxes.joined(parts)

    def _placed(self, rng: np.random.Generator, size: tuple[int, int]) -> tuple[Pixels, Boxes]:
        scene = self._draw(rng)
        modes = list(self._how.modes)
        mode = modes[
            rng.choice(len(modes), p=np.array(list(self._how.modes.values())) / sum(self._how.modes.values()))
        ]
        if mode == "fit" and size == (self._input.width, self._input.height):
            pixels, placement = fit_picture(scene.pixels, self._input, self._resize)
            scale_x = placement.width * size[0] / scene.pixels.shape[1]
            scale_y = placement.height * size[1] / scene.pixels.shape[0]
            view = View(scale_x, scale_y, 0.0, 0.0)
        else:
            view = self._view(rng, scene, mode, size)
            pixels, view = show(scene.pixels, view, size, self._background(rng), _kernel(rng))
        return pixels, self._seen(view.boxes(scene.boxes), size)

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
        """Where the scaled scene's corner lies, so that the input is covered and `focus` mostly inside."""
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
        """Boxes cut at the input's edge; what is mostly outside or tiny becomes an ignore region."""
        edges = boxes.edges
        cut = np.clip(edges, 0, np.array([size[0], size[1], size[0], size[1]]))
        shares = _areas(cut) / np.maximum(_areas(edges), 1e-9)
        faces = boxes.labels == self._face
        least = np.where(faces, self._how.least_face, self._how.least_person)
        smallest = np.where(faces, self._how.smallest_face, self._how.smallest_person)
        small = cut[:, 3] - cut[:, 1] < smallest
        kept = (shares > 0.02) & np.all(cut[:, 2:] - cut[:, :2] > 1.0, axis=1)
        ignore = boxes.ignore | (shares < least) | small
        return Boxes(cut[kept], boxes.labels[kept], ignore[kept])


@dataclass(frozen=True, slots=True)
class View:
    """input pixel = scene pixel * scale + offset."""

    scale_x: float
    scale_y: float
    x: float
    y: float

    def boxes(self, boxes: Boxes) -> Boxes:
        """Edges of scene pixels in input pixels."""
        scale = np.array([self.scale_x, self.scale_y] * 2)
        return Boxes(boxes.edges * scale + np.array([self.x, self.y] * 2), boxes.labels, boxes.ignore)


def show(
    scene: Pixels, view: View, size: tuple[int, int], background: tuple[int, int, int], kernel: str
) -> tuple[Pixels, View]:
    """The scene under a view on a canvas of `size`, and the view as whole pixels made it."""
    source, target = [], []
    for scale, offset, length, canvas in (
        (view.scale_x, view.x, scene.shape[1], size[0]),
        (view.scale_y, view.y, scene.shape[0], size[1]),
    ):
        first = int(np.clip(math.floor(-offset / scale), 0, length - 1))
        last = int(np.clip(math.ceil((canvas - offset) / scale), first + 1, length))
        source.append((first, last))
        target.append((round(first * scale + offset), round(last * scale + offset)))
    (x0, x1), (y0, y1) = source
    (left, right), (top, bottom) = target
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    part = resize_pixels(np.ascontiguousarray(scene[y0:y1, x0:x1]), (right - left, bottom - top), kernel)
    canvas_pixels = np.empty((size[1], size[0], 3), np.uint8)
    canvas_pixels[:] = background
    inside = part[max(0, -top) : max(0, size[1] - top), max(0, -left) : max(0, size[0] - left)]
    y, x = max(0, top), max(0, left)
    canvas_pixels[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    scale_x, scale_y = (right - left) / (x1 - x0), (bottom - top) / (y1 - y0)
    return canvas_pixels, View(scale_x, scale_y, left - x0 * scale_x, top - y0 * scale_y)


def photometric(pixels: Pixels, how: Augmentation, rng: np.random.Generator) -> Pixels:
    """Light, colour, blur, noise and compression as cameras make them."""
    if rng.random() < how.colour:
        gain = rng.uniform(0.7, 1.35) * rng.uniform(0.88, 1.12, 3)
        shift = rng.uniform(-25, 25)
        gamma = math.exp(rng.uniform(-0.35, 0.35))
        ramp = 255 * (np.arange(256) / 255) ** gamma
        table = np.clip((ramp[:, None] - 128) * gain + 128 + shift, 0, 255).astype(np.uint8)
        pixels = cv2.LUT(pixels, table[None])
        if rng.random() < 0.5:
            grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
            amount = rng.uniform(0.3, 1.3)
            pixels = cv2.addWeighted(pixels, amount, grey, 1 - amount, 0)
    if rng.random() < how.dark:
        pixels = cv2.convertScaleAbs(pixels, alpha=rng.uniform(0.2, 0.6))
    if rng.random() < how.grey:
        pixels = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < how.blur:
        pixels = _blurred(pixels, rng)
    if rng.random() < how.noise:
        noise = np.empty(pixels.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(1 << 30)))
        cv2.randn(noise, 0, rng.uniform(3, 14))
        pixels = np.clip(pixels.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    if rng.random() < how.jpeg:
        quality = int(rng.integers(25, 85))
        coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        pixels = cv2.imdecode(coded, cv2.IMREAD_COLOR)
    return np.asarray(pixels, np.uint8)


def _blurred(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.5, 1.8)), np.uint8)
    length = int(rng.integers(3, 8))
    kernel = np.full((1, length), 1 / length)
    return np.asarray(cv2.filter2D(pixels, -1, kernel if rng.random() < 0.7 else kernel.T), np.uint8)


def _mirrored(pixels: Pixels, boxes: Boxes) -> tuple[Pixels, Boxes]:
    width = pixels.shape[1]
    edges = boxes.edges[:, [2, 1, 0, 3]] * np.array([-1, 1, -1, 1]) + np.array([width, 0, width, 0])
    return np.ascontiguousarray(pixels[:, ::-1]), Boxes(edges, boxes.labels, boxes.ignore)


def _edges(box: Box) -> tuple[float, float, float, float]:
    return box.left, box.top, box.right, box.bottom


def _areas(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.prod(np.maximum(edges[:, 2:] - edges[:, :2], 0), axis=1)


def _kernel(rng: np.random.Generator) -> str:
    return "area" if rng.random() < 0.7 else "linear"


@dataclass(frozen=True, slots=True)
class Matching:
    """Which anchors answer for which box; values of intersection over union."""

    positive: float = 0.5
    negative: float = 0.4
    """Below it an anchor is background; between the two it is ignored."""
    best: int = 4
    """So many anchors answer for every box at least,"""
    best_least: float = 0.25
    """if they overlap it by this much (the first one always)."""
    ignored: float = 0.5
    """Share of an anchor inside an ignore region from which it is ignored."""


class Matcher:
    """Boxes of an example -> targets of every anchor."""

    def __init__(
        self, input_: InputTensor, decoder: SsdDecoder, labels: Sequence[str], matching: Matching
    ) -> None:
        self._anchors = anchor_boxes(input_, decoder)
        half = self._anchors[:, 2:] / 2
        self._edges = np.concatenate([self._anchors[:, :2] - half, self._anchors[:, :2] + half], axis=1)
        names = np.array(anchor_labels(input_, decoder))
        self._members = [np.flatnonzero(names == label) for label in labels]
        self._decoder = decoder
        self._how = matching

    def __call__(self, boxes: Boxes) -> Targets:
        """Edges of `boxes` in units of the input."""
        kind = np.full(len(self._anchors), NEGATIVE, np.int8)
        offsets = np.zeros((len(self._anchors), 4), np.float32)
        for number, members in enumerate(self._members):
            of_label = boxes.labels == number
            regions = boxes.edges[of_label & boxes.ignore]
            if len(regions):
                kind[members[self._inside(members, regions)]] = IGNORED
            things = boxes.edges[of_label & ~boxes.ignore]
            if len(things):
                self._match(members, things, kind, offsets)
        return Targets(kind, offsets)

    def _inside(self, members: NDArray[np.intp], regions: NDArray[np.float64]) -> NDArray[np.bool_]:
        anchors = np.clip(self._edges[members], 0, 1)
        low = np.maximum(anchors[:, None, :2], regions[None, :, :2])
        high = np.minimum(anchors[:, None, 2:], regions[None, :, 2:])
        shared = np.prod(np.clip(high - low, 0, None), axis=2)
        inside: NDArray[np.bool_] = np.any(shared > self._how.ignored * _areas(anchors)[:, None], axis=1)
        return inside

    def _match(
        self,
        members: NDArray[np.intp],
        things: NDArray[np.float64],
        kind: NDArray[np.int8],
        offsets: NDArray[np.float32],
    ) -> None:
        overlap = iou_matrix(things, self._edges[members])
        owner = overlap.argmax(axis=0)
        best = overlap.max(axis=0)
        undecided = (best >= self._how.negative) & (best < self._how.positive)
        kind[members[undecided]] = IGNORED
        positive = best >= self._how.positive
        # Boxes that fit no anchor well still get their best ones; the largest first, so that a small
        # box keeps its anchors against a large neighbour.
        for i in np.argsort(-_areas(things)):
            order = np.argsort(-overlap[i])[: self._how.best]
            taken = order[(overlap[i, order] >= self._how.best_least) | (np.arange(len(order)) == 0)]
            own = taken[~positive[taken] | (overlap[i, taken] >= best[taken]) | (taken == order[0])]
            owner[own] = i
            positive[own] = True
        chosen = members[positive]
        kind[chosen] = POSITIVE
        offsets[chosen] = encode_boxes(things[owner[positive]], self._anchors[chosen], self._decoder)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Stacked examples."""

    pixels: NDArray[np.uint8]
    kind: NDArray[np.int8]
    offsets: NDArray[np.float32]


def batches(
    composer: Composer, matcher: Matcher, numbers: Iterable[int], size: int, threads: int = 2, ahead: int = 4
) -> Iterator[Batch]:
    """Batches of the numbered examples, made ahead by threads (OpenCV and numpy release the interpreter)."""

    def make(number: int) -> tuple[Pixels, Targets]:
        example = composer.example(number)
        return example.pixels, matcher(example.boxes)

    with ThreadPoolExecutor(threads) as pool:
        pending = []
        for number in numbers:
            pending.append(pool.submit(make, number))
            if len(pending) >= size * ahead:
                yield _stacked([future.result() for future in pending[:size]])
                del pending[:size]
        while len(pending) >= size:
            yield _stacked([future.result() for future in pending[:size]])
            del pending[:size]


def _stacked(made: Sequence[tuple[Pixels, Targets]]) -> Batch:
    return Batch(
        np.stack([pixels for pixels, _ in made]),
        np.stack([targets.kind for _, targets in made]),
        np.stack([targets.offsets for _, targets in made]),
    )


def box_sizes(
    composer: Composer, input_: InputTensor, labels: Sequence[str], count: int
) -> dict[str, NDArray[np.float64]]:
    """Widths and heights in input pixels of the boxes in the first `count` examples, by label."""
    found: dict[str, list[NDArray[np.float64]]] = {label: [np.zeros((0, 2))] for label in labels}
    pixels = np.array([input_.width, input_.height])
    for number in range(count):
        boxes = composer.example(number).boxes
        sizes = (boxes.edges[:, 2:] - boxes.edges[:, :2]) * pixels
        for place, label in enumerate(labels):
            found[label].append(sizes[(boxes.labels == place) & ~boxes.ignore])
    return {label: np.concatenate(parts) for label, parts in found.items()}

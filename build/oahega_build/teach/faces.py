"""The faces in a folder per class of face crops, pictures and videos, cropped as on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import DataError
from oahega_build.labelling.collect import frames_of
from oahega_build.pictures.dataset import named_groups, near_duplicates_of, united
from oahega_build.pictures.folders import class_folders, count_loose, files_in
from oahega_build.pictures.framing import Framing, box_of_crop
from oahega_build.pictures.problems import Problems
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import crop_face
from oahega_edge.endings import is_video
from oahega_edge.manifest import Crop, EmotionEntry

LEAST_FACES = 3
"""Of a class: with fewer nothing can be said about it."""
MOST_FILES = 400
"""Of a class; more are thinned evenly."""
EVERY = 5
"""One in so many frames of a video."""
MOST_PER_VIDEO = 60
CROP_SIDE = 128
"""Pixels: a picture of at most this size, about as wide as high, is a face already cut out."""
CROP_RATIO = 1.3

Finder = Callable[[Pixels], Sequence[Detection]]
"""The faces of a picture, the surest first."""
Cut = Callable[[Pixels, Box], NDArray[np.uint8]]
"""The crop of the one face of a picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Everything that was found."""

    labels: tuple[str, ...]
    crops: Sequence[NDArray[np.uint8]]
    """At the size of the classifier's input."""
    truth: NDArray[np.int64]
    """Index into `labels`, for each face."""
    names: Sequence[str]
    """File below the root, with `#` and the number of a video's frame."""
    groups: NDArray[np.int64]
    """Faces of one clip, of one folder inside a class or of near-copies have one number."""
    problems: Sequence[str]
    """Sentences about what was left out and why."""

    def of(self, label: str) -> NDArray[np.bool_]:
        """Which faces are of this class."""
        return np.asarray(self.truth == self.labels.index(label))


def read_faces(
    root: Path,
    entry: EmotionEntry,
    find: Finder | None,
    least_classes: int = 2,
    most_files: int = MOST_FILES,
    group_pattern: str = "",
    cut: Cut | None = None,
) -> Faces:
    """Every picture and video below `root/<class>/`. Raises DataError where nothing can be learnt from it.

    Without `find` every picture is framed as a training picture. The first group of `group_pattern`, searched
    in a picture's name, names what belongs together. `cut` is called once for each face, in their order;
    without it they are cut for the classifier of `entry`.
    """
    cut = cut or (lambda pixels, box: crop_face(pixels, box, entry.input, entry.crop))
    problems = Problems()
    folders = class_folders(root, problems)
    count_loose(root, problems)
    if len(folders) < least_classes:
        raise DataError(
            f"{root} holds {len(folders)} class folders ({', '.join(folders) or 'none'}); give a folder per "
            "expression, at least two, such as wink/ and no-wink/"
        )
    labels = tuple(sorted(folders))
    crops: list[NDArray[np.uint8]] = []
    truth, names, sources = [], [], []
    for number, label in enumerate(labels):
        before = len(crops)
        for name, source, crop in _faces_of(
            folders[label], root, cut, find, entry.crop, problems, most_files
        ):
            crops.append(crop)
            truth.append(number)
            names.append(name)
            sources.append(source)
        _require_some(len(crops) - before, folders[label], problems)
    named = [named_groups(names, group_pattern)] if group_pattern else []
    groups = united(_numbered(sources), near_duplicates_of(crops), *named)
    return Faces(labels, crops, np.array(truth), names, np.array(groups), problems.sentences())


def _require_some(count: int, folder: Path, problems: Problems) -> None:
    if count < LEAST_FACES:
        why = "; ".join(problems.sentences())
        raise DataError(
            f"{folder} gives {count or 'no'} face{'s' * (count != 1)}, a class needs at least {LEAST_FACES}; "
            f"add pictures that show one face each{f' ({why})' if why else ''}"
        )


def _faces_of(
    folder: Path,
    root: Path,
    cut: Cut,
    find: Finder | None,
    crop: Crop,
    problems: Problems,
    most: int,
) -> Iterator[tuple[str, str, NDArray[np.uint8]]]:
    """(name, what it belongs to, crop) of each face of a class."""
    for path in _thinned(list(files_in(folder, problems, videos=True)), folder, problems, most):
        name = path.relative_to(root).as_posix()
        inner = path.parent.relative_to(root).as_posix()
        source = name if is_video(path) or path.parent == folder else inner
        taken = 0
        for number, pixels in frames_of(path, EVERY, problems):
            box = face_in(pixels, find, crop, problems, name)
            if box is None:
                continue
            if taken == MOST_PER_VIDEO:
                problems.add(f"video of which only the first {MOST_PER_VIDEO} faces are read", name)
                break
            shown = f"{name}#{number}" if is_video(path) else name
            yield shown, source, cut(pixels, box)
            taken += 1


def _thinned(files: list[Path], folder: Path, problems: Problems, most: int) -> list[Path]:
    if len(files) <= most:
        return files
    problems.add(f"file more than the {most} that are read of a class", folder.name, len(files) - most)
    return [files[i] for i in np.linspace(0, len(files) - 1, most).astype(int)]


def face_in(pixels: Pixels, find: Finder | None, crop: Crop, problems: Problems, name: str) -> Box | None:
    """Where the one face is: a small square picture was cropped by `crop` before.

    Without `find` all are framed as training pictures. None, counted, without a face or with several.
    """
    if find is None:
        return Framing().box
    height, width = pixels.shape[:2]
    if max(height, width) <= min(CROP_SIDE, CROP_RATIO * min(height, width)):
        return box_of_crop(crop, width, height)
    found = find(pixels)
    if len(found) == 1:
        return found[0].box
    problems.add(f"picture with {'several faces' if found else 'no face'}, left out", name)
    return None


def _numbered(names: Sequence[str]) -> list[int]:
    numbers: dict[str, int] = {}
    return [numbers.setdefault(name, len(numbers)) for name in names]

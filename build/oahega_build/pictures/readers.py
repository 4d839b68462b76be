"""Annotations as published -> pictures with boxes: text files beside the pictures, WIDER FACE, COCO.

Every reader names and counts what it cannot use in `Problems` and goes on; a file that is not an
annotation at all is refused with `DataError`. A picture of which one entry cannot be understood is left
out whole: in a set that is complete, the thing that was meant would be taught as background.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oahega_build.errors import DataError
from oahega_build.pictures.folders import subfolders, usable
from oahega_build.pictures.problems import Problems
from oahega_build.pictures.tables import LARGEST_TABLE
from oahega_edge.cameras.pictures import natural, read_picture
from oahega_edge.chain.geometry import Box
from oahega_edge.endings import PICTURES, ending, is_picture
from oahega_edge.text import read_text

LABELS = ("face", "person")
LARGEST_NOTES = 1 << 20
"""Bytes of a text file with the boxes of one picture."""
"""What the detector knows."""
OWN_NAMES: Mapping[str, str] = {label: label for label in LABELS}


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """One annotated thing."""

    label: str
    box: Box
    """Unit coordinates of the picture."""
    ignore: bool = False
    """True: something may be here; neither finding it nor missing it counts."""
    score: float = 1.0
    """The teacher's certainty, 0..1; 1 for what a person annotated."""
    source: str = "given"
    """`given`, or the teacher's name."""
    landmarks: tuple[tuple[float, float], ...] = ()
    """Five points of a face in unit coordinates (eyes, nose, corners of the mouth), or none."""


@dataclass(frozen=True, slots=True)
class AnnotatedPicture:
    """A picture and what is known of it before any teacher looked."""

    path: Path
    key: str
    """Unique over all sets: `set/name`."""
    boxes: tuple[LabelledBox, ...] = ()
    complete: frozenset[str] = frozenset()
    """Labels of which every instance is in `boxes`: no teacher adds to them."""
    stated_size: tuple[float, float] | None = None
    """Width and height that the boxes were measured in, where the annotations state them."""
    boxes_as_stored: bool = False
    """True: the boxes are of the picture as stored, before its EXIF turns it."""


def unit_box(
    left: float, top: float, right: float, bottom: float, problems: Problems, name: str
) -> Box | None:
    """The part of a box inside the picture, or None with the reason counted."""
    try:
        box = Box(left, top, right, bottom)
    except ValueError:
        problems.add("box without size", name)
        return None
    inside = box.clipped()
    if inside is None:
        problems.add("box outside the picture", name)
    elif inside.area < 0.999 * box.area:
        problems.add("box reaching out of the picture, cut", name)
    return inside


def pictures_of(folder: Path, problems: Problems) -> list[Path]:
    """Every picture of a folder, in the order of the numbers in their names; other files are counted."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give the folder that holds the pictures")
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and ending(path) != ".txt"]
    for inner in subfolders(folder):
        problems.add("folder inside of a set, not read", inner.name)
    return sorted(usable(files, folder, PICTURES, problems), key=natural)


def read_text_folder(
    folder: Path,
    set_name: str,
    complete: frozenset[str],
    problems: Problems,
    names: Mapping[str, str] = OWN_NAMES,
) -> Iterator[AnnotatedPicture]:
    """Pictures with an optional `NAME.txt` beside each: `label cx cy w h` in unit coordinates per line.

    `names` maps the labels in the files to ours; the empty label leaves a box out.
    """
    paths = pictures_of(folder, problems)
    for lonely in sorted({p.stem for p in folder.glob("*.txt")} - {p.stem for p in paths}):
        problems.add("text file without a picture", f"{lonely}.txt")
    for path in paths:
        boxes = _text_boxes(path.with_suffix(".txt"), names, problems)
        if boxes is not None:
            yield AnnotatedPicture(path, f"{set_name}/{path.stem}", boxes, complete)


def _text_boxes(notes: Path, names: Mapping[str, str], problems: Problems) -> tuple[LabelledBox, ...] | None:
    """None, counted, when one line cannot be understood."""
    if not notes.exists():
        return ()
    try:
        lines = read_text(notes, LARGEST_NOTES).split("\n")
    except (OSError, ValueError) as error:
        problems.add("annotation file that cannot be read, picture left out", f"{notes.name} ({error})")
        return None
    if not any(line.strip() for line in lines):
        problems.add("empty annotation file", notes.name)
    boxes: list[LabelledBox] = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            name = f"{notes.name}:{number}"
            try:
                label, (x, y, w, h) = _text_entry(line, names)
            except ValueError as error:
                problems.add(f"{error}, picture left out", name)
                return None
            box = unit_box(x - w / 2, y - h / 2, x + w / 2, y + h / 2, problems, name) if label else None
            if box is not None:
                boxes.append(LabelledBox(label, box))
    return tuple(boxes)


def _text_entry(line: str, names: Mapping[str, str]) -> tuple[str, list[float]]:
    """Label and cx, cy, w, h; ValueError says what kind of line it is instead."""
    label, *rest = line.split()
    try:
        values = _numbers(rest)
    except ValueError:
        values = []
    # Nothing that touches a picture has all four above 1 in unit coordinates.
    if len(values) != 4 or min(values) > 1:
        raise ValueError("line that is not `label cx cy w h` in unit coordinates")
    if label not in names:
        raise ValueError(f"label {label!r}, which is none of {', '.join(names)}")
    return names[label], values


def read_wider_face(
    annotations: Path, pictures: Path, sizes: Mapping[str, tuple[int, int]] | None, problems: Problems
) -> Iterator[AnnotatedPicture]:
    """WIDER FACE's `wider_face_*_bbx_gt.txt`: name, count, then `x y w h blur expression illumination invalid
    occlusion pose` in pixels per face; a picture without faces has one line of zeros, or none.

    Faces marked invalid become ignore regions. `sizes` (width, height by name) spares reading each
    picture's header; None reads them.
    """
    entries = list(_wider_entries(_text_of(annotations).split("\n")))
    if all(rows is None for _, _, rows in entries):
        raise DataError(
            f"{annotations} holds no picture that is followed by a count and that many faces; give WIDER "
            "FACE's wider_face_train_bbx_gt.txt"
        )
    for number, name, rows in entries:
        if rows is None:
            problems.add(
                "entry without a count and that many faces, picture left out", f"{name} (line {number})"
            )
            continue
        path = pictures / name
        size = sizes.get(name) if sizes is not None else picture_size(path)
        if size is None:
            problems.add("picture missing or unreadable", name)
            continue
        yield AnnotatedPicture(
            path,
            f"wider/{Path(name).stem}",
            tuple(_wider_boxes(rows, size, problems, name)),
            frozenset({"face"}),
        )


def _wider_entries(lines: Iterable[str]) -> Iterator[tuple[int, str, list[list[float]] | None]]:
    """(line, name, faces) of each picture; no faces, but None, where they cannot be understood."""
    name, began, below = "", 0, list[str]()
    for number, line in enumerate([*(line.strip() for line in lines), "end.jpg"], 1):
        if not is_picture(Path(line)):
            below += [line] if line else []
            continue
        if name or below:
            yield began or 1, name or below[0], _wider_rows(below) if name else None
        name, began, below = line.replace("\\", "/"), number, []


def _wider_rows(lines: list[str]) -> list[list[float]] | None:
    try:
        count, rows = int(lines[0]), [_numbers(re.split(r"[\s,;]+", line)) for line in lines[1:]]
    except (IndexError, ValueError):
        return None
    if count == 0 and len(rows) == 1 and not any(rows[0]):
        return []
    return rows if len(rows) == count and all(len(row) >= 4 for row in rows) else None


def _wider_boxes(
    rows: list[list[float]], size: tuple[int, int], problems: Problems, name: str
) -> Iterator[LabelledBox]:
    for row in rows:
        box = _pixel_box(row[:4], size, problems, name)
        if box is not None:
            yield LabelledBox("face", box, ignore=len(row) > 7 and row[7] == 1)


def read_coco(
    annotations: Path, pictures: Path, labels: Mapping[str, str], problems: Problems
) -> Iterator[AnnotatedPicture]:
    """COCO's `instances_*.json`; `labels` maps its category names to ours, other categories are left out.

    Crowds become ignore regions. Sizes that are not stated are those of the pictures.
    """
    images, instances, names = _coco_parts(annotations, problems)
    wanted = {number: labels[name] for number, name in names.items() if labels.get(name)}
    if not wanted:
        raise DataError(
            f"{annotations} has none of the categories {sorted(labels)}; it has {sorted(names.values())}"
        )
    by_image: dict[str, list[dict[str, Any]]] = {number: [] for number in images}
    for entry in instances:
        number = str(entry.get("image_id"))
        if number in by_image:
            by_image[number].append(entry)
        else:
            problems.add("annotation of an unknown picture", number)
    for number, image in images.items():
        path = pictures / image["file_name"]
        stated = _stated_size(image)
        size = (stated if path.is_file() else None) or picture_size(path)
        if size is None:
            problems.add("picture missing or unreadable", image["file_name"])
            continue
        try:
            boxes = tuple(_coco_boxes(by_image[number], size, names, wanted, problems, image["file_name"]))
        except ValueError as error:
            problems.add(f"{error}, picture left out", image["file_name"])
            continue
        key = f"coco/{Path(image['file_name']).stem}"
        yield AnnotatedPicture(path, key, boxes, frozenset(wanted.values()), stated)


def _coco_parts(
    annotations: Path, problems: Problems
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]], dict[str, str]]:
    """Pictures by id, annotations, category names by id. Ids are text: some exporters mix 1 and "1"."""
    try:
        content = json.loads(_text_of(annotations))
        lists = [list(content[name]) for name in ("images", "annotations", "categories")]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{annotations} has no images, annotations and categories; give COCO's instances_*.json"
        ) from error
    images: dict[str, dict[str, Any]] = {}
    for entry in lists[0]:
        if not (isinstance(entry, dict) and entry.get("file_name") and "id" in entry):
            problems.add("picture without id or file_name", str(entry)[:60])
        elif str(entry["id"]) in images:
            problems.add("second picture of one id, left out", str(entry["file_name"]))
        else:
            images[str(entry["id"])] = entry | {"file_name": str(entry["file_name"]).replace("\\", "/")}
    instances = [entry if isinstance(entry, dict) else {} for entry in lists[1]]
    named = [entry for entry in lists[2] if isinstance(entry, dict) and {"id", "name"} <= entry.keys()]
    return images, instances, {str(entry["id"]): str(entry["name"]).strip() for entry in named}


def _stated_size(image: Mapping[str, Any]) -> tuple[float, float] | None:
    try:
        width, height = _numbers((image.get("width"), image.get("height")))
    except (ValueError, TypeError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _coco_boxes(
    entries: Iterable[Mapping[str, Any]],
    size: tuple[float, float],
    names: Mapping[str, str],
    wanted: Mapping[str, str],
    problems: Problems,
    name: str,
) -> Iterator[LabelledBox]:
    """ValueError for an entry that cannot be understood."""
    for entry in entries:
        category = str(entry.get("category_id"))
        if category not in names:
            raise ValueError(f"annotation of category {category}, which is not in the list")
        if category in wanted:
            try:
                corners = _numbers(entry["bbox"])
            except (KeyError, TypeError, ValueError):
                corners = []
            if len(corners) != 4:
                raise ValueError("annotation without a `bbox` of four numbers")
            box = _pixel_box(corners, size, problems, name)
            if box is not None:
                yield LabelledBox(wanted[category], box, ignore=bool(entry.get("iscrowd")))


def _pixel_box(xywh: list[float], size: tuple[float, float], problems: Problems, name: str) -> Box | None:
    (x, y, w, h), (width, height) = xywh, size
    return unit_box(x / width, y / height, (x + w) / width, (y + h) / height, problems, name)


def _numbers(values: Iterable[Any]) -> list[float]:
    """Finite ones; ValueError or TypeError for anything else."""
    numbers = [float(value) for value in values]
    if not all(map(math.isfinite, numbers)):
        raise ValueError("not finite")
    return numbers


def _text_of(annotations: Path) -> str:
    try:
        return read_text(annotations, LARGEST_TABLE)
    except OSError as error:
        raise DataError(f"{annotations} cannot be read: {error.strerror}; check the path") from error
    except ValueError as error:
        raise DataError(f"{annotations} cannot be read: {error}") from error


def picture_size(path: Path) -> tuple[int, int] | None:
    """Width and height, or None for what is no picture."""
    pixels = read_picture(path)
    return None if pixels is None else (int(pixels.shape[1]), int(pixels.shape[0]))

"""Annotations as published -> pictures with boxes: text files beside the pictures, WIDER FACE, COCO.

Every reader names and counts what it cannot use in `Problems` and goes on; a file that is not an
annotation at all is refused with `DataError`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2

from oahega_build.errors import DataError
from oahega_build.pictures.problems import Problems
from oahega_edge.chain.geometry import Box

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


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


def pictures_of(folder: Path) -> list[Path]:
    """Every picture of a folder, by name."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give the folder that holds the pictures")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_ENDINGS)


def read_text_folder(
    folder: Path, set_name: str, complete: frozenset[str], problems: Problems
) -> Iterator[AnnotatedPicture]:
    """Pictures with an optional `NAME.txt` beside each: `label cx cy w h` in unit coordinates per line."""
    for path in pictures_of(folder):
        boxes: list[LabelledBox] = []
        notes = path.with_suffix(".txt")
        if notes.exists():
            text = notes.read_text()
            if not text.strip():
                problems.add("empty annotation file", notes.name)
            for number, line in enumerate(text.splitlines(), 1):
                box = _text_box(line, problems, f"{notes.name}:{number}")
                if box is not None:
                    boxes.append(box)
        yield AnnotatedPicture(path, f"{set_name}/{path.stem}", tuple(boxes), complete)


def _text_box(line: str, problems: Problems, name: str) -> LabelledBox | None:
    fields = line.split()
    if not fields:
        return None
    try:
        label, (x, y, width, height) = fields[0], (float(value) for value in fields[1:])
    except ValueError:
        problems.add("line that is not `label cx cy w h`", name)
        return None
    box = unit_box(x - width / 2, y - height / 2, x + width / 2, y + height / 2, problems, name)
    return None if box is None else LabelledBox(label, box)


def read_wider_face(
    annotations: Path, pictures: Path, sizes: Mapping[str, tuple[int, int]] | None, problems: Problems
) -> Iterator[AnnotatedPicture]:
    """WIDER FACE's `wider_face_*_bbx_gt.txt`: name, count, then `x y w h blur expression illumination invalid
    occlusion pose` in pixels per face; a picture without faces has one line of zeros.

    Faces marked invalid become ignore regions. `sizes` (width, height by name) spares reading each
    picture's header; None reads them.
    """
    lines = annotations.read_text().splitlines()
    if not lines:
        raise DataError(f"{annotations} is empty; it should be WIDER FACE's wider_face_train_bbx_gt.txt")
    position = 0
    while position < len(lines):
        name = lines[position].strip()
        try:
            count = int(lines[position + 1])
            rows = [
                [int(value) for value in line.split()]
                for line in lines[position + 2 : position + 2 + max(1, count)]
            ]
            if len(rows) < count or any(len(row) < 4 for row in rows):
                raise ValueError("too few rows")
        except (IndexError, ValueError) as error:
            raise DataError(
                f"{annotations}, line {position + 1}: {name!r} is not followed by a count and that many "
                f"faces; is it WIDER FACE's own annotation file?"
            ) from error
        position += 2 + max(1, count)
        path = pictures / name
        size = sizes.get(name) if sizes is not None else picture_size(path)
        if size is None:
            problems.add("picture missing or unreadable", name)
            continue
        yield AnnotatedPicture(
            path,
            f"wider/{Path(name).stem}",
            tuple(_wider_boxes(rows[:count], size, problems, name)),
            frozenset({"face"}),
        )


def _wider_boxes(
    rows: list[list[int]], size: tuple[int, int], problems: Problems, name: str
) -> Iterator[LabelledBox]:
    width, height = size
    for row in rows:
        x, y, w, h = row[:4]
        box = unit_box(x / width, y / height, (x + w) / width, (y + h) / height, problems, name)
        if box is not None:
            yield LabelledBox("face", box, ignore=len(row) > 7 and row[7] == 1)


def read_coco(
    annotations: Path, pictures: Path, labels: Mapping[str, str], problems: Problems
) -> Iterator[AnnotatedPicture]:
    """COCO's `instances_*.json`; `labels` maps its category names to ours, other categories are left out.

    Crowds become ignore regions.
    """
    try:
        content = json.loads(annotations.read_text())
        names = {entry["id"]: entry["name"] for entry in content["categories"]}
        images = {entry["id"]: entry for entry in content["images"]}
        instances = content["annotations"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{annotations} has no images, annotations and categories; give COCO's instances_*.json"
        ) from error
    wanted = {number: labels[name] for number, name in names.items() if name in labels}
    if not wanted:
        raise DataError(
            f"{annotations} has none of the categories {sorted(labels)}; it has {sorted(names.values())}"
        )
    by_image: dict[int, list[LabelledBox]] = {}
    for entry in instances:
        image = images.get(entry.get("image_id"))
        if image is None:
            problems.add("annotation of an unknown picture", str(entry.get("image_id")))
        elif entry.get("category_id") in wanted:
            x, y, w, h = entry["bbox"]
            width, height = image["width"], image["height"]
            box = unit_box(
                x / width, y / height, (x + w) / width, (y + h) / height, problems, image["file_name"]
            )
            if box is not None:
                crowd = bool(entry.get("iscrowd"))
                by_image.setdefault(image["id"], []).append(
                    LabelledBox(wanted[entry["category_id"]], box, ignore=crowd)
                )
    for number, image in images.items():
        path = pictures / image["file_name"]
        if not path.exists():
            problems.add("picture missing or unreadable", image["file_name"])
            continue
        yield AnnotatedPicture(
            path,
            f"coco/{Path(image['file_name']).stem}",
            tuple(by_image.get(number, ())),
            frozenset(wanted.values()),
        )


def picture_size(path: Path) -> tuple[int, int] | None:
    """Width and height, or None for what is no picture."""
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) if path.is_file() else None
    return None if pixels is None else (int(pixels.shape[1]), int(pixels.shape[0]))

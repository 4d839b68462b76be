"""Stage `collect`: faces cropped from videos and picture folders into a folder per class (paper, section 3).

One unit of work is a video or some pictures of one class; any number of processes or machines share the
units, and a unit that is there is not done again. What comes out is a dataset for every other stage, with
the list `labels.csv` to correct labels in.
"""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import multiprocessing
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import DataError
from oahega_build.labelling.contact_sheet import Tile, evenly, write_sheet
from oahega_build.labelling.teachers import Teacher, TeacherSpec, make_teacher
from oahega_build.pictures.dataset import ANIMATED, UNREADABLE, perceptual_hash, read_picture
from oahega_build.pictures.folders import class_folders, count_loose, files_in
from oahega_build.pictures.labels import label_problem
from oahega_build.pictures.problems import Problems
from oahega_build.pictures.tables import Table, read_table
from oahega_build.runs.artifacts import open_run, write_bytes, write_json
from oahega_build.runs.progress import track
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.cameras import open_camera
from oahega_edge.cameras.picture_quality import sharpness
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import crop_square
from oahega_edge.decoding import holds_several, is_animated
from oahega_edge.endings import PICTURES, VIDEOS, is_picture, is_video
from oahega_edge.errors import CameraError, EndOfSource
from oahega_edge.manifest import Crop
from oahega_edge.text import read_text

FACES, UNITS, SHEETS, LIST = "faces", "units", "sheets", "labels.csv"
UNSORTED = "unsorted"
"""Class of what lies directly in the source folder."""
GROUP_PATTERN = r"([^/]+)--[0-9a-f]{6}-\d+-\d+\.png$"
"""For `EmotionRecipe.group_pattern`: finds the group in the name of a collected face."""
SHARPNESS_SIZE = (64, 64)
"""Pixels to which a face is brought first, so that large and small ones compare."""
COLUMNS = ("file", "label", "group", "source", "frame", "height_px", "sharpness", "score")
PICTURES_PER_UNIT = 200
SHEET_FACES = 120
READ_TIMEOUT = 10.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CollectRecipe:
    """Which faces are taken."""

    detector: TeacherSpec
    """Any detector plug-in that finds `face`; kind `bundle`: `files` names a bundle's folder."""
    least_score: float = 0.7
    margin: float = 0.0
    """Of the box's longer side, added on each side. 0 frames faces as FER+ does, which is what the recipes'
    `framing` expects; with a margin take the `framing` that metrics.json states."""
    min_height: int = 40
    """Pixels of the box; smaller faces are left."""
    min_sharpness: float = 40.0
    """Variance of the Laplacian of the face at 64x64 grey; blurred faces lie below."""
    every: int = 5
    """One in so many frames of a video."""
    near_bits: int = 4
    """A face whose perceptual hash differs in no more bits from one of the same video is left."""
    most_per_video: int = 400
    person_pattern: str = ""
    """First parenthesis, searched in a source's path, names the person: all of that person are one group."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Some sources of one class that are done together, in any process."""

    key: str
    label: str
    sources: tuple[Path, ...]
    root: Path


@dataclass(frozen=True, slots=True)
class UnitTask:
    """All that a process needs to do one unit."""

    recipe: CollectRecipe
    data: Path
    folder: Path
    unit: Unit


@dataclass(slots=True)
class UnitReport:
    """What became of one unit."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason -> faces."""
    frames: int = 0
    boxes: list[tuple[float, float, float, float]] = field(default_factory=list)
    """Width, height, middle x, middle y of each face's box in units of its crop."""
    problems: Problems = field(default_factory=Problems)


def collect(
    recipe: CollectRecipe,
    source: Path,
    data: Path,
    artifacts: Path,
    run: str,
    processes: int = 1,
    shard: tuple[int, int] = (0, 1),
) -> Path:
    """Make `<artifacts>/collect/<run>`: faces/<class>/*.png, labels.csv, a contact sheet per class.

    `source/<class>/` holds videos and pictures, at any depth. `data` is the folder below which the
    detector's files lie. `shard` (i, n) does every n-th unit only and leaves the run unfinished; the call
    without shard finds them done and finishes. Raises DataError when there is nothing to look at.
    """
    described = {"recipe": recipe, "source": source}
    with open_run(artifacts, "collect", run, described) as made:
        passed_over = Problems()
        tasks = [UnitTask(recipe, data, made.folder, unit) for unit in plan(source, passed_over)]
        number, of = shard
        pending = [t for i, t in enumerate(tasks) if i % of == number and not report_path(t).is_file()]
        if processes == 1:
            for task in track(pending, "collecting", len(pending)):
                collect_unit(task)
        else:
            with multiprocessing.get_context("spawn").Pool(processes) as pool:
                for _ in track(pool.imap_unordered(collect_unit, pending), "collecting", len(pending)):
                    pass
        if not all(report_path(task).is_file() for task in tasks):
            raise DataError(
                f"shard {number}/{of} is done; run the other shards, then the same command without --shard"
            )
        finish(made.folder, [read_report(task) for task in tasks], passed_over)
    return made.finished


def plan(source: Path, problems: Problems) -> list[Unit]:
    """The units of `source`; the same folder always gives the same plan."""
    if not source.is_dir():
        raise DataError(
            f"there is no folder {source}; give one with a folder of videos or pictures per class"
        )
    folders = class_folders(source, problems)
    if folders:
        count_loose(source, problems)
    units = []
    for label, folder in (folders or {UNSORTED: source}).items():
        files = list(files_in(folder, problems, videos=True))
        units += [_unit(label, (video,), source) for video in files if is_video(video)]
        pictures = [file for file in files if is_picture(file)]
        for i in range(0, len(pictures), PICTURES_PER_UNIT):
            units.append(_unit(label, tuple(pictures[i : i + PICTURES_PER_UNIT]), source))
    if not units:
        raise DataError(
            f"{source} holds no video and no picture; the endings are {', '.join(sorted(VIDEOS | PICTURES))}"
        )
    return units


def _unit(label: str, sources: tuple[Path, ...], root: Path) -> Unit:
    names = "\n".join(path.relative_to(root).as_posix() for path in sources)
    return Unit(hashlib.sha256(f"{label}\n{names}".encode()).hexdigest()[:16], label, sources, root)


def report_path(task: UnitTask) -> Path:
    """Its presence says that the unit is done."""
    return task.folder / UNITS / f"{task.unit.key}.json"


def collect_unit(task: UnitTask) -> UnitReport:
    """Do one unit; faces first, its report last."""
    cv2.setNumThreads(1)
    report = UnitReport()
    detector = make_teacher(task.recipe.detector, task.data)
    target = task.folder / FACES / task.unit.label
    target.mkdir(parents=True, exist_ok=True)
    for source in task.unit.sources:
        _collect_source(source, task, detector, target, report)
    report_path(task).parent.mkdir(exist_ok=True)
    write_json(
        report_path(task),
        {
            "label": task.unit.label,
            "rows": report.rows,
            "left_out": report.left_out,
            "frames": report.frames,
            "boxes": report.boxes,
            "problems": {"counts": report.problems.counts, "examples": report.problems.examples},
        },
    )
    return report


def frames_of(source: Path, every: int, problems: Problems) -> Iterator[tuple[int, Pixels]]:
    """(number, RGB pixels) of every `every`-th frame of a video, or the one picture."""
    name = source.name
    if is_picture(source) and not is_animated(source):
        pixels = read_picture(source, "rgb")
        if pixels is None:
            problems.add(UNREADABLE, name)
        else:
            if holds_several(source):
                problems.add(ANIMATED, name)
            yield 0, pixels
        return
    try:
        with open_camera(str(source)) as camera:
            number = 0
            while True:
                frame = camera.read(READ_TIMEOUT)
                if number % every == 0:
                    yield number, frame.pixels
                number += 1
    except EndOfSource:
        return
    except CameraError as error:
        problems.add("video that cannot be read to its end", f"{name} ({error})")


def _collect_source(
    source: Path, task: UnitTask, detector: Teacher, target: Path, report: UnitReport
) -> None:
    recipe = task.recipe
    where = source.relative_to(task.unit.root).as_posix()
    group = group_of(where, recipe.person_pattern)
    digest = hashlib.sha256(where.encode()).hexdigest()[:6]
    hashes: list[int] = []
    taken = 0
    for number, pixels in frames_of(source, recipe.every, report.problems):
        report.frames += 1
        faces = [f for f in detector.find(pixels) if f.label == "face" and f.score >= recipe.least_score]
        for i, face in enumerate(sorted(faces, key=lambda f: -f.score)):
            crop = cut(pixels, face.box, recipe.margin)
            reason = why_not(crop, face.box, pixels.shape[0], recipe, hashes)
            if reason is None and taken >= recipe.most_per_video:
                reason = "enough of this video"
            if reason is not None:
                report.left_out[reason] += 1
                continue
            hashes.append(perceptual_hash(crop))
            taken += 1
            name = f"{group}--{digest}-{number:06d}-{i}.png"
            encoded = cv2.imencode(".png", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))[1]
            write_bytes(target / name, encoded.tobytes())
            report.boxes.append(_box_in_crop(face.box, pixels.shape[:2], recipe.margin))
            report.rows.append(
                {
                    "file": f"{task.unit.label}/{name}",
                    "label": task.unit.label,
                    "group": group,
                    "source": where,
                    "frame": number,
                    "height_px": round(face.box.height * pixels.shape[0]),
                    "sharpness": round(sharpness(crop, SHARPNESS_SIZE), 1),
                    "score": round(face.score, 3),
                }
            )


def group_of(source: str, person_pattern: str) -> str:
    """What must not cross a split: the person where the pattern finds one, else the source."""
    found = re.search(person_pattern, source) if person_pattern else None
    name = found.group(1) if found and found.groups() else source
    return re.sub(r"[^\w.]+", "-", name).strip("-") or "unnamed"


def cut(pixels: Pixels, box: Box, margin: float) -> Pixels:
    """The square around a face with its margin; what lies outside the picture repeats its edge."""
    height, width = pixels.shape[:2]
    left, top, side = crop_square(width, height, box, Crop(scale=1 + 2 * margin, kernel="area"))
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    return np.ascontiguousarray(pixels[rows][:, columns])


def _box_in_crop(box: Box, size: Sequence[int], margin: float) -> tuple[float, float, float, float]:
    height, width = size[:2]
    left, top, side = crop_square(width, height, box, Crop(scale=1 + 2 * margin, kernel="area"))
    x, y = box.center
    return (
        box.width * width / side,
        box.height * height / side,
        (x * width - left) / side,
        (y * height - top) / side,
    )


def why_not(
    crop: Pixels, box: Box, picture_height: int, recipe: CollectRecipe, hashes: Iterable[int]
) -> str | None:
    """The reason to leave a face, or None."""
    if box.height * picture_height < recipe.min_height:
        return "too small"
    if sharpness(crop, SHARPNESS_SIZE) < recipe.min_sharpness:
        return "blurred"
    own = perceptual_hash(crop)
    if any((own ^ other).bit_count() <= recipe.near_bits for other in hashes):
        return "near-copy of one taken"
    return None


def read_report(task: UnitTask) -> UnitReport:
    """What `collect_unit` wrote."""
    told = json.loads(read_text(report_path(task), LARGEST_DOCUMENT))
    problems = Problems(Counter(told["problems"]["counts"]), told["problems"]["examples"])
    boxes = [tuple(box) for box in told["boxes"]]
    return UnitReport(told["rows"], Counter(told["left_out"]), told["frames"], boxes, problems)


def finish(folder: Path, reports: Sequence[UnitReport], problems: Problems) -> None:
    """labels.csv, the sheets, metrics.json; logs what was not read. DataError when there is no face."""
    rows = [row for report in reports for row in report.rows]
    left_out: Counter[str] = Counter()
    for report in reports:
        left_out.update(report.left_out)
        problems.merge(report.problems)
    for sentence in problems.sentences():
        log.warning("%s", sentence)
    if not rows:
        raise DataError(
            f"no face was taken from {sum(r.frames for r in reports)} frames (left out: {dict(left_out)}); "
            "loosen the recipe or look at the sources"
        )
    write_list(folder / LIST, rows)
    draw_sheets(folder, rows)
    boxes = np.array([box for report in reports for box in report.boxes])
    write_json(
        folder / "metrics.json",
        {
            "frames": sum(report.frames for report in reports),
            "faces": dict(sorted(Counter(row["label"] for row in rows).items())),
            "groups": len({row["group"] for row in rows}),
            "left_out": dict(left_out),
            "problems": problems.as_dict(),
            "group_pattern": GROUP_PATTERN,
            "framing": framing_of(boxes),
        },
    )


def framing_of(boxes: NDArray[np.float64]) -> dict[str, float]:
    """Median place of the detector's box on the crops: fields of `EmotionRecipe.framing`.

    With these the device crops what the collected pictures show between their margins.
    """
    names = ("box_width", "box_height", "middle_x", "middle_y")
    return {name: round(float(v), 3) for name, v in zip(names, np.median(boxes, axis=0), strict=True)}


def write_list(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """`labels.csv`: change the column `label` (empty: leave this picture out), then `relabel`."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def draw_sheets(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """A contact sheet per class, the captions as in the list."""
    (folder / SHEETS).mkdir(exist_ok=True)
    for label in sorted({row["label"] for row in rows}):
        of_label = [row for row in rows if row["label"] == label]
        tiles = []
        for i in evenly(len(of_label), SHEET_FACES):
            pixels = read_picture(folder / FACES / of_label[i]["file"], "rgb")
            if pixels is not None:
                tiles.append(Tile(pixels, Path(of_label[i]["file"]).stem.partition("--")[2]))
        write_sheet(folder / SHEETS / f"{label}.png", tiles)


def relabel(run: Path) -> Counter[str]:
    """Move the faces of a finished run to the classes that its corrected labels.csv names.

    Returns how many were moved (`old -> new`) or left out. May be called again after each correction.
    Raises DataError for a list that does not fit.
    """
    table = read_table(run / LIST, COLUMNS)
    _require_files(run, table)
    before = {folder.name for folder in (run / FACES).iterdir()}
    changes: Counter[str] = Counter()
    kept = []
    for row in table.rows:
        old, name = row["file"].split("/", 1)
        new = row["label"].strip()
        if not new:
            (run / FACES / row["file"]).unlink(missing_ok=True)
            changes[f"{old} left out"] += 1
            continue
        if new != old:
            (run / FACES / new).mkdir(exist_ok=True)
            (run / FACES / row["file"]).rename(run / FACES / new / name)
            changes[f"{old} -> {new}{'' if new in before else ', a new class'}"] += 1
        kept.append(row | {"file": f"{new}/{name}", "label": new})
    for empty in (f for f in (run / FACES).iterdir() if f.is_dir() and not any(f.iterdir())):
        empty.rmdir()
    write_list(table.path, kept)
    draw_sheets(run, kept)
    return changes


def _require_files(run: Path, table: Table) -> None:
    """All or nothing: nothing is moved when one line is wrong or one face is in no line."""
    there = {path.relative_to(run / FACES).as_posix() for path in (run / FACES).glob("*/*.png")}
    listed: set[str] = set()
    for number, row in zip(table.lines, table.rows, strict=True):
        place, file, label = f"{table.path}, line {number}", row["file"], row["label"].strip()
        if label and label_problem(label):
            raise DataError(f"{place}: {label!r} is no label: {label_problem(label)}; correct it")
        if file in listed:
            raise DataError(f"{place}: {file} has a line already; keep one of them")
        if label and file not in there:
            raise DataError(f"{place}: there is no {file}; keep the column `file`")
        listed.add(file)
    lost = sorted(there - listed)
    if lost:
        raise DataError(
            f"{len(lost)} faces are in no line of {table.path} ({', '.join(lost[:3])}): to leave a face out, "
            "empty its label; put these lines back, or delete these files"
        )

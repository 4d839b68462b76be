"""Auto-labelling: teachers fill in what the annotations leave out (paper, section 3).

Given boxes are kept. What a teacher is sure of becomes a box, what it is unsure of becomes an ignore
region, in which the detector is neither rewarded nor punished. One task makes one shard, so that any
number of processes can share the work; a shard that is there and whole is not made again.
"""

from __future__ import annotations

import json
import math
import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from oahega_build.errors import DataError, RunError
from oahega_build.labelling.teachers import Finding, Teacher, TeacherSpec, make_teacher
from oahega_build.pictures import readers
from oahega_build.pictures.bodies import body_of
from oahega_build.pictures.dataset import ANIMATED
from oahega_build.pictures.folders import part_folder
from oahega_build.pictures.problems import Problems
from oahega_build.pictures.readers import AnnotatedPicture, LabelledBox
from oahega_build.pictures.record import Record
from oahega_build.pictures.records import count_records, read_records, shard_name, write_shard
from oahega_build.runs.artifacts import Run, as_plain, open_run, write_json
from oahega_build.runs.output import say
from oahega_build.runs.progress import track
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.decoding import LARGEST_PICTURE, decode, holds_several, orientation_of, turned_point
from oahega_edge.files import read_file
from oahega_edge.text import read_text

SPLITS = ("train", "held", "valid")
"""`held` is taken from `train` for every choice; `valid` chooses nothing."""
SAME_BOX = 0.5
"""IoU from which two boxes of one label are one thing."""
COVERED = 0.7
"""Share of a finding inside a given box from which it is a part of that thing."""


@dataclass(frozen=True, slots=True)
class SourceSet:
    """A folder of pictures and what its annotations promise."""

    name: str
    folder: str
    """Below the data folder: `train` and `valid` (or `Train`, `val`, ...) in it hold pictures, text files."""
    kind: str = "text"
    """`text`, `wider` or `coco`."""
    complete: tuple[str, ...] = ()
    """Labels of which the annotations leave nothing out (for kind `text`)."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """wider, coco: split -> annotation file below the data folder."""
    pictures: Mapping[str, str] = field(default_factory=dict)
    """wider, coco: split -> folder of the pictures below the data folder."""
    names: Mapping[str, str] = field(default_factory=dict)
    """text, coco: labels in the annotations -> ours, as in {"0": "person"}; an empty one leaves boxes out."""
    boxes_as_stored: bool = False
    """True: boxes are of the pictures as stored, before their EXIF turns them."""


@dataclass(frozen=True, slots=True)
class Trust:
    """When a teacher is believed."""

    teacher: TeacherSpec
    sure: float
    """From this score on a finding is a box."""
    likely: float
    """From this score on it is a box if another teacher of the label sees it too, else an ignore region."""
    sets: tuple[str, ...] = ()
    """The sets that it looks at; empty: all."""

    def asked_for(self, picture: AnnotatedPicture) -> bool:
        """Whether the teacher looks at this picture."""
        return not self.sets or picture.key.split("/")[0] in self.sets


@dataclass(frozen=True, slots=True)
class LabelRecipe:
    """Which pictures, which teachers, how the result is split."""

    sets: tuple[SourceSet, ...]
    teachers: tuple[Trust, ...]
    shards: int = 8
    """Per split."""
    held_block: int = 20
    """So many neighbours go to `train` or `held` together, because they may show one scene."""
    held_every: int = 12
    """One block in so many is held out."""
    limit: int = 0
    """Only the first so many pictures of a folder; 0 takes all."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """All that a process needs to make one shard."""

    recipe: LabelRecipe
    data: Path
    target: Path
    pictures: tuple[AnnotatedPicture, ...]


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What a shard holds."""

    shard: str
    records: int
    counts: dict[str, int]
    """`label/source/box` or `label/source/ignore` -> how many."""
    found: dict[str, int]
    """Teacher -> its findings, used or not."""
    problems: Problems


def label(recipe: LabelRecipe, data: Path, artifacts: Path, run: str, processes: int = 1) -> Path:
    """Make `<artifacts>/label/<run>`: shards of train, held and valid, contact sheets, metrics.json.

    Called again for a finished run it looks at every shard and makes the damaged ones again. Raises
    DataError when a set's folder is missing or no picture can be used, RunError when the finished run was
    made by another recipe.
    """
    finished = artifacts / "label" / run
    if finished.exists():
        _refuse_other_recipe(finished, recipe)
        _label_into(Run(finished, finished), recipe, data, processes)
    else:
        with open_run(artifacts, "label", run, recipe) as made:
            _label_into(made, recipe, data, processes)
    return finished


def _refuse_other_recipe(finished: Path, recipe: LabelRecipe) -> None:
    if json.loads(read_text(finished / "recipe.json", LARGEST_DOCUMENT)) != as_plain(recipe):
        raise RunError(f"{finished} was labelled by another recipe; give another --run name or remove it")


def _label_into(run: Run, recipe: LabelRecipe, data: Path, processes: int) -> None:
    """Make the shards that are missing or damaged, then what is told about all of them."""
    problems = Problems()
    tasks = plan(recipe, data, run.folder, problems)
    pending = [task for task in tasks if finished_report(task) is None]
    if processes == 1:
        made: Iterable[ShardReport] = map(label_shard, pending)
        for _ in track(made, "labelling shards", len(pending)):
            pass
    elif pending:
        with multiprocessing.get_context("spawn").Pool(processes) as pool:
            for _ in track(pool.imap_unordered(label_shard, pending), "labelling shards", len(pending)):
                pass
    reports = [report for task in tasks if (report := finished_report(task)) is not None]
    for report in reports:
        problems.merge(report.problems)
    _name_silent_teachers(reports, problems)
    run.write_metrics(_metrics(reports, problems))
    for split in SPLITS:
        shards = [task.target for task in tasks if task.target.name.startswith(split)]
        write_contact_sheet(run.folder / f"{split}.png", read_records(shards))
    for sentence in problems.sentences():
        say(sentence)


def _name_silent_teachers(reports: Sequence[ShardReport], problems: Problems) -> None:
    """A teacher that sees nothing in all pictures is most likely broken, and its silence is taught on."""
    found = Counter[str]()
    for report in reports:
        found.update(report.found)
    for name in (name for name, count in found.items() if not count):
        problems.add("teacher that found nothing in any picture: check its file, labels and side", name)


def plan(recipe: LabelRecipe, data: Path, folder: Path, problems: Problems) -> list[ShardTask]:
    """The shards to make; the same recipe and data always give the same plan."""
    by_split: dict[str, list[AnnotatedPicture]] = {split: [] for split in SPLITS}
    for source in recipe.sets:
        for split in ("train", "valid"):
            pictures = [
                replace(picture, boxes_as_stored=source.boxes_as_stored)
                for picture in read_set(source, split, data, problems)
            ]
            if recipe.limit:
                pictures = pictures[: recipe.limit]
            for number, picture in enumerate(pictures):
                held = split == "train" and is_held(number, recipe)
                by_split["held" if held else split].append(picture)
    if not any(by_split.values()):
        why = "; ".join(problems.sentences())
        raise DataError(
            f"no picture can be used of the sets {[s.name for s in recipe.sets]} in {data}; {why}"
        )
    return [
        ShardTask(
            recipe, data, folder / shard_name(split, i, recipe.shards), tuple(pictures[i :: recipe.shards])
        )
        for split, pictures in by_split.items()
        for i in range(recipe.shards)
    ]


def is_held(number: int, recipe: LabelRecipe) -> bool:
    """Whether the picture at this place of its folder is held out of `train`."""
    return (number // recipe.held_block) % recipe.held_every == recipe.held_every // 2


def read_set(source: SourceSet, split: str, data: Path, problems: Problems) -> Iterator[AnnotatedPicture]:
    """The annotated pictures of one split of a set."""
    unknown = {*source.complete, *source.names.values()} - {*readers.LABELS, ""}
    if unknown:
        raise DataError(f"set {source.name} speaks of {sorted(unknown)}; the labels are {readers.LABELS}")
    if source.kind == "text":
        folder, names = part_folder(data / source.folder, split), {**readers.OWN_NAMES, **source.names}
        return readers.read_text_folder(
            folder, f"{source.name}/{split}", frozenset(source.complete), problems, names
        )
    if split not in source.annotations:
        return iter(())
    annotations, pictures = data / source.annotations[split], data / source.pictures[split]
    if source.kind == "wider":
        return readers.read_wider_face(annotations, pictures, None, problems)
    if source.kind == "coco":
        return readers.read_coco(annotations, pictures, source.names or {"person": "person"}, problems)
    raise DataError(f"set {source.name} is of kind {source.kind!r}; the kinds are text, wider and coco")


def label_shard(task: ShardTask) -> ShardReport:
    """Make one shard and, beside it, its report; runs in any process."""
    cv2.setNumThreads(1)
    problems, counts, found = Problems(), Counter[str](), Counter[str]()
    teachers = [make_teacher(trust.teacher, task.data) for trust in task.recipe.teachers]

    def records() -> Iterator[Record]:
        for picture in task.pictures:
            record = label_picture(picture, task.recipe.teachers, teachers, problems, found)
            if record is not None:
                counts.update(f"{b.label}/{b.source}/{'ignore' if b.ignore else 'box'}" for b in record.boxes)
                yield record

    written = write_shard(task.target, records())
    report = ShardReport(task.target.name, written, dict(counts), dict(found), problems)
    write_json(
        _report_path(task.target),
        {
            "records": written,
            "counts": report.counts,
            "found": report.found,
            "problems": {"counts": problems.counts, "examples": problems.examples},
        },
    )
    return report


def finished_report(task: ShardTask) -> ShardReport | None:
    """The report of a shard that is there, whole and as long as it says; None means: make it (again)."""
    path = _report_path(task.target)
    if not (task.target.exists() and path.exists()):
        return None
    told = json.loads(read_text(path, LARGEST_DOCUMENT))
    if count_records(task.target) != told["records"]:
        return None
    problems = Problems(Counter(told["problems"]["counts"]), told["problems"]["examples"])
    return ShardReport(task.target.name, told["records"], told["counts"], told.get("found", {}), problems)


def label_picture(
    picture: AnnotatedPicture,
    trusts: Sequence[Trust],
    teachers: Sequence[Teacher],
    problems: Problems,
    found: Counter[str],
) -> Record | None:
    """One picture through the teachers; None, counted, when it cannot be read or contradicts its boxes."""
    encoded = _content(picture.path)
    read = decode(encoded)
    if read is None:
        problems.add("picture missing or unreadable", picture.path.name)
        return None
    pixels: Pixels = np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), np.uint8)
    height, width = pixels.shape[:2]
    picture = _upright(picture, orientation_of(encoded), (width, height), problems)
    if not _same_shape(picture.stated_size, (width, height)):
        problems.add("picture of another shape than its annotations state, left out", picture.path.name)
        return None
    if holds_several(picture.path):
        problems.add(ANIMATED, picture.path.name)
    seen = []
    for trust, teacher in zip(trusts, teachers, strict=True):
        if not trust.asked_for(picture):
            continue
        findings = teacher.find(pixels)
        found[f"{teacher.name} {Path(trust.teacher.files[0]).name}"] += len(findings)
        seen += [(trust, teacher.name, finding) for finding in findings]
    boxes = merge(picture.boxes, picture.complete, seen)
    return Record(picture.key, encoded, width, height, tuple(boxes))


def _content(picture: Path) -> bytes:
    """Nothing for what is no file, or no picture by its size."""
    try:
        return read_file(picture, LARGEST_PICTURE)
    except OSError:
        return b""


def _same_shape(stated: tuple[float, float] | None, decoded: tuple[int, int]) -> bool:
    """Whether boxes that were measured in the stated size fit the picture, which may be a smaller copy."""
    if stated is None:
        return True
    return abs(stated[0] * decoded[1] / (stated[1] * decoded[0]) - 1) < 0.02


def _upright(
    picture: AnnotatedPicture, orientation: int, size: tuple[int, int], problems: Problems
) -> AnnotatedPicture:
    """The picture with its boxes turned like its pixels, where they were measured before that.

    A stated size tells it of quarter turns; of other turns only `SourceSet.boxes_as_stored` does.
    """
    if orientation == 1 or not picture.boxes:
        return picture
    stated, name = picture.stated_size, picture.path.name
    tells = orientation >= 5 and stated is not None and not _same_shape(stated, size)
    if not (picture.boxes_as_stored or (tells and _same_shape(stated, size[::-1]))):
        problems.add("picture that its EXIF turns: its boxes are taken as turned, too", name)
        return picture
    problems.add("picture that its EXIF turns: its boxes were turned like it", name)
    boxes = tuple(_turned(box, orientation) for box in picture.boxes)
    swapped = stated[::-1] if stated is not None and orientation >= 5 else stated
    return replace(picture, boxes=boxes, stated_size=swapped)


def _turned(given: LabelledBox, orientation: int) -> LabelledBox:
    corners = [
        turned_point(given.box.left, given.box.top, orientation),
        turned_point(given.box.right, given.box.bottom, orientation),
    ]
    (left, right), (top, bottom) = (sorted(values) for values in zip(*corners, strict=True))
    landmarks = tuple(turned_point(x, y, orientation) for x, y in given.landmarks)
    return replace(given, box=Box(left, top, right, bottom), landmarks=landmarks)


def merge(
    given: Sequence[LabelledBox],
    complete: frozenset[str],
    seen: Sequence[tuple[Trust, str, Finding]],
) -> list[LabelledBox]:
    """Given boxes, then what the teachers add.

    A finding is dropped where its label is complete or a given box covers it. Of several teachers'
    findings of one thing the surest stays.
    """
    boxes = list(given)
    ordered = sorted(seen, key=lambda entry: _rank(*entry[::2]))
    for trust, name, finding in ordered:
        known = [b for b in boxes if b.label == finding.label]
        if (
            finding.label in complete
            or finding.score < trust.likely
            or any(_same(finding.box, b) for b in known)
        ):
            continue
        confirmed = any(
            other is not trust
            and f.label == finding.label
            and f.score >= other.likely
            and f.box.iou(finding.box) >= SAME_BOX
            for other, _, f in seen
        )
        believed = finding.score >= trust.sure or confirmed
        boxes.append(
            LabelledBox(finding.label, finding.box, not believed, finding.score, name, finding.landmarks)
        )
    if "person" not in complete and any(trust.teacher.kind != "yunet" for trust, *_ in seen):
        boxes += _bodies_of_lone_faces(boxes)
    return boxes


def _rank(trust: Trust, finding: Finding) -> tuple[bool, float]:
    """Sure findings first, then by score."""
    return finding.score < trust.sure, -finding.score


def _same(found: Box, known: LabelledBox) -> bool:
    if found.iou(known.box) >= SAME_BOX:
        return True
    # A half figure inside a given whole one is that figure; a small face in a large one is not.
    return known.label == "person" and found.shared_area(known.box) >= COVERED * found.area


def _bodies_of_lone_faces(boxes: Sequence[LabelledBox]) -> Iterator[LabelledBox]:
    """Where a face has no person around it, its body is an ignore region: the teachers missed it."""
    persons = [b.box for b in boxes if b.label == "person"]
    for face in boxes:
        if face.label != "face":
            continue
        x, y = face.box.center
        if not any(p.left < x < p.right and p.top < y < p.bottom for p in persons):
            body = body_of(face.box).clipped()
            if body is not None:
                yield LabelledBox("person", body, True, face.score, "body of a face")


def write_contact_sheet(path: Path, records: Iterable[Record], columns: int = 8, rows: int = 6) -> None:
    """A PNG of evenly picked labelled pictures: faces red, persons green, ignore regions thin and grey."""
    every = list(records)
    if not every:
        return
    step = max(1, math.ceil(len(every) / (columns * rows)))
    tiles = [_tile(record, 200) for record in every[::step]]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    sheet = np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])
    cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))


def _tile(record: Record, side: int) -> Pixels:
    ratio = 2 * side / max(record.width, record.height)
    size = (max(1, round(record.width * ratio)), max(1, round(record.height * ratio)))
    small = cv2.resize(record.pixels(), size, interpolation=cv2.INTER_AREA)
    for b in record.boxes:
        colour = (130, 130, 130) if b.ignore else (230, 30, 30) if b.label == "face" else (30, 200, 30)
        first, second = ((round(x * size[0]), round(y * size[1])) for x, y in _corners(b.box))
        cv2.rectangle(small, first, second, colour, 1 if b.ignore else 3)
    canvas = np.full((2 * side, 2 * side, 3), 114, np.uint8)
    canvas[: size[1], : size[0]] = small
    return np.asarray(cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA), np.uint8)


def _corners(box: Box) -> tuple[tuple[float, float], tuple[float, float]]:
    return (box.left, box.top), (box.right, box.bottom)


def _metrics(reports: Sequence[ShardReport], problems: Problems) -> dict[str, Any]:
    metrics: dict[str, Any] = {"problems": problems.as_dict()}
    for split in SPLITS:
        of_split = [report for report in reports if report.shard.startswith(split)]
        counts = Counter[str]()
        for report in of_split:
            counts.update(report.counts)
        metrics[split] = {"pictures": sum(r.records for r in of_split), "boxes": dict(sorted(counts.items()))}
    return metrics


def _report_path(shard: Path) -> Path:
    return shard.with_suffix(".json")

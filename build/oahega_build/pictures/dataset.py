"""A folder per class to samples: labels, soft labels, split, duplicates, and what is wrong with it."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import DataError
from oahega_build.pictures.folders import class_folders, count_loose, files_in, parts_of
from oahega_build.pictures.problems import Problems
from oahega_build.pictures.tables import Table, read_table
from oahega_edge.cameras import pictures
from oahega_edge.decoding import holds_several

VOTES = "votes.csv"
ANIMATED = "picture of several frames: only its first is taken"
UNREADABLE = "picture that cannot be read, skipped (HEIC: convert it to JPEG)"
NEAR_BITS = 2
"""Two pictures are near-duplicates when their 64-bit hashes differ in at most so many bits. On aligned
faces other people's pictures come as near as 5."""
HELD_OUT = 0.1
"""Share of `train` that chooses."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One picture with its label."""

    name: str
    """Path below the dataset's root, with `/`."""
    label: int
    """Index into the dataset's labels: the folder that it lies in."""
    target: NDArray[np.float32]
    """(labels,) shares that sum to 1: votes where there are some, else 1 for the label."""
    pixels: NDArray[np.uint8]
    """(height, width) grey or (height, width, 3) RGB."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Everything that was read of one root."""

    root: Path
    labels: tuple[str, ...]
    """Of the folders (`labels.label_of`), in alphabetical order."""
    train: Sequence[Sample]
    valid: Sequence[Sample]
    """Empty when the root has no split of its own."""
    problems: Sequence[str] = field(default=())
    """Sentences about what was left out and why."""


def read_dataset(root: Path, colour: str = "grey") -> Dataset:
    """Read `root/<label>/*` or `root/{train,valid}/<label>/*`, with `root/votes.csv` where it exists.

    The parts may have any of `folders.PART_NAMES`. `colour` is `grey` or `rgb`, as the network sees it.
    What is not read is counted, named in `problems` and logged. Raises DataError when there is no dataset
    here, one class only, an empty class, or when the parts hold different classes.
    """
    problems = Problems()
    parts = parts_of(root, problems)
    folders = {part: class_folders(folder, problems) for part, folder in parts.items()}
    labels = tuple(sorted(folders["train"]))
    _require_classes(parts, folders)
    for folder in parts.values():
        count_loose(folder, problems)
    votes = _read_votes(root, labels, problems)
    read = {part: _read_part(root, folders[part], labels, votes, colour, problems) for part in folders}
    _compare_votes(votes, [sample.name for samples in read.values() for sample in samples], problems)
    for sentence in problems.sentences():
        log.warning("%s", sentence)
    return Dataset(root, labels, read["train"], read.get("valid", ()), problems.sentences())


def _require_classes(parts: Mapping[str, Path], folders: Mapping[str, Mapping[str, Path]]) -> None:
    labels = sorted(folders["train"])
    if len(labels) < 2:
        raise DataError(
            f"{parts['train']} holds {len(labels)} class folders ({', '.join(labels) or 'none'}); "
            "a classifier needs at least two"
        )
    for part, classes in folders.items():
        if sorted(classes) != labels:
            raise DataError(f"{parts[part]} holds the classes {sorted(classes)}, train holds {labels}")


def _read_part(
    root: Path,
    folders: Mapping[str, Path],
    labels: Sequence[str],
    votes: Mapping[str, NDArray[np.float32] | None],
    colour: str,
    problems: Problems,
) -> list[Sample]:
    samples: list[Sample] = []
    own = np.eye(len(labels), dtype=np.float32)
    for index, label in enumerate(labels):
        before = len(samples)
        for path in files_in(folders[label], problems):
            name = path.relative_to(root).as_posix()
            pixels = read_picture(path, colour)
            if pixels is None:
                problems.add(UNREADABLE, name)
                continue
            if holds_several(path):
                problems.add(ANIMATED, name)
            shares = votes.get(name)
            target = own[index] if shares is None else shares
            samples.append(Sample(name, index, target, pixels))
        if len(samples) == before:
            raise DataError(
                f"the class folder {folders[label]} holds no readable picture; fill it or remove it"
            )
    return samples


def read_picture(path: Path, colour: str) -> NDArray[np.uint8] | None:
    """(height, width) for grey, (height, width, 3) RGB for rgb; None when it cannot be decoded."""
    rgb = pictures.read_picture(path)
    if rgb is None:
        return None
    # Grey through COLOR_RGB2GRAY, as the device makes it; a grey file comes back unchanged.
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) if colour == "grey" else rgb, np.uint8)


def _read_votes(
    root: Path, labels: Sequence[str], problems: Problems
) -> dict[str, NDArray[np.float32] | None]:
    """Name to shares of the dataset's labels, None where nobody voted for any of them."""
    path = root / VOTES
    if not path.is_file():
        return {}
    table = read_table(path, {"file", *labels})
    votes: dict[str, NDArray[np.float32] | None] = {}
    for row in table.rows:
        name = table.path_in(row["file"])
        if name in votes:
            problems.add(f"second line for one file in {VOTES}: the first counts", name)
            continue
        votes[name] = _shares(table, row, labels)
        if votes[name] is None:
            problems.add(f"line of {VOTES} without a vote for any class: its folder decides", name)
    for column in table.columns:
        if column not in {"file", *labels}:
            problems.add(f"column of {VOTES} that names no class: its votes are left out", column)
    return votes


def _shares(table: Table, row: Mapping[str, str], labels: Sequence[str]) -> NDArray[np.float32] | None:
    try:
        counts = np.array([table.number(row[label]) for label in labels], np.float32)
    except ValueError as error:
        raise DataError(f"{table.path} has a vote for {row['file']} that is no number: {error}") from error
    if not np.all(np.isfinite(counts)) or counts.min() < 0:
        raise DataError(f"{table.path} has a negative or infinite vote for {row['file']}")
    return counts / counts.sum() if counts.sum() > 0 else None


def _compare_votes(votes: Mapping[str, object], names: Sequence[str], problems: Problems) -> None:
    """Say where the list and the folders have come apart."""
    if not votes:
        return
    for name in sorted(set(votes) - set(names)):
        problems.add(f"line of {VOTES} without a picture that can be read: ignored", name)
    for name in sorted(set(names) - set(votes)):
        problems.add(f"picture without a line in {VOTES}: its folder decides", name)


def perceptual_hash(pixels: NDArray[np.uint8]) -> int:
    """64 bits: whether each of 8x8 cells is brighter than its right neighbour (difference hash)."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    return int.from_bytes(np.packbits(small[:, :-1] > small[:, 1:]).tobytes(), "big")


def near_duplicates(samples: Sequence[Sample], bits: int = NEAR_BITS) -> list[int]:
    """A group number per sample; samples whose hashes differ in at most `bits` bits share one."""
    return near_duplicates_of([sample.pixels for sample in samples], bits)


def near_duplicates_of(pictures: Sequence[NDArray[np.uint8]], bits: int = NEAR_BITS) -> list[int]:
    """As `near_duplicates`, of pictures alone."""
    hashes = np.array([perceptual_hash(pixels) for pixels in pictures], np.uint64)
    parent = list(range(len(pictures)))
    for start in range(0, len(hashes), 256):
        distance = np.bitwise_count(hashes[start : start + 256, None] ^ hashes[None, start:])
        for row, column in zip(*np.nonzero(distance <= bits), strict=True):
            _join(parent, start + int(row), start + int(column))
    return [_root(parent, i) for i in range(len(pictures))]


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


def _join(parent: list[int], a: int, b: int) -> None:
    a, b = _root(parent, a), _root(parent, b)
    parent[max(a, b)] = min(a, b)


def split_groups(samples: Sequence[Sample], pattern: str = "") -> list[int]:
    """A group number per sample for a split: near-copies share one, and so does what `pattern` groups."""
    copies = near_duplicates(samples)
    return united(copies, named_groups([sample.name for sample in samples], pattern)) if pattern else copies


def united(*groupings: Sequence[int]) -> list[int]:
    """A group number each, such that whatever shares a number in one of the groupings shares one here."""
    parent = list(range(len(groupings[0])))
    for groups in groupings:
        first: dict[int, int] = {}
        for i, number in enumerate(groups):
            _join(parent, first.setdefault(number, i), i)
    return [_root(parent, i) for i in range(len(parent))]


def named_groups(names: Sequence[str], pattern: str) -> list[int]:
    """A group number per name from the first parenthesis of `pattern` in it (a person, a video).

    A name in which the pattern finds nothing is a group of its own. DataError where it fits no name at all.
    """
    try:
        found = [re.search(pattern, name) for name in names]
    except re.error as error:
        raise DataError(f"group_pattern {pattern!r} is no regular expression: {error}; correct it") from error
    keys = [match[1] if match and match.re.groups else None for match in found]
    alone = keys.count(None)
    if keys and alone == len(keys):
        raise DataError(
            f"group_pattern {pattern!r} finds no group in any of {alone} names; its first parenthesis must "
            f"fit names such as {names[0]}"
        )
    if alone:
        log.warning("group_pattern finds no group in %d of %d names; each stands alone", alone, len(keys))
    numbers: dict[str, int] = {}
    return [
        numbers.setdefault(name if key is None else f"in {key}", len(numbers))
        for name, key in zip(names, keys, strict=True)
    ]


def split_off(
    samples: Sequence[Sample], share: float, seed: int, groups: Sequence[int] | None = None
) -> tuple[list[Sample], list[Sample]]:
    """(the rest, about `share` of each class), no group on both sides, the same on every machine.

    Raises DataError when a class would be absent on either side.
    """
    members: dict[int, list[Sample]] = defaultdict(list)
    for sample, number in zip(samples, groups or range(len(samples)), strict=True):
        members[number].append(sample)
    counts = Counter(sample.label for sample in samples)
    places = {label: max(1, round(count * share)) for label, count in counts.items()}
    rest: list[Sample] = []
    held: list[Sample] = []
    for group in sorted(members.values(), key=lambda group: _rank(seed, group[0].name)):
        wanted = Counter(sample.label for sample in group)
        if all(places[label] >= count for label, count in wanted.items()):
            held += group
            places = {label: n - wanted[label] for label, n in places.items()}
        else:
            rest += group
    _require_both_sides(counts, rest, held)
    return sorted(rest, key=_name), sorted(held, key=_name)


def held_out(dataset: Dataset, share: float = HELD_OUT, pattern: str = "") -> list[Sample]:
    """The part of `train` on which models are chosen."""
    return split_train(dataset, share, pattern)[1]


def split_train(
    dataset: Dataset, share: float = HELD_OUT, pattern: str = ""
) -> tuple[list[Sample], list[Sample]]:
    """`train` in the part for training and the held-out part; near-copies and `pattern`'s groups together."""
    return split_off(dataset.train, share, seed=0, groups=split_groups(dataset.train, pattern))


def _require_both_sides(counts: Counter[int], rest: Sequence[Sample], held: Sequence[Sample]) -> None:
    for label in counts:
        for side in (rest, held):
            if not any(sample.label == label for sample in side):
                raise DataError(
                    f"class {label} has too few pictures ({counts[label]}) or too many near-copies to split"
                )


def _name(sample: Sample) -> str:
    return sample.name


def _rank(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {name}".encode()).digest()


@dataclass(frozen=True, slots=True)
class Overview:
    """A dataset in figures."""

    labels: tuple[str, ...]
    counts: Mapping[str, Sequence[int]]
    """Pictures per label, for each part."""
    smallest: tuple[int, int]
    """Width and height in pixels."""
    largest: tuple[int, int]
    near_duplicates: int
    """Pictures of `train` that have a near-copy in `train`."""
    crossing: int
    """Pictures of `valid` that have a near-copy in `train`."""
    problems: Sequence[str]

    def as_figures(self) -> dict[str, object]:
        """For metrics.json."""
        return dataclasses.asdict(self)

    def as_table(self) -> str:
        """Fixed-width text."""
        rows = [("", *self.labels, "all")]
        rows += [(part, *map(str, counts), str(sum(counts))) for part, counts in self.counts.items()]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
        lines.append(f"sizes {self.smallest[0]}x{self.smallest[1]} to {self.largest[0]}x{self.largest[1]} px")
        lines.append(f"{self.near_duplicates} pictures of train have a near-copy in train")
        lines.append(f"{self.crossing} pictures of valid have a near-copy in train")
        return "\n".join(lines)


def overview(dataset: Dataset) -> Overview:
    """Counts, sizes, near-copies and problems."""
    samples = [*dataset.train, *dataset.valid]
    sizes = sorted(((s.pixels.shape[1], s.pixels.shape[0]) for s in samples), key=lambda wh: wh[0] * wh[1])
    groups = near_duplicates(samples)
    train = Counter(groups[: len(dataset.train)])
    counts = {"train": _per_label(dataset.train, len(dataset.labels))}
    if dataset.valid:
        counts["valid"] = _per_label(dataset.valid, len(dataset.labels))
    return Overview(
        labels=dataset.labels,
        counts=counts,
        smallest=sizes[0],
        largest=sizes[-1],
        near_duplicates=sum(n for n in train.values() if n > 1),
        crossing=sum(train[group] > 0 for group in groups[len(dataset.train) :]),
        problems=dataset.problems,
    )


def _per_label(samples: Sequence[Sample], labels: int) -> list[int]:
    counts = Counter(sample.label for sample in samples)
    return [counts[i] for i in range(labels)]


def draw_overview(figures: Overview, path: Path) -> None:
    """The counts as a bar chart (PNG)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(figures.counts)
    for i, (part, counts) in enumerate(figures.counts.items()):
        axes.bar(np.arange(len(counts)) + i * width, counts, width, label=part)
    axes.set_xticks(np.arange(len(figures.labels)) + 0.4 - width / 2, figures.labels)
    axes.set_ylabel("pictures")
    axes.legend()
    figure.savefig(path, dpi=120)

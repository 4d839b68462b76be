"""A folder per class to samples: labels, soft labels, split, duplicates, and what is wrong with it."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm")
VOTES = "votes.csv"
NEAR_BITS = 2
"""Two pictures are near-duplicates when their 64-bit hashes differ in at most so many bits. On aligned
faces other people's pictures come as near as 5."""
HELD_OUT = 0.1
"""Share of `train` that chooses."""
SPLITS = ("train", "valid")


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
    """Folder names in alphabetical order, lower case."""
    train: Sequence[Sample]
    valid: Sequence[Sample]
    """Empty when the root has no split of its own."""
    problems: Sequence[str] = field(default=())
    """Sentences about what was left out and why."""


def read_dataset(root: Path, colour: str = "grey") -> Dataset:
    """Read `root/<label>/*` or `root/{train,valid}/<label>/*`, with `root/votes.csv` where it exists.

    `colour` is `grey` or `rgb`, as the network sees it. Unreadable pictures are skipped and named in
    `problems`. Raises DataError when there is no dataset here, one class only, an empty class, or when the
    parts hold different classes.
    """
    if not root.is_dir():
        raise DataError(f"there is no folder {root}; give one with a folder of pictures per class")
    parts = {part: root / part for part in SPLITS if (root / part).is_dir()}
    if "train" not in parts:
        parts = {"train": root}
    folders = {part: class_folders(folder) for part, folder in parts.items()}
    labels = tuple(sorted(folders["train"]))
    _require_classes(parts, folders)
    problems: list[str] = []
    votes = _read_votes(root, labels, problems)
    read = {part: _read_part(root, folders[part], labels, votes, colour, problems) for part in folders}
    missing = sorted(set(votes) - {path for part in folders for path in _names(root, folders[part])})
    if missing:
        shown = ", ".join(missing[:3])
        problems.append(
            f"{VOTES} names {len(missing)} files that are not there ({shown}): those votes are ignored"
        )
    return Dataset(root, labels, read["train"], read.get("valid", ()), tuple(problems))


def class_folders(folder: Path) -> dict[str, Path]:
    """Label to folder, for every folder that is not hidden. Raises DataError for names that clash."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or path.name.startswith("."):
            continue
        label = re.sub(r"[^a-z0-9_-]+", "-", path.name.lower()).strip("-")
        if label in found or not re.fullmatch(r"[a-z][a-z0-9_-]*", label):
            raise DataError(
                f"the folder {path} gives the label {label!r}, which is empty or taken; rename it"
            )
        found[label] = path
    return found


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


def _pictures(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


def _names(root: Path, folders: Mapping[str, Path]) -> Iterable[str]:
    return (p.relative_to(root).as_posix() for folder in folders.values() for p in _pictures(folder))


def _read_part(
    root: Path,
    folders: Mapping[str, Path],
    labels: Sequence[str],
    votes: Mapping[str, NDArray[np.float32]],
    colour: str,
    problems: list[str],
) -> list[Sample]:
    samples: list[Sample] = []
    for index, label in enumerate(labels):
        before = len(samples)
        for path in _pictures(folders[label]):
            pixels = read_picture(path, colour)
            if pixels is None:
                problems.append(f"{path} is not a picture that can be read: skipped")
                continue
            name = path.relative_to(root).as_posix()
            target = votes.get(name, np.eye(len(labels), dtype=np.float32)[index])
            samples.append(Sample(name, index, target, pixels))
        if len(samples) == before:
            raise DataError(
                f"the class folder {folders[label]} holds no readable picture; fill it or remove it"
            )
    return samples


def read_picture(path: Path, colour: str) -> NDArray[np.uint8] | None:
    """(height, width) for grey, (height, width, 3) RGB for rgb; None when it cannot be decoded."""
    data = np.frombuffer(path.read_bytes(), np.uint8)
    if len(data) == 0:
        return None
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if pixels is None:
        return None
    # Grey through COLOR_RGB2GRAY, as the device makes it; a grey file comes back unchanged.
    rgb = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY) if colour == "grey" else rgb, np.uint8)


def _read_votes(root: Path, labels: Sequence[str], problems: list[str]) -> dict[str, NDArray[np.float32]]:
    """Name to shares of the dataset's labels; votes for anything else are left out."""
    path = root / VOTES
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        columns = reader.fieldnames or []
        absent = sorted({"file", *labels} - set(columns))
        if absent:
            raise DataError(f"{path} has no column {', '.join(absent)}; its columns are {', '.join(columns)}")
        votes = {}
        for row in reader:
            shares = _shares(path, row, labels)
            if shares is not None:
                votes[row["file"]] = shares
            else:
                problems.append(f"{VOTES} has no vote for any class on {row['file']}: its folder decides")
    return votes


def _shares(path: Path, row: Mapping[str, str], labels: Sequence[str]) -> NDArray[np.float32] | None:
    try:
        counts = np.array([float(row[label]) for label in labels], np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path} has a vote for {row.get('file')} that is no number: {error}") from error
    if not np.all(np.isfinite(counts)) or counts.min() < 0:
        raise DataError(f"{path} has a negative or infinite vote for {row['file']}")
    return counts / counts.sum() if counts.sum() > 0 else None


def perceptual_hash(pixels: NDArray[np.uint8]) -> int:
    """64 bits: whether each of 8x8 cells is brighter than its right neighbour (difference hash)."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA).astype(np.int16)
    return int.from_bytes(np.packbits(small[:, :-1] > small[:, 1:]).tobytes(), "big")


def near_duplicates(samples: Sequence[Sample], bits: int = NEAR_BITS) -> list[int]:
    """A group number per sample; samples whose hashes differ in at most `bits` bits share one."""
    hashes = np.array([perceptual_hash(sample.pixels) for sample in samples], np.uint64)
    parent = list(range(len(samples)))
    for start in range(0, len(hashes), 256):
        distance = np.bitwise_count(hashes[start : start + 256, None] ^ hashes[None, start:])
        for row, column in zip(*np.nonzero(distance <= bits), strict=True):
            _join(parent, start + int(row), start + int(column))
    return [_root(parent, i) for i in range(len(samples))]


def _root(parent: list[int], i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


def _join(parent: list[int], a: int, b: int) -> None:
    a, b = _root(parent, a), _root(parent, b)
    parent[max(a, b)] = min(a, b)


def named_groups(samples: Sequence[Sample], pattern: str) -> list[int]:
    """A group number per sample from the first parenthesis of `pattern` in its name (a person, a video)."""
    numbers: dict[str, int] = {}
    groups = []
    for sample in samples:
        match = re.search(pattern, sample.name)
        key = match.group(1) if match and match.groups() else sample.name
        groups.append(numbers.setdefault(key, len(numbers)))
    return groups


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
    """`train` in the part for training and the held-out part; near-copies or `pattern`'s groups together."""
    groups = named_groups(dataset.train, pattern) if pattern else near_duplicates(dataset.train)
    return split_off(dataset.train, share, seed=0, groups=groups)


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
        return "\n".join(lines + list(self.problems))


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

"""Folders of a data set: its parts, its classes, the files in them; what is passed over is counted."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from oahega_build.errors import DataError
from oahega_build.pictures.labels import label_of
from oahega_build.pictures.problems import Problems, printable
from oahega_edge.endings import PICTURES, VIDEOS, ending

PART_NAMES: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "valid": ("valid", "validation", "val", "test", "testing", "eval", "evaluation", "dev"),
}
"""How published sets name the part to train on and the part to report, the first choice first."""
NO_CLASS = (".", "@", "#", "$", "~", "__")
"""Beginnings of folders that systems make: .git, @eaDir, #recycle, $RECYCLE.BIN, __MACOSX."""
NO_CLASS_NAMES = frozenset({"lost+found", "system volume information", "recycler"})


def parts_of(root: Path, problems: Problems) -> dict[str, Path]:
    """The folders of `train` and, where there is one, `valid`; the root itself is `train` without a split.

    Raises DataError for a folder that is not there or whose split is not clear.
    """
    folders = subfolders(root)
    named = {part: _named(folders, names) for part, names in PART_NAMES.items()}
    if not any(named.values()):
        return {"train": root}
    others = [path for path in folders if path not in named["train"] + named["valid"]]
    if len(named["train"]) != 1:
        found = ", ".join(path.name for path in named["train"] + named["valid"])
        raise DataError(f"{root} is split into {found}; name exactly one of its folders train")
    _count_systems(root, problems)
    for path in others:
        problems.add("folder beside train/, not read", path.name)
    for path in named["valid"][1:]:
        problems.add(f"part not read, because {named['valid'][0].name}/ is there", path.name)
    return {part: paths[0] for part, paths in named.items() if paths}


def part_folder(root: Path, part: str) -> Path:
    """The folder of `train` or `valid` by any of its usual names; `root/part` when there is none."""
    found = _named(subfolders(root), PART_NAMES[part]) if root.is_dir() else []
    return found[0] if found else root / part


def _named(folders: list[Path], names: tuple[str, ...]) -> list[Path]:
    """The folders with these names, in the names' order: `Train`, `val_set`."""
    plain = {path: re.sub(r"[ _-]?(set|data)$", "", path.name.casefold()) for path in folders}
    return [path for name in names for path in folders if plain[path] == name]


def class_folders(folder: Path, problems: Problems) -> dict[str, Path]:
    """Label to folder. Raises DataError for a folder that can be no class and for two of one label."""
    found: dict[str, Path] = {}
    folders = subfolders(folder)
    _count_systems(folder, problems)
    for path in folders:
        _refuse_part(path)
        try:
            label = label_of(path.name)
        except DataError as error:
            raise DataError(
                f"the folder {printable(str(path))} cannot be a class: {error}; rename it to what it shows"
            ) from error
        if label in found:
            raise DataError(f"the folders {found[label]} and {path} give one label, {label!r}; rename one")
        if label != path.name.lower():
            problems.add("folder whose label is not quite its name", f"{path.name} -> {label}")
        found[label] = path
    return found


def _refuse_part(folder: Path) -> None:
    """A class that is called `test`, or is split in itself, is a data set that was given too high or low."""
    if _parts_among([folder]):
        raise DataError(f"the folder {folder} has the name of a part, not of a class; give its own folder")
    inner = [f"{path.name}/" for path in _parts_among(subfolders(folder))]
    if len(inner) > 1:
        raise DataError(
            f"{folder} holds {' and '.join(inner)}: give this folder if it is the data set; "
            f"if it is a class, put it into each part, as in train/{folder.name}"
        )


def _parts_among(folders: list[Path]) -> list[Path]:
    return [path for names in PART_NAMES.values() for path in _named(folders, names)]


def subfolders(folder: Path) -> list[Path]:
    """The folders in a folder that people made, by name. Raises DataError when `folder` is none."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give one with a folder of pictures per class")
    return sorted(path for path in folder.iterdir() if path.is_dir() and not _is_system(path.name))


def _count_systems(folder: Path, problems: Problems) -> None:
    for path in sorted(folder.iterdir()):
        if path.is_dir() and _is_system(path.name):
            problems.add("folder of the system, not read", path.name)


def files_in(folder: Path, problems: Problems, *, videos: bool = False) -> Iterator[Path]:
    """Pictures (and videos) at any depth, by name; each other file is counted by its ending."""
    yield from usable(_walk(folder, problems), folder, PICTURES | VIDEOS if videos else PICTURES, problems)


def usable(files: Iterable[Path], folder: Path, wanted: frozenset[str], problems: Problems) -> Iterator[Path]:
    """Of some files below a folder those with a wanted ending, by name; the others are counted."""
    for path in sorted(files):
        name = path.relative_to(folder).as_posix()
        if printable(name) != name:
            problems.add("file whose name is not UTF-8, passed over: rename it", name)
        elif path.name.startswith("."):
            problems.add("hidden file, passed over", path.name)
        elif ending(path) not in wanted:
            problems.add(f"file ending in {ending(path) or 'nothing'}, passed over", path.name)
        else:
            yield path


def count_loose(folder: Path, problems: Problems) -> None:
    """Count the pictures and videos that lie beside the folders of the classes, where nobody reads them."""
    for path in sorted(folder.iterdir()):
        if ending(path) in PICTURES | VIDEOS and path.is_file():
            problems.add("file outside of the classes' folders, passed over", path.name)


def _walk(folder: Path, problems: Problems) -> Iterator[Path]:
    for place, folders, names in os.walk(folder, onerror=_raise):
        for name in filter(_is_system, folders):
            problems.add("folder of the system, not read", name)
        folders[:] = [name for name in folders if not _is_system(name)]
        yield from (Path(place, name) for name in names)


def _raise(error: OSError) -> None:
    raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error


def _is_system(name: str) -> bool:
    return name.startswith(NO_CLASS) or name.lower() in NO_CLASS_NAMES

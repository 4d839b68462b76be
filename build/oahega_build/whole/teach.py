"""Verb `teach`: a bundle for expressions of one's own from a few pictures, on the trunk of another bundle."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from oahega_build.errors import BuildError
from oahega_build.runs import artifacts
from oahega_build.runs.entries import ENTRY
from oahega_build.scenes.elsewhere import FaceFinder
from oahega_build.teach.faces import Faces, read_faces
from oahega_build.teach.taught import taught
from oahega_build.whole.bundle import make_bundle
from oahega_edge.bundles.load import MANIFEST, Bundle, load_bundle
from oahega_edge.manifest import EmotionEntry


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for."""

    pictures: Path
    """A folder per class."""
    out: Path
    """The bundle's folder; an older bundle there is replaced."""
    base: Path
    """The bundle that gives detector and trunk."""
    name: str
    version: str
    key: Path | None = None
    """To sign with."""
    keep: str = ""
    """Labels of the base, with commas; `old=new` renames one."""
    anyway: bool = False
    """Make a bundle that is no better than guessing."""
    head_only: bool = False
    """Leave the trunk as it is, without comparing."""


def teach(wish: Wish) -> Path:
    """Make the bundle and say how good it is. Raises BuildError when it would be no better than guessing."""
    require_place(wish)
    base = load_bundle(wish.base)
    find = FaceFinder(wish.base).faces

    def read(entry: EmotionEntry, least_classes: int) -> Faces:
        return read_faces(wish.pictures, entry, find, least_classes)

    model = taught(wish.pictures, base, read, wish.keep, wish.anyway, wish.head_only)
    out = wish.out.resolve()
    with _place_for(out) as making:
        emotion = making / "emotion"
        emotion.mkdir()
        model.write(emotion)
        detector = _detector(making / "detector", base)
        made = make_bundle(detector, emotion, making / "bundle", wish.name, wish.version, model.decision)
        if wish.key is not None:
            from oahega_build.whole.signing import sign_bundle  # needs the package cryptography

            sign_bundle(made, wish.key)
        if out.exists():
            out.rename(making / "before")
        made.rename(out)
    return wish.out


def require_place(wish: Wish) -> None:
    """Raise BuildError where `out` holds something that is no bundle, before any work."""
    out = wish.out
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise BuildError(f"{out} holds something that is no bundle; give a new folder with --out")
    if out.exists() and not out.is_dir():
        raise BuildError(f"{out} is a file; give a new folder with --out")
    if out.resolve() in (wish.pictures.resolve(), wish.base.resolve()):
        raise BuildError(f"{out} would replace what it is made from; give a new folder with --out")


@contextmanager
def _place_for(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out` that is gone afterwards, whatever happens; a killed run's is emptied."""
    making = out.with_name(f".{out.name}.making")
    try:
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        yield making
    except OSError as error:
        raise BuildError(
            f"{out} cannot be written: {error.strerror}; make room there, or give another folder with --out"
        ) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _detector(folder: Path, base: Bundle) -> Path:
    folder.mkdir()
    entry = base.manifest.detector
    for file in (entry.cpu, entry.edgetpu):
        if file is not None:
            shutil.copyfile(base.file(file), folder / file.file)
    artifacts.write_json(folder / ENTRY, entry.model_dump(mode="json"))
    return folder

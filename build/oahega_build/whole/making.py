"""A bundle that is made from another one, and stands in its place only when it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from oahega_build.errors import BuildError
from oahega_build.runs import artifacts
from oahega_build.runs.entries import ENTRY
from oahega_build.teach.memory import MEMORY
from oahega_build.whole.bundle import make_bundle
from oahega_edge.bundles.load import MANIFEST, Bundle, seal
from oahega_edge.manifest import SuggestedDecision


@dataclass(frozen=True, slots=True)
class Order:
    """The bundle that is asked for."""

    out: Path
    """Its folder; an older bundle there is replaced."""
    base: Path
    """The bundle that gives detector and trunk."""
    name: str
    version: str
    key: Path | None = None
    """To sign with."""


@contextmanager
def made(
    order: Order,
    base: Bundle,
    write: Callable[[Path], None],
    decision: SuggestedDecision,
    remembers: bool = False,
) -> Iterator[Path]:
    """The sealed bundle in a hidden folder; it is signed and put in its place when the block has ended well.

    `write` puts the emotion model and its entry into a folder; `remembers`: what the base remembers of its
    classes holds for the new bundle, too.
    """
    out = order.out.resolve()
    with _place_for(out) as making:
        emotion = making / "emotion"
        emotion.mkdir()
        write(emotion)
        bundle = make_bundle(
            _detector(making / "detector", base),
            emotion,
            making / "bundle",
            order.name,
            order.version,
            decision,
        )
        if remembers:
            shutil.copyfile(base.path / MEMORY, bundle / MEMORY)
            seal(bundle)
        yield bundle
        if order.key is not None:
            from oahega_build.whole.signing import sign_bundle  # needs the package cryptography

            sign_bundle(bundle, order.key)
        if out.exists():
            out.rename(making / "before")
        bundle.rename(out)


def require_place(order: Order, pictures: Path) -> None:
    """Raise BuildError where `out` holds something that is no bundle, before any work."""
    out = order.out
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise BuildError(f"{out} holds something that is no bundle; give a new folder with --out")
    if out.exists() and not out.is_dir():
        raise BuildError(f"{out} is a file; give a new folder with --out")
    if out.resolve() in (pictures.resolve(), order.base.resolve()):
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

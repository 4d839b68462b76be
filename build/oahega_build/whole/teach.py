"""Verb `teach`: a bundle for expressions of one's own from a few pictures, on the trunk of another bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oahega_build.scenes.elsewhere import FaceFinder
from oahega_build.teach.faces import Faces, read_faces
from oahega_build.teach.taught import taught
from oahega_build.whole.making import Order, made, require_place
from oahega_edge.bundles.load import load_bundle
from oahega_edge.manifest import EmotionEntry


@dataclass(frozen=True, slots=True)
class Wish(Order):
    """What is asked for."""

    pictures: Path = Path()
    """A folder per class."""
    keep: str = ""
    """Labels of the base, with commas; `old=new` renames one."""
    anyway: bool = False
    """Make a bundle that is no better than guessing."""
    head_only: bool = False
    """Leave the trunk as it is, without comparing."""


def teach(wish: Wish) -> Path:
    """Make the bundle and say how good it is. Raises BuildError when it would be no better than guessing."""
    require_place(wish, wish.pictures)
    base = load_bundle(wish.base)
    find = FaceFinder(wish.base).faces

    def read(entry: EmotionEntry, least_classes: int) -> Faces:
        return read_faces(wish.pictures, entry, find, least_classes)

    model = taught(wish.pictures, base, read, wish.keep, wish.anyway, wish.head_only)
    with made(wish, base, model.write, model.decision):
        pass
    return wish.out

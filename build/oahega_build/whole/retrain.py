"""Verb `retrain`: a bundle that has learned on from the samples of a site, if it proves to be better."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from oahega_build.comparison.compare import Sets, compare
from oahega_build.comparison.paired import MARGIN, Row, Verdict
from oahega_build.comparison.sets import balanced_row
from oahega_build.errors import BuildError
from oahega_build.runs.output import say
from oahega_build.scenes.elsewhere import FaceFinder
from oahega_build.teach.faces import read_faces
from oahega_build.teach.retaught import Retaught, retaught
from oahega_build.whole.making import Order, made, require_place
from oahega_edge.bundles.load import Bundle, load_bundle

SITE = "site, cross-validated"


@dataclass(frozen=True, slots=True)
class Retraining(Order):
    """What is asked for."""

    samples: Path = Path()
    """A folder per expression with the samples of a site."""
    sets: Sets = field(default_factory=Sets)
    """On what the new bundle is compared with the base."""
    margin: float = MARGIN
    """By how much it may be worse there."""

    def completed(self, base: Bundle) -> Retraining:
        """With a name and a version where none is given."""
        manifest = base.manifest
        version = self.version or f"{manifest.version.partition('+')[0]}+site"
        return replace(self, name=self.name or manifest.name, version=version)


def retrain(wish: Retraining) -> Path:
    """Make the bundle. Raises BuildError when it is not proven better at the site, or worse elsewhere."""
    require_place(wish, wish.samples)
    base = load_bundle(wish.base)
    wish = wish.completed(base)
    faces = read_faces(wish.samples, base.manifest.emotion, FaceFinder(wish.base).faces)
    model = retaught(base, faces)
    row = site_row(model)
    for sentence in (headline(model, row), *model.remarks()):
        say(sentence)
    _require_gain(model, row)
    decision = base.manifest.emotion.suggested
    with made(wish, base, model.write, decision, remembers=True) as bundle:
        _compare(wish, row, bundle)
    return wish.out


def site_row(model: Retaught) -> Row:
    """The site's faces, none answered by a layer that had seen it."""
    old, new = (p.logits.argmax(axis=1) for p in (model.proofs.before, model.proofs.after))
    return balanced_row(SITE, old, new, model.truth, model.faces.groups)


def headline(model: Retaught, row: Row) -> str:
    """The one figure."""
    gain = row.difference
    return (
        f"balanced accuracy at the site {model.proofs.before.balanced} before, {model.proofs.after.balanced} "
        f"after, {100 * gain.value:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}], "
        f"cross-validated on {len(model.truth)} faces"
    )


def _require_gain(model: Retaught, row: Row) -> None:
    if model.useless:
        raise BuildError(
            "the labels of the samples may be guessed as well as read; no bundle was made: "
            "look at the labels again, or add samples"
        )
    if row.difference.low <= 0:
        raise BuildError(
            f"{row.items} samples do not prove that the new bundle is better at the site; "
            "no bundle was made: add samples"
        )


def _compare(wish: Retraining, row: Row, bundle: Path) -> None:
    if not wish.sets.any:
        say(
            "compared at the site alone: give --home, --elsewhere and --scenes to see what it costs elsewhere"
        )
        return
    verdict: Verdict = compare(wish.base, bundle, wish.sets, wish.margin, [row], wish.out)
    for line in verdict.lines():
        say(line)
    if not verdict.holds:
        raise BuildError(f"{verdict.sentence()}; no bundle was made")

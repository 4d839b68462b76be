"""Two bundles on every set that there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from oahega_build.comparison.paired import MARGIN, Row, Verdict
from oahega_build.comparison.sets import Both, Contestant, elsewhere, home, site
from oahega_build.emotion.evaluate import VALID_LOG, part_of
from oahega_build.errors import BuildError
from oahega_build.pictures.dataset import read_dataset
from oahega_build.runs.artifacts import log_look
from oahega_build.runs.output import held_back

VALID = "valid"


@dataclass(frozen=True, slots=True)
class Sets:
    """What there is to compare on."""

    home: Path | None = None
    """A dataset, a folder per class."""
    elsewhere: Sequence[Path] = ()
    """Folders of faces from other sources."""
    scenes: Path | None = None
    """Pictures without people, in which the faces of `home` are shown."""
    site: Path | None = None
    """A folder per class of a site's samples that neither bundle has learned from."""
    part: str = VALID
    """Of `home`."""
    sequences: int = 6
    """Each at three noise levels."""
    seconds: float = 20.0
    """Of a sequence."""
    log: Path = VALID_LOG
    """Where a look at `valid` is written down."""

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return any((self.home, self.elsewhere, self.site))

    def require(self) -> None:
        """Raises BuildError where a folder is not there, before minutes are spent on the others."""
        for folder in (self.home, *self.elsewhere, self.scenes, self.site):
            if folder is not None and not folder.is_dir():
                raise BuildError(f"{folder} is no folder; give one of pictures, or leave it out")

    def absent(self) -> Iterator[str]:
        """What is not compared, in sentences."""
        if self.home is None:
            yield "not compared at home: give --home DATA, the pictures that the old bundle was made on"
        if not self.elsewhere:
            yield "not compared elsewhere: give --elsewhere DIR, faces of another source"
        if self.scenes is None or self.home is None:
            yield "not compared in scenes and sequences: give --home and --scenes, pictures without people"


def compare(
    old: Path,
    new: Path,
    sets: Sets,
    margin: float = MARGIN,
    known: Sequence[Row] = (),
    name: Path | None = None,
) -> Verdict:
    """The verdict over all sets, after rows that are `known` already. `name`: of `new`, for the log."""
    sets.require()
    both = Both(Contestant.at(old), Contestant.at(new))
    lost = sorted(set(both.old.model.labels) - set(both.new.model.labels))
    if lost:
        raise BuildError(
            f"{name or new} does not tell {', '.join(lost)}, which {old} does; compare bundles of the same "
            "expressions, or keep them with `teach --keep`"
        )
    rows = [*known, *_rows(both, sets)]
    absent = list(sets.absent())
    if sets.site is None and not known:
        absent.append("not compared on the site: give --site DIR, a folder per expression of its samples")
    return Verdict(rows, absent, margin)


def _rows(both: Both, sets: Sets) -> Iterator[Row]:
    if sets.site is not None:
        yield _quietly(lambda folder: site(both, folder), sets.site)
    if sets.home is not None:
        yield from _at_home(both, sets, sets.home)
    for folder in sets.elsewhere:
        yield _quietly(lambda folder: elsewhere(both, folder), folder)


def _at_home(both: Both, sets: Sets, data: Path) -> Iterator[Row]:
    """Crops, and scenes and sequences made of the same faces."""
    dataset = read_dataset(data, both.old.model.entry.input.colour)
    samples = part_of(dataset, sets.part)
    rows = [_quietly(lambda _: home(both, f"home {data.name}/{sets.part}", samples, dataset.labels), data)]
    if sets.scenes is not None:
        with held_back():  # loads TensorFlow
            from oahega_build.comparison.moving import in_scenes, in_sequences
            from oahega_build.scenes.sequences import make_scenery

        stills = samples if samples[0].pixels.ndim == 2 else part_of(read_dataset(data), sets.part)
        scenery = make_scenery(stills, dataset.labels, sets.scenes)
        rows.append(_quietly(lambda _: in_scenes(both, scenery), data))
        moving = partial(in_sequences, both, scenery, sets.part, sets.sequences, sets.seconds)
        rows.append(_quietly(lambda _: moving(), data))
    if sets.part == VALID:
        shown = {row.figure: [row.old, row.new] for row in rows}
        digests = [one.model.entry.cpu.sha256[:12] for one in both.each]
        log_look(sets.log, data.name, "compare-bundles", {"sha256": digests, **shown})
    yield from rows


def _quietly(row: Callable[[Path], Row], folder: Path) -> Row:
    with held_back():  # the runtime speaks of its kernels
        return row(folder)

"""Stage `pack-faces`: voted faces and faces that other models label, to packs that travel.

What other models say of a face is trusted as far as they agree. How much each counts, their temperature and
their offsets are fitted on the part for choosing of a source elsewhere, on which nothing is trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.emotion.calibrate import Evidence, fit_operating_point, fit_powers
from oahega_build.emotion.peers import Peer, load_peers
from oahega_build.ensemble.answers import Teacher, load_teacher
from oahega_build.ensemble.pack import VOTES, Pack, as_canvas, joined, write_pack
from oahega_build.ensemble.variation import CANVAS, CROP
from oahega_build.errors import DataError
from oahega_build.pictures.dataset import (
    HELD_OUT,
    Sample,
    near_duplicates,
    perceptual_hash,
    read_dataset,
    read_picture,
    split_train,
)
from oahega_build.pictures.dataset import VOTES as VOTES_LIST
from oahega_build.pictures.framing import Framing
from oahega_build.pictures.tables import read_table
from oahega_build.runs import artifacts
from oahega_build.scenes.elsewhere import CHOOSE, FaceFinder, Source, read_source, square_of
from oahega_edge.chain.classification import softmax
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.preprocess import resize_pixels

VOTED, LABELLED = "voted.npz", "labelled.npz"
LABELLED_QUALITY = 82
TRUST = (0.5, 1.0)
"""Weight of a face on which the models disagree wholly, and on which they agree."""
WIDER = CANVAS / CROP
"""A canvas against the device's crop."""
Votes = NDArray[np.float32]
Labeller = Peer | Teacher
COPY_BITS = 4
"""A collected face as near as this to one of a source elsewhere is left out: it may be the same picture."""


def pack_faces(
    voted: Sequence[Path],
    collected: Path | None,
    peers: Sequence[Path],
    teachers: Sequence[tuple[Path, str]],
    elsewhere: Path | None,
    detector: Path,
    labels: Sequence[str],
    artifacts_folder: Path,
    run_name: str,
) -> Path:
    """`artifacts/pack-faces/<run>/` with voted.npz and, where faces were collected, labelled.npz.

    `voted`: datasets with `votes.csv` over all of VOTES, with classes or without. `collected`: a run of
    `collect` with the recipe `collect_unlabelled`, which the models in the folders `peers` and `teachers` (a
    run of `train-ensemble` and a name) label. Raises BuildError.
    """
    described = {"voted": [p.name for p in voted], "collected": collected.name if collected else None}
    with artifacts.open_run(artifacts_folder, "pack-faces", run_name, described) as run:
        pack = joined([read_voted(root) for root in voted])
        write_pack(run.folder / VOTED, pack, CROP)
        figures = {"voted": len(pack), "held_out": int(pack.held_out.sum())}
        if collected is not None:
            if elsewhere is None:
                raise DataError("collected faces need --elsewhere, where their labellers' answers are fitted")
            source = read_source(elsewhere, labels, CHOOSE, FaceFinder(detector))
            models: list[Labeller] = [peer for folder in peers for peer in load_peers(folder)]
            models += [load_teacher(source_run, name) for source_run, name in teachers]
            labelled = read_labelled(collected, models, source)
            write_pack(run.folder / LABELLED, labelled, quality=LABELLED_QUALITY)
            figures["labelled"] = len(labelled)
        run.write_metrics(figures)
    return run.finished


def read_voted(root: Path) -> Pack:
    """The faces of `root/train` with their votes; about a tenth of them held out, near-copies together."""
    votes = _votes_of(root)
    if _has_classes(root):
        training, chosen = split_train(read_dataset(root))
        samples = [*training, *chosen]
        held_out = np.arange(len(samples)) >= len(training)
    else:
        names = [name for name in votes if name.startswith("train/")]
        samples = [_sample(root, name) for name in names]
        held_out = _tenth(samples)
    side = samples[0].pixels.shape[0] if samples else 0
    if not samples or any(s.pixels.shape != (CROP, CROP) for s in samples):
        raise DataError(f"{root} needs square grey faces of {CROP} px, found {side} px or none")
    shares = np.stack([votes[s.name] / votes[s.name].sum() for s in samples])
    canvas = as_canvas(np.stack([s.pixels for s in samples]))
    return Pack(canvas, shares, np.ones(len(samples), np.float32), held_out)


def _votes_of(root: Path) -> dict[str, NDArray[np.float32]]:
    try:
        table = read_table(root / VOTES_LIST, {"file", *VOTES})
        return {
            table.path_in(row["file"]): np.array([table.number(row[vote]) for vote in VOTES], np.float32)
            for row in table.rows
        }
    except (DataError, ValueError) as error:
        raise DataError(
            f"{root / VOTES_LIST} holds no votes for {', '.join(VOTES)} ({type(error).__name__})"
        ) from error


def _has_classes(root: Path) -> bool:
    return any(path.is_dir() for path in (root / "train").iterdir())


def _sample(root: Path, name: str) -> Sample:
    pixels = read_picture(root / name, "grey")
    if pixels is None:
        raise DataError(f"{root / name} cannot be read, though {VOTES_LIST} lists it")
    return Sample(name, 0, np.ones(1, np.float32), pixels)


def _tenth(samples: Sequence[Sample]) -> NDArray[np.bool_]:
    first: dict[int, str] = {}
    groups = near_duplicates(samples)
    for sample, group in zip(samples, groups, strict=True):
        first.setdefault(group, sample.name)
    every = round(1 / HELD_OUT)
    drawn = [int(hashlib.sha256(first[group].encode()).hexdigest(), 16) % every == 0 for group in groups]
    return np.array(drawn)


def read_labelled(collected: Path, models: Sequence[Labeller], chosen_on: Source) -> Pack:
    """Collected faces with what `models` say of them together. Raises DataError without faces or models."""
    paths = sorted((collected / "faces").rglob("*.png"))
    pictures = [p for path in paths if (p := read_picture(path, "rgb")) is not None]
    if not pictures or not models:
        raise DataError(f"{collected} holds no collected faces, or no models are there to label them")
    seen = np.array([perceptual_hash(square_of(face)) for face in chosen_on.faces], np.uint64)
    pictures = [p for p in pictures if _bits_apart(_inner(p), seen) > COPY_BITS]
    known, said = zip(*(_votes_by(model, pictures, chosen_on) for model in models), strict=True)
    agreed = np.min(said, axis=0).sum(axis=1)
    weight = TRUST[0] + (TRUST[1] - TRUST[0]) * agreed
    canvas = np.stack([_on_canvas(p) for p in pictures])
    nothing_held_out = np.zeros(len(pictures), np.bool_)
    return Pack(canvas, _together(known, said, chosen_on), weight.astype(np.float32), nothing_held_out)


def _votes_by(model: Labeller, pictures: Sequence[Pixels], chosen_on: Source) -> tuple[Votes, Votes]:
    """Of the faces of `chosen_on` and of pictures, at the temperature and offsets that suit the former."""
    faces = chosen_on.faces
    there = _log_answers(model, [square_of(f) for f in faces], [square_of(f, WIDER) for f in faces])
    asked = _log_answers(model, [_inner(p) for p in pictures], pictures)
    own = [model.labels.index(label) for label in chosen_on.labels]
    truth = np.eye(len(own))[[face.label for face in faces]]
    temperature, offsets = fit_operating_point([Evidence(there[:, own], truth, balanced=1.0)])
    all_offsets = np.zeros(len(model.labels))
    all_offsets[own] = offsets
    column = np.zeros((len(model.labels), len(VOTES)), np.float32)
    for row, label in enumerate(model.labels):  # one that nobody voted for, as ahegao, is unknown
        column[row, VOTES.index(label if label in VOTES else "unknown")] = 1
    known, said = (softmax(each / temperature + all_offsets) @ column for each in (there, asked))
    return known.astype(np.float32), said.astype(np.float32)


def _together(known: Sequence[Votes], said: Sequence[Votes], chosen_on: Source) -> Votes:
    """The models' votes as a product of powers, which are fitted on `chosen_on`, where they gave `known`.

    What they give to other votes than its labels is their mean, weighted with the powers.
    """
    own = [VOTES.index(label) for label in chosen_on.labels]
    truth = np.array([face.label for face in chosen_on.faces])
    powers, offsets = fit_powers([_logs(votes[:, own]) for votes in known], truth)
    others = np.average(said, axis=0, weights=powers + 1e-6)
    logs = sum(power * _logs(votes[:, own]) for power, votes in zip(powers, said, strict=True))
    others[:, own] = softmax(logs + offsets) * others[:, own].sum(axis=1, keepdims=True)
    return np.asarray(others, np.float32)


def _logs(shares: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.maximum(shares, 1e-6)), np.float64)


def _log_answers(model: Labeller, tight: Sequence[Pixels], wide: Sequence[Pixels]) -> NDArray[np.float64]:
    """Two looks at each face, added: at the device's crop, and at a wider one or at its mirror image."""
    second = [np.ascontiguousarray(p[:, ::-1]) for p in tight] if isinstance(model, Teacher) else wide
    first, other = (_logs(model.probabilities(each, Framing())) for each in (tight, second))
    return first + other


def _inner(picture: Pixels) -> Pixels:
    """The device's crop of a face that was collected with a margin."""
    side = picture.shape[0]
    edge = round(side * (1 - 1 / WIDER) / 2)
    return np.ascontiguousarray(picture[edge : side - edge, edge : side - edge])


def _on_canvas(picture: Pixels) -> NDArray[np.uint8]:
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)
    return resize_pixels(grey, (CANVAS, CANVAS), "area" if len(grey) >= CANVAS else "linear")


def _bits_apart(picture: Pixels, hashes: NDArray[np.uint64]) -> int:
    return int(np.bitwise_count(hashes ^ np.uint64(perceptual_hash(picture))).min())

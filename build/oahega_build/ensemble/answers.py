"""Stage `answer-pack`: what trained teachers say of a pack's faces, into another pack.

A student then learns from votes and answers together without its teachers, which makes its training as cheap
as the student itself (offline distillation).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from oahega_build.ensemble.lesson import load_weights
from oahega_build.ensemble.pack import VOTES, Pack, joined, read_pack, write_pack
from oahega_build.ensemble.recipe import recipe_of
from oahega_build.ensemble.train import build_net, weights_of
from oahega_build.ensemble.variation import CROP, STORED, View, as_real, crop
from oahega_build.errors import RunError
from oahega_build.pictures.framing import Framing, crop_sample, square_framing
from oahega_build.runs.artifacts import open_run
from oahega_edge.chain.frame import Pixels
from oahega_edge.manifest import InputTensor

ANSWERED = "faces.npz"
BATCH = 64
SEEN = InputTensor(width=CROP, height=CROP, colour="grey", dtype="float32", pixel_scale=1.0, pixel_offset=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """A teacher of our own that labels faces."""

    name: str
    net: keras.Model
    view: View = STORED
    labels: tuple[str, ...] = VOTES

    def probabilities(self, pictures: Sequence[Pixels], framing: Framing) -> NDArray[np.float64]:
        """(pictures, VOTES) for the device's crops, grey or RGB, of any size."""
        framing = replace(square_framing(self.view.side, self.view.lower), kernel=framing.kernel)
        faces = np.stack([crop_sample(p, framing, SEEN) for p in pictures])
        said = [_said((self.net,), faces[i : i + BATCH]) for i in range(0, len(faces), BATCH)]
        return np.concatenate(said).astype(np.float64)


def load_teacher(source: Path, name: str) -> Teacher:
    """A teacher of a run of `train-ensemble`. Raises RunError."""
    recipe = recipe_of(source)
    path = weights_of(source, name)
    if name not in recipe.teachers or not path.is_file():
        raise RunError(f"{source} holds no teacher {name!r}; it has {', '.join(recipe.teachers)}")
    net = build_net(recipe.teachers[name], len(VOTES))
    load_weights(path, name, net)
    return Teacher(name, net, recipe.view)


def answer_pack(
    source: Path, teachers: Sequence[str], packs: Sequence[Path], share: float, artifacts: Path, run_name: str
) -> Path:
    """`artifacts/answer-pack/<run>/faces.npz`: the packs' faces, `share` of their votes from the teachers.

    Held-out faces keep their votes. What teachers answer is trusted wholly. Raises BuildError.
    """
    nets = [load_teacher(source, name).net for name in teachers]
    view = recipe_of(source).view
    described = {"source": source.name, "teachers": teachers, "packs": packs, "share": share}
    with open_run(artifacts, "answer-pack", run_name, described) as run:
        pack = joined([read_pack(path) for path in packs])
        asked = np.flatnonzero(~pack.held_out)
        votes, weight = pack.votes.copy(), pack.weight.copy()
        votes[asked] = (1 - share) * votes[asked] + share * _answers(nets, pack.canvas[asked], view)
        weight[asked] = 1.0
        write_pack(run.folder / ANSWERED, Pack(pack.canvas, votes, weight, pack.held_out))
        run.write_metrics({"faces": len(pack), "answered": len(asked)})
    return run.finished


def _answers(nets: Sequence[keras.Model], canvas: NDArray[np.uint8], view: View) -> NDArray[np.float32]:
    """(n, VOTES): the mean of the teachers on each face, every second one mirrored."""
    answers = []
    for start in range(0, len(canvas), BATCH):
        faces = ops.convert_to_numpy(crop(canvas[start : start + BATCH], view))
        faces[1::2] = faces[1::2, :, ::-1]
        answers.append(_said(nets, faces))
    return np.concatenate(answers)


def _said(nets: Sequence[keras.Model], faces: NDArray[np.generic]) -> NDArray[np.float32]:
    """(n, VOTES): the mean of the nets on crops (n, CROP, CROP)."""
    real = np.asarray(as_real(faces.astype(np.float32)))[..., None]
    said = [ops.convert_to_numpy(ops.softmax(net(real, training=False))) for net in nets]
    return np.asarray(np.mean(said, axis=0), np.float32)

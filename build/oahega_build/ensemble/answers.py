"""Stage `answer-pack`: what trained teachers say of a pack's faces, into another pack.

A student then learns from votes and answers together without its teachers, which makes its training as cheap
as the student itself (offline distillation).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from oahega_build.ensemble.lesson import load_weights
from oahega_build.ensemble.pack import VOTES, Pack, joined, read_pack, write_pack
from oahega_build.ensemble.recipe import recipe_of
from oahega_build.ensemble.train import build_net, weights_of
from oahega_build.ensemble.variation import as_real, crop
from oahega_build.errors import RunError
from oahega_build.runs.artifacts import open_run

ANSWERED = "faces.npz"
BATCH = 64


def answer_pack(
    source: Path, teachers: Sequence[str], packs: Sequence[Path], share: float, artifacts: Path, run_name: str
) -> Path:
    """`artifacts/answer-pack/<run>/faces.npz`: the packs' faces, `share` of their votes from the teachers.

    Held-out faces keep their votes. What teachers answer is trusted wholly. Raises BuildError.
    """
    recipe = recipe_of(source)
    nets = []
    for name in teachers:
        path = weights_of(source, name)
        if name not in recipe.teachers or not path.is_file():
            raise RunError(f"{source} holds no teacher {name!r}; it has {', '.join(recipe.teachers)}")
        nets.append(build_net(recipe.teachers[name], len(VOTES)))
        load_weights(path, name, nets[-1])
    described = {"source": source.name, "teachers": teachers, "packs": packs, "share": share}
    with open_run(artifacts, "answer-pack", run_name, described) as run:
        pack = joined([read_pack(path) for path in packs])
        asked = np.flatnonzero(~pack.held_out)
        votes, weight = pack.votes.copy(), pack.weight.copy()
        votes[asked] = (1 - share) * votes[asked] + share * _answers(nets, pack.canvas[asked])
        weight[asked] = 1.0
        write_pack(run.folder / ANSWERED, Pack(pack.canvas, votes, weight, pack.held_out))
        run.write_metrics({"faces": len(pack), "answered": len(asked)})
    return run.finished


def _answers(nets: Sequence[keras.Model], canvas: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(n, VOTES): the mean of the teachers on each face, every second one mirrored."""
    answers = []
    for start in range(0, len(canvas), BATCH):
        real = ops.convert_to_numpy(as_real(crop(canvas[start : start + BATCH])))[..., None]
        real[1::2] = real[1::2, :, ::-1]
        said = [ops.convert_to_numpy(ops.softmax(net(real, training=False))) for net in nets]
        answers.append(np.mean(said, axis=0))
    return np.concatenate(answers)

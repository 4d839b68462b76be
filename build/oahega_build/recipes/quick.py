"""A first look at one's own pictures: a short search, a small teacher, a smaller student, bundle, report.

Command: python -m oahega_build all --dataset FACES --out OUT --recipe quick
Cost: 612 pictures in six classes: 134 core seconds, so one to two minutes on two idle cores; 11 minutes by
    the clock beside a training that owned both cores (2026-11-24). With nothing to do: 2 core seconds.
    `tests/training/bench_all.py` measures it.
Expected: a bundle that runs and a report that shows where the labels and classes are weak. Drawn faces:
    25 kB, .989 [.967, 1.000] right of 92 set aside. For figures to rely on take `emotion_everything`, which
    trains the models of the embedded bundle.
"""

from oahega_build.emotion.recipe import EmotionRecipe
from oahega_build.experiments.prune_recipe import PruneRecipe
from oahega_build.experiments.tune import TuneRecipe
from oahega_build.models.trunk import Block, Trunk
from oahega_build.recipes.collect_default import RECIPE as COLLECT
from oahega_build.whole.recipe import EverythingRecipe

_TEACHER = EmotionRecipe(
    trunk=Trunk(
        stem_channels=16,
        blocks=(Block(32, 2, "dense"), Block(64, 2, "dense"), Block(64, 1, residual=True), Block(96, 2)),
    ),
    batch=32,
    balance=0.5,
    average=0.99,
    warm_up_epochs=0.5,
)
_STUDENT = EmotionRecipe(
    trunk=Trunk(
        stem_channels=8, blocks=(Block(16, 2, "dense"), Block(32, 2, "dense"), Block(48, 2), Block(48, 1))
    ),
    batch=32,
    balance=0.5,
    average=0.99,
    warm_up_epochs=0.5,
    epochs=20,
    learning_rate=4e-3,
    distil_share=0.6,
)

RECIPE = EverythingRecipe(
    student=_STUDENT,
    student_recipe="quick",
    tune=TuneRecipe(
        _TEACHER,
        epochs=(12, 20),
        class_weights_mu=(0.3, 1.0),
        batch=(16, 32),
        dropout=(0.0, 0.4),
        learning_rate=(1e-3, 8e-3),
        l2=(1e-6, 1e-3),
        fine_tuned=(),
        dense=(0, 2),
        dense_units=64,
        trials=5,
        random_trials=3,
        patience=4,
    ),
    twin=True,
    prune=PruneRecipe(channels=(0.75,), magnitudes=(0.5,), epochs=6),
    collect=COLLECT,
    pictures_per_second=900,
)

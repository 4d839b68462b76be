"""All of it in little, for the tests."""

import dataclasses

from oahega_build.emotion.inputs import NO_AUGMENTATION
from oahega_build.emotion.recipe import EmotionRecipe
from oahega_build.experiments.prune_recipe import PruneRecipe
from oahega_build.experiments.tune import TuneRecipe
from oahega_build.models.trunk import Block, Trunk
from oahega_build.whole.recipe import EverythingRecipe

NET = EmotionRecipe(
    trunk=Trunk(stem_channels=16, blocks=(Block(16, 2, "dense"), Block(32, 2))),
    side=24,
    augmentation=NO_AUGMENTATION,
    batch=8,
    epochs=2,
    average=0.5,
    warm_up_epochs=0.1,
    learning_rate=5e-3,
    dropout=0.1,
    held_out=0.25,
)
RECIPE = EverythingRecipe(
    student=dataclasses.replace(NET, distil_share=0.5),
    student_recipe="tiny",
    tune=TuneRecipe(
        NET,
        class_weights_mu=(0.5, 1.0),
        epochs=(2, 2),
        batch=(8, 8),
        learning_rate=(2e-3, 8e-3),
        l2=(1e-6, 1e-5),
        fine_tuned=(),
        dense=(0, 1),
        dense_units=16,
        trials=2,
        random_trials=2,
    ),
    twin=True,
    prune=PruneRecipe(channels=(0.5,), magnitudes=(0.5,), epochs=1),
)

"""`all` from videos of real people in little: YuNet finds the faces."""

import dataclasses

from oahega_build.labelling.collect import CollectRecipe
from oahega_build.labelling.teachers import TeacherSpec
from tiny_all import NET
from tiny_all import RECIPE as TINY

RECIPE = dataclasses.replace(
    TINY,
    student=dataclasses.replace(NET, epochs=4),
    tune=None,
    prune=None,
    test_share=0.25,
    collect=CollectRecipe(
        TeacherSpec("yunet", ("teachers/yunet/yunet_n_640_640.onnx",), {}, least=0.5, side=320),
        every=4,
        min_sharpness=0.0,
    ),
)

"""Faces by YuNet, one in five frames, at least 40 px, no near-copies within a video.

Command: python -m oahega_build collect --source MY-VIDEOS --data DATA --recipe collect_default
Cost: 331 looked-at frames of five clips and a picture took 47 s on one busy core (YuNet at 640 px, decoding).
Expected: artifacts/collect/default/faces/<class>/*.png; those clips gave 26 faces, 26 near-copies were left.
"""

from oahega_build.labelling.collect import CollectRecipe
from oahega_build.labelling.teachers import TeacherSpec

RECIPE = CollectRecipe(
    TeacherSpec("yunet", ("teachers/yunet/yunet_n_640_640.onnx",), {}, least=0.5, side=640),
)

"""Labels for small and covered faces: `label_shared` with YuNet at 960 px as well, and a second YuNet.

Command: python -m oahega_build label --data DATA --recipe label_far_faces --run far --processes 2
Cost: about 35 core minutes for 5,977 pictures.
Expected: on the 265 hand-boxed pictures of `crowds`, .86 of the faces become boxes (`label_shared`: .78) and
.04 lie in ignore regions; at least .79 of the boxes are right, as far faces are not all boxed there.
"""

import dataclasses

from oahega_build.labelling.label import Trust
from oahega_build.labelling.teachers import TeacherSpec
from oahega_build.recipes.label_shared import COCO_SSD, YOLO_FASTEST, YUNET
from oahega_build.recipes.label_shared import RECIPE as SHARED

ENLARGED = dataclasses.replace(YUNET, side=960, most_enlarged=2.5)
SMALLER_NET = TeacherSpec("yunet", ("teachers/yunet/yunet_s_640_640.onnx",), {}, least=0.5, side=640)

RECIPE = dataclasses.replace(
    SHARED,
    teachers=(
        Trust(YUNET, sure=0.7, likely=0.35),
        Trust(ENLARGED, sure=0.75, likely=0.4),
        Trust(SMALLER_NET, sure=0.85, likely=0.5),
        Trust(YOLO_FASTEST, sure=0.6, likely=0.2),
        Trust(COCO_SSD, sure=0.65, likely=0.35),
    ),
    shards=16,
)

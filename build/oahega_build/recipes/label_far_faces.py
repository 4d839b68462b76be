"""Labels for small faces: YuNet at 960 px where there are some, persons by three detectors.

Command: python -m oahega_build label --data DATA --recipe label_far_faces --run far
Cost: about 15 core minutes for 5,977 pictures.
Expected: on the 265 hand-boxed pictures of `crowds`, YuNet's AP50 is .805 at 960 px and .794 at 640.

The detector of bundle 0.3.0, which lies below the data folder, finds more persons than the two teachers of
`label_shared`: AP50 .618 on pictures of another source, the stock COCO SSD .407. What one
of the three is sure of is a box, and so is what two of them think likely.
"""

import dataclasses

from oahega_build.labelling.label import Trust
from oahega_build.labelling.teachers import TeacherSpec
from oahega_build.recipes.label_shared import COCO_SSD, YOLO_FASTEST, YUNET
from oahega_build.recipes.label_shared import RECIPE as SHARED

ENLARGED = dataclasses.replace(YUNET, least=0.25, side=960)
PORTRAIT = dataclasses.replace(YUNET, least=0.25, most_enlarged=2.0)
EARLIER = TeacherSpec("bundle", ("bundles/oahega-default-0.3.0",), {1: "person"}, least=0.15)

RECIPE = dataclasses.replace(
    SHARED,
    teachers=(
        Trust(ENLARGED, sure=0.65, likely=0.25, sets=("street", "clothing", "animals")),
        Trust(PORTRAIT, sure=0.65, likely=0.25, sets=("portraits", "lfw")),
        Trust(EARLIER, sure=0.7, likely=0.2),
        Trust(YOLO_FASTEST, sure=0.6, likely=0.2),
        Trust(COCO_SSD, sure=0.65, likely=0.35),
    ),
    shards=16,
)

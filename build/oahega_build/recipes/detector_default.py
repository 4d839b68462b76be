"""A detector from the stock COCO SSD's own trunk: width 0.75 cut at stride 16, 320x240 (bundle 0.2.1).

Command: python -m oahega_build label --data DATA --recipe label_shared --run shared
         python -m oahega_build train-detector --data DATA --recipe detector_default
Cost: about 35 minutes on 2 cores (16 epochs of 4,800 examples).
Expected (valid, int8): 1,280,864 bytes, .19 to .23 of the stock COCO SSD's time; persons of `street`
AP50 .66 (the SSD .49); faces: recall .83 / .95 / .99 at 5-10 / 10-25 / over 25 % of the picture's
height, precision .97.

The trunk of width 0.75 without its last two blocks costs less than a whole one of width 0.5, and it comes
with weights that have seen persons. The stem and the first three blocks keep them.
"""

from oahega_build.detector.recipe import DetectorRecipe
from oahega_build.models.ssd_net import SsdNet
from oahega_build.models.trunk import Trunk

DATA_TERMS = (
    "detection/street: Roboflow Universe capston2 (siwookim), CC BY 4.0 as declared by the uploader; "
    "COCO photos among them under their own terms.",
    "detection/clothing: Clothing Co-Parsing, Apache-2.0 repository; the photos' own terms are unclear.",
    "detection/portraits: Automatic Portrait Segmentation set, Flickr photos; terms unclear.",
    "detection/lfw: Labeled Faces in the Wild; for research.",
    "detection/animals: animal photos without people; terms unclear.",
    "Started from the stock COCO SSD-MobileNetV1 (Apache-2.0, TensorFlow model zoo), trained on COCO.",
    "Faces labelled by YuNet (Apache-2.0), persons completed by Yolo-Fastest 1.1-xl and the stock COCO SSD.",
)

RECIPE = DetectorRecipe(
    records="shared",
    net=SsdNet(
        width=320,
        height=240,
        trunk=Trunk(width=0.75, batch_norm=False),
        trunk_stride=16,
        extras=(128, 128),
        neck=64,
        neck_until=16,
    ),
    start="teachers/coco_ssd_mobilenet_v1/detect.tflite",
    frozen_blocks=3,
    shares={"street": 0.36, "clothing": 0.16, "portraits": 0.24, "lfw": 0.14, "animals": 0.10},
    epochs=16,
    examples=4800,
    box_weight=0.5,
    data_terms=DATA_TERMS,
)

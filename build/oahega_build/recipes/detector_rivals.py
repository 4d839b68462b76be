"""Whom a detector is measured against: the stock COCO SSD for persons, YuNet_s at 320 px for faces.

Command: python -m oahega_build evaluate-detector FOLDER --data DATA --recipe detector_rivals
Cost: about a minute for the 675 pictures of `valid`.
Expected: the stock COCO SSD reaches AP50 .48 on the persons of `street` (ten detections, its own NMS).
"""

from oahega_build.detector.evaluate import Rivals
from oahega_build.labelling.teachers import TeacherSpec
from oahega_build.recipes.label_shared import YUNET

RECIPE = Rivals(
    persons=TeacherSpec(
        "tflite", ("teachers/coco_ssd_mobilenet_v1/detect.tflite",), {0: "person"}, least=0.0
    ),
    faces=TeacherSpec("yunet", ("teachers/yunet/yunet_s_640_640.onnx",), {}, least=0.02, side=320),
    reference=YUNET,
)

"""Labels for the five sets of `detection/`: YuNet for faces, Yolo-Fastest and the stock COCO SSD for persons.

Command: python -m oahega_build label --data DATA --recipe label_shared
Cost: about 9 core minutes for 5,977 pictures (640 px for YuNet).
Expected: 20 shards of train, held and valid; about one face a picture in lfw and portraits, none in animals.

Yolo-Fastest's persons from score .6 on were right in 92 % of the cases on street/train (IoU .5), the
SSD's in 91 %; from .2 and .35 on in 63 % and about 40 %.
"""

from oahega_build.labelling.label import LabelRecipe, SourceSet, Trust
from oahega_build.labelling.teachers import TeacherSpec

YUNET = TeacherSpec("yunet", ("teachers/yunet/yunet_n_640_640.onnx",), {}, least=0.3, side=640)
YOLO_FASTEST = TeacherSpec(
    "darknet",
    (
        "teachers/yolo_fastest/yolo-fastest-1.1-xl.cfg",
        "teachers/yolo_fastest/yolo-fastest-1.1-xl.weights",
    ),
    {0: "person"},
    least=0.2,
    side=320,
)
COCO_SSD = TeacherSpec("tflite", ("teachers/coco_ssd_mobilenet_v1/detect.tflite",), {0: "person"}, least=0.35)

RECIPE = LabelRecipe(
    sets=(
        SourceSet("street", "detection/street", complete=("person",)),
        SourceSet("clothing", "detection/clothing"),
        SourceSet("portraits", "detection/portraits"),
        SourceSet("lfw", "detection/lfw"),
        SourceSet("animals", "detection/animals", complete=("face", "person")),
    ),
    teachers=(
        Trust(YUNET, sure=0.7, likely=0.3),
        Trust(YOLO_FASTEST, sure=0.6, likely=0.2),
        Trust(COCO_SSD, sure=0.65, likely=0.35),
    ),
    shards=8,
)

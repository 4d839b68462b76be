"""For small, covered and crowded faces, with three fifths of the multiply-adds of the embedded detector.

Command: python -m oahega_build label --data DATA --recipe label_far_faces --run far
         python -m oahega_build train-detector --data DATA --recipe detector_far --run far
Cost: 27 epochs of 300 steps in 65 minutes (--seconds 3900) on two cores with AMX and other work beside it.
Expected: 293 million multiply-adds, 841,072 bytes int8; faces: AP50 .959 on `valid` and .629 on `crowds`;
persons .812. `detector_far_finish` goes on from it.

The trunk is that of `detector_default`, but six of its pointwise layers, which cost the most, go through 48
or 64 channels. They start as principal components of the whole layers, all other layers from bundle 0.3.0,
which lies below the data folder. Many examples are crowds: small scenes side by side on one input. Many faces
are behind something that is drawn over them.
"""

from oahega_build.detector.examples.augmentation import Augmentation
from oahega_build.detector.examples.pasting import Pasting
from oahega_build.detector.recipe import DetectorRecipe
from oahega_build.detector.targets import Matching
from oahega_build.models.anchors import Ladder
from oahega_build.models.ssd_net import SsdNet
from oahega_build.models.trunk import MOBILENET_V1, Block, Trunk
from oahega_build.recipes.detector_default import DATA_TERMS
from oahega_edge.manifest import COVERED_FACE

BLOCKS = (*MOBILENET_V1[:4], Block(256, rank=64), MOBILENET_V1[5], *(Block(512, rank=48),) * 5)

RECIPE = DetectorRecipe(
    records="far",
    labels=("face", "person", COVERED_FACE),
    net=SsdNet(
        trunk=Trunk(width=0.75, batch_norm=False, blocks=BLOCKS),
        extras=(128, 128),
        extra_blocks=2,
        neck=64,
        neck_until=32,
    ),
    ladders=(
        Ladder("face", (6, 9, 13, 18, 26, 38, 56, 82, 120, 175, 260)),
        Ladder("person", (12, 30, 60, 110, 170, 250), shapes=2),
        Ladder(COVERED_FACE, (13, 18, 26, 38, 56, 82, 120, 175, 260)),
    ),
    exported="bundles/oahega-default-0.3.0/detector.tflite",
    frozen_blocks=3,
    shares={"street": 0.36, "clothing": 0.16, "portraits": 0.22, "lfw": 0.14, "animals": 0.12},
    augmentation=Augmentation(
        mosaic=0.15,
        crowd=0.3,
        covered=0.4,
        pasted=0.3,
        modes={"fit": 0.35, "zoom_out": 0.2, "zoom_in": 0.25, "face": 0.2},
    ),
    faces="emotion/ferplus",
    pasting=Pasting(most=5, heights=(9.0, 115.0), heads=0.6),
    matching=Matching(best_least=0.2),
    epochs=30,
    examples=4_800,
    box_weight=2.0,
    data_terms=(
        *(terms for terms in DATA_TERMS if "labelled by" not in terms),
        "Faces labelled by YuNet (Apache-2.0), persons completed by Yolo-Fastest 1.1-xl, the stock COCO SSD "
        "and the detector of bundle 0.3.0.",
        "emotion/ferplus: FER2013 faces pasted into scenes; labels MIT (FER+), the photos carry no licence.",
    ),
)

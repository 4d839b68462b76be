"""For small, covered and crowded faces, with three fifths of the multiply-adds of the embedded detector.

Command: python -m oahega_build label --data DATA --recipe label_far_faces --run far
         python -m oahega_build train-detector --data DATA --recipe detector_far --run far
Cost: 24 epochs of 300 steps; a step took 1.0 seconds on two cores that had other work beside it.
Expected: 291 million multiply-adds, 591,528 bytes; after 13 epochs AP50 .606 on `crowds`, and persons .749
on `valid`, which is worse than bundle 0.3.0 (.859). Not trained to its end yet.

The trunk is that of `detector_default` without its last four blocks, and all layers start from bundle
0.3.0, which lies below the data folder. Many examples are crowds: small scenes side by side on one input.
Many faces are behind something that is drawn over them.
"""

from oahega_build.detector.examples.augmentation import Augmentation
from oahega_build.detector.examples.pasting import Pasting
from oahega_build.detector.recipe import DetectorRecipe
from oahega_build.detector.targets import Matching
from oahega_build.models.anchors import Ladder
from oahega_build.models.ssd_net import SsdNet
from oahega_build.models.trunk import MOBILENET_V1, Trunk
from oahega_build.recipes.detector_default import DATA_TERMS
from oahega_edge.manifest import COVERED_FACE

RECIPE = DetectorRecipe(
    records="far",
    labels=("face", "person", COVERED_FACE),
    net=SsdNet(
        trunk=Trunk(width=0.75, batch_norm=False, blocks=MOBILENET_V1[:7]), extras=(128, 128), neck=64
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
    epochs=24,
    examples=4_800,
    box_weight=2.0,
    data_terms=(
        *(terms for terms in DATA_TERMS if "labelled by" not in terms),
        "Faces labelled by YuNet (Apache-2.0), persons completed by the detector of bundle 0.3.0.",
        "emotion/ferplus: FER2013 faces pasted into scenes; labels MIT (FER+), the photos carry no licence.",
    ),
)

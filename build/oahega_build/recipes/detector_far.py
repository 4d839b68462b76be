"""The embedded detector: small, covered and crowded faces, for half the multiply-adds of `detector_default`.

Command: python -m oahega_build label --data DATA --recipe label_far_faces --run far
         python -m oahega_build train-detector --data DATA --recipe detector_far --run far
Cost: about 8 minutes on a GPU (below), some 10 hours on two cores.
Expected: 227 million multiply-adds, 0.7 MB.

On a GPU: `pack-labels --run far`, then with KERAS_BACKEND=jax the same command with `--processes --workers 8
--precision mixed_bfloat16`, and `export-detector` where there is TensorFlow.

A trunk of width 0.5 from ImageNet. Many examples are crowds: small scenes side by side on one input. Many
faces are behind something that is drawn over them.
"""

from oahega_build.detector.examples.augmentation import Augmentation
from oahega_build.detector.examples.pasting import Pasting
from oahega_build.detector.recipe import DetectorRecipe
from oahega_build.detector.targets import Matching
from oahega_build.models.anchors import Ladder
from oahega_build.models.ssd_net import SsdNet
from oahega_build.models.trunk import Trunk
from oahega_build.recipes.detector_default import DATA_TERMS

RECIPE = DetectorRecipe(
    records="far",
    net=SsdNet(trunk=Trunk(width=0.5), extras=(128, 128), neck=64),
    ladders=(
        Ladder("face", (6, 9, 13, 18, 26, 38, 56, 82, 120, 175, 260)),
        Ladder("person", (12, 30, 60, 110, 170, 250), shapes=2),
    ),
    start="init/mobilenet_v1_0.5_160_quant.tflite",
    shares={"street": 0.36, "clothing": 0.16, "portraits": 0.22, "lfw": 0.14, "animals": 0.12},
    augmentation=Augmentation(
        mosaic=0.15,
        crowd=0.4,
        covered=0.4,
        pasted=0.3,
        modes={"fit": 0.35, "zoom_out": 0.2, "zoom_in": 0.25, "face": 0.2},
    ),
    faces="emotion/ferplus",
    pasting=Pasting(most=5, heights=(9.0, 115.0), heads=0.6),
    matching=Matching(best_least=0.2),
    epochs=20,
    examples=25_600,
    batch=256,
    learning_rate=2e-3,
    warmup=150,
    average=0.998,
    box_weight=2.0,
    data_terms=(
        *(terms for terms in DATA_TERMS if "labelled by" not in terms and "Started from" not in terms),
        "Started from an ImageNet-trained MobileNetV1 (Apache-2.0, google-coral/test_data).",
        "Faces labelled by YuNet (Apache-2.0), persons completed by the detector of bundle 0.3.0.",
        "emotion/ferplus: FER2013 faces pasted into scenes; labels MIT (FER+), the photos carry no licence.",
    ),
)

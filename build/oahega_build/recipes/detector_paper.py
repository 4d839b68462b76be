"""The paper's own detector: MobileNetV1-SSD of width 1.0 at 300x300 with maps from stride 16 on.

Command: python -m oahega_build train-detector --data DATA --recipe detector_paper --run paper
Cost: about 3 hours on 2 cores.
Expected: 4,540,208 bytes int8 and 16.3 MB of float weights; the paper states 4.51 and 21.7 MB (of its file).
Faces below 30 px are lost. It was run for a few steps, which shows the sizes, and not to the end.
"""

from oahega_build.detector.recipe import DetectorRecipe
from oahega_build.models.anchors import Ladder
from oahega_build.models.ssd_net import SsdNet
from oahega_build.models.trunk import Trunk
from oahega_build.recipes.detector_default import DATA_TERMS
from oahega_build.recipes.detector_default import RECIPE as DEFAULT
from oahega_edge.manifest import Resize

RECIPE = DetectorRecipe(
    records="shared",
    net=SsdNet(
        width=300,
        height=300,
        trunk=Trunk(width=1.0, batch_norm=False),
        trunk_stride=32,
        extras=(512, 256, 256, 128),
        neck=0,
        finest=16,
    ),
    resize=Resize(kernel="linear", fit="squeeze"),
    ladders=(
        Ladder("face", (20, 40, 76, 120, 175, 220, 300), strides=(16, 16, 32, 64, 128, 256)),
        Ladder("person", (30, 60, 110, 170, 240, 300), shapes=2, strides=(16, 32, 64, 128, 512)),
    ),
    start="init/mobilenet_v1_1.0_224_quant_embedding_extractor.tflite",
    frozen_blocks=3,
    shares=DEFAULT.shares,
    data_terms=DATA_TERMS,
)

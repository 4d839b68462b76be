"""The paper's own detector: MobileNetV1-SSD of width 1.0 at 300x300 with maps from stride 16 on.

Command: python -m oahega_build train-detector --data DATA --recipe detector_paper --run paper
Cost: about 3 hours on 2 cores.
Expected: the sizes beside the paper's 21.7 MB float and 4.51 MB quantized; faces below 30 px are lost.
"""

from oahega_build.anchors import Ladder
from oahega_build.models.mobilenet import Trunk
from oahega_build.models.ssd import SsdNet
from oahega_build.recipes.detector_default import DATA_TERMS
from oahega_build.recipes.detector_default import RECIPE as DEFAULT
from oahega_build.train_detector import DetectorRecipe
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
        Ladder("face", (20, 40, 76, 120, 175, 220, 300)),
        Ladder("person", (30, 60, 110, 170, 240, 300), shapes=2),
    ),
    start="init/mobilenet_v1_1.0_224_quant_embedding_extractor.tflite",
    frozen_blocks=3,
    shares=DEFAULT.shares,
    data_terms=DATA_TERMS,
)

"""The paper's architecture as it is: MobileNetV1 width 0.25 from ImageNet weights, 96x96 RGB.

Command: python -m oahega_build train-emotion --recipe emotion_mobilenet_v1 --data DATA/emotion/ferplus \
    --set init=DATA/init/mobilenet_v1_0.25_128_quant.tflite
Cost: not measured yet.
Expected: not measured yet; plain width 0.25 at 48 px from scratch reached .74 on `valid` in 24 epochs.
"""

from oahega_build.emotion.recipe import EmotionRecipe
from oahega_build.models.mobilenet import Trunk

RECIPE = EmotionRecipe(trunk=Trunk(width=0.25), side=96, colour="rgb", epochs=40)

"""The authors' best trial by itself (their number 549), without the search for it.

Command: python -m oahega_build train-emotion --recipe oahega_2022_best --data DATA/emotion/ferplus \
    --set init=DATA/init/mobilenet_v1_1.0_224_quant_embedding_extractor.tflite
Cost: 12 epochs of the 49 (`--set epochs=12 --set precision=mixed_bfloat16`) in 37 minutes on two cores that
    had other work beside it.
Expected: after those 12 epochs on FER+ (five classes) held-out accuracy .791, balanced .686; `valid` .797
    [.779, .813] and .675, no face called sad; 7,807,736 bytes int8.

MobileNetV1 1.0 at 128x128 from ImageNet weights, its last six blocks (their "last 35 layers") trained with
two dense layers on the last feature map, class weights by formula 1; zoom-out and flip. `oahega_2022` says
what differs from the authors' code.
"""

import dataclasses

from oahega_build.models.trunk import convolution_names
from oahega_build.recipes.oahega_2022 import AS_PUBLISHED

RECIPE = dataclasses.replace(
    AS_PUBLISHED,
    hidden=(2048, 1024),
    hidden_l2=0.401,
    dropout=0.447,
    class_weights_mu=0.774,
    learning_rate=3.32e-4,
    batch=48,
    tune_from=len(convolution_names(AS_PUBLISHED.trunk)) - 12,
    epochs=49,
)

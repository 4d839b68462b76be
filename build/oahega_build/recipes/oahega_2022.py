"""The paper's own teacher: MobileNetV1 1.0 from ImageNet, dense layers on the last map, 128x128 RGB.

Command: python -m oahega_build train-emotion --recipe oahega_2022 --data OAHEGA \
    --set init=DATA/init/mobilenet_v1_1.0_224_quant_embedding_extractor.tflite
Cost: not measured; hours on two cores.
Expected: not measured here. The paper's run 549 had .830 accuracy on its development pictures, which had
also chosen it; its training accuracy was 1.0.

Values are those of that run (section 4.2, figure 6, the authors' logs). Kept apart from it on purpose: the
pictures are shuffled, the pixels run from -1 to 1 as the ImageNet weights want them, the split keeps
near-copies together, and the last 12 convolutions are tuned where the authors counted 35 Keras layers.
"""

from oahega_build.emotion_inputs import Augmentation
from oahega_build.emotion_recipe import EmotionRecipe
from oahega_build.models.mobilenet import Trunk

RECIPE = EmotionRecipe(
    trunk=Trunk(width=1.0),
    hidden=(2048, 1024),
    hidden_on_map=True,
    hidden_l2=0.401,
    dropout=0.447,
    side=128,
    colour="rgb",
    tune_from=15,
    augmentation=Augmentation(
        flip=0.5,
        zoom_out=0.5,
        rotation=0,
        scale=0,
        shift=0,
        brightness=0,
        contrast=0,
        gamma=0,
        shrink=0,
        blur=0,
        noise=0,
        jpeg=0,
        erase=0,
    ),
    votes=0.0,
    class_weights_mu=0.7739,
    epochs=50,
    batch=48,
    learning_rate=3.32e-4,
    schedule="plateau",
    warm_up_epochs=0.0,
    weight_decay=0.0,
    average=0.0,
    held_out=0.15,
)

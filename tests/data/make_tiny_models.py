"""Make the few-kB models that the tests run: `python tests/data/make_tiny_models.py` (half a minute).

Seeded random weights, so they mean nothing; what matters is that they are real int8 files with named
outputs. Beside each NAME.tflite stands NAME.json: its input and outputs as a manifest would state them.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf  # noqa: TID251 (this makes test data; the device does not run it)

HERE = Path(__file__).parent
SEED = 7


def backbone(shape: tuple[int, int, int], strides: int) -> tuple[Any, Any]:
    """A convolution and depthwise-separable blocks, down by 2 ** strides."""
    pixels = tf.keras.Input(shape, batch_size=1, name="pixels")
    x = tf.keras.layers.Conv2D(8, 3, 2, padding="same", activation="relu6")(pixels)
    for _ in range(strides - 1):
        x = tf.keras.layers.DepthwiseConv2D(3, 2, padding="same", activation="relu6")(x)
        x = tf.keras.layers.Conv2D(8, 1, activation="relu6")(x)
    return pixels, x


def emotion() -> Any:
    """48x48 grey -> `logits` (1, 3)."""
    pixels, x = backbone((48, 48, 1), 3)
    x = tf.keras.layers.AveragePooling2D(6)(x)
    x = tf.keras.layers.Conv2D(3, 1)(x)
    return tf.keras.Model(pixels, {"logits": tf.keras.layers.Reshape((3,))(x)})


def detector() -> Any:
    """64x64 RGB -> `boxes` (1, 128, 4), `scores` (1, 128, 1): stride 8, a face and a person per cell."""
    pixels, x = backbone((64, 64, 3), 3)
    boxes = tf.keras.layers.Conv2D(2 * 4, 3, padding="same")(x)
    scores = tf.keras.layers.Conv2D(2, 3, padding="same")(x)
    return tf.keras.Model(
        pixels,
        {
            "boxes": tf.keras.layers.Reshape((128, 4))(boxes),
            "scores": tf.keras.layers.Reshape((128, 1))(scores),
        },
    )


def convert(model: Any, *, quantized: bool) -> bytes:
    """A TFLite file, int8 from end to end or float32."""
    shape = model.input_shape
    random = np.random.default_rng(SEED)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if quantized:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [random.uniform(-1, 1, shape).astype(np.float32)] for _ in range(20)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def facts(content: bytes, colour: str) -> dict[str, Any]:
    """Input and outputs in the manifest's words."""
    runner = tf.lite.Interpreter(model_content=content).get_signature_runner()

    def quantization(detail: dict[str, Any]) -> dict[str, Any] | None:
        scale, zero_point = detail["quantization"]
        return {"scale": scale, "zero_point": zero_point} if scale else None

    (given,) = runner.get_input_details().values()
    outputs = [
        {
            "role": name,
            "tensor": name,
            "shape": [int(side) for side in detail["shape"]],
            "dtype": np.dtype(detail["dtype"]).name,
            "quantization": quantization(detail),
        }
        for name, detail in runner.get_output_details().items()
    ]
    return {
        "input": {
            "width": int(given["shape"][2]),
            "height": int(given["shape"][1]),
            "colour": colour,
            "dtype": np.dtype(given["dtype"]).name,
            "quantization": quantization(given),
            "pixel_scale": 1 / 127.5,
            "pixel_offset": -1.0,
        },
        "outputs": outputs,
    }


def main() -> None:
    """Write all of them."""
    for name, build, colour, quantized in (
        ("tiny_emotion", emotion, "grey", True),
        ("tiny_emotion_float", emotion, "grey", False),
        ("tiny_detector", detector, "rgb", True),
    ):
        tf.keras.utils.set_random_seed(SEED)
        content = convert(build(), quantized=quantized)
        (HERE / f"{name}.tflite").write_bytes(content)
        (HERE / f"{name}.json").write_text(json.dumps(facts(content, colour), indent=1) + "\n")
        print(f"{name}.tflite: {len(content)} bytes")


if __name__ == "__main__":
    main()

"""From a Keras model to a full int8 TFLite file."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from oahega_build.errors import ExportError
from oahega_build.models.exported import require_int8
from oahega_edge.manifest import InputTensor


def to_int8(model: keras.Model, samples: Iterable[NDArray[np.uint8]], input_: InputTensor) -> bytes:
    """A TFLite file with int8 weights, activations, input and outputs.

    `samples`: pictures as the device hands them to its quantizer, (height, width[, channels]) uint8.
    `input_`: size, colour and pixel scaling; its dtype and quantization are ignored.
    Raises ExportError when anything in the file is not integer.
    """
    pictures = [_real(pixels, input_) for pixels in samples]
    if not pictures:
        raise ExportError("quantization needs at least one representative picture, got none")
    converter = tf.lite.TFLiteConverter.from_keras_model(_with_named_outputs(_of_one_picture(model)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([picture] for picture in pictures)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    converter.inference_output_type = tf.int8
    # Per-channel weights of a fully connected layer are refused by the Edge TPU compiler.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    with warnings.catch_warnings():
        # It asks for statistics, which the representative pictures give.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs", UserWarning)
        data: bytes = converter.convert()
    require_int8(data)
    return data


def _of_one_picture(model: keras.Model) -> keras.Model:
    """The same network for a batch of exactly one.

    A batch of any size leaves operators that compute shapes (SHAPE, STRIDED_SLICE, PACK) in the file, which
    the Edge TPU compiler refuses.
    """
    (pixels,) = model.inputs
    fixed = keras.Input(batch_shape=(1, *pixels.shape[1:]), name=pixels.name)
    clone = keras.models.clone_model(model, input_tensors=fixed)
    clone.set_weights(model.get_weights())
    return clone


def _with_named_outputs(model: keras.Model) -> keras.Model:
    """The same network with a dict of outputs, whose keys become the names in the file's signature."""
    outputs = dict(zip(model.output_names, model.outputs, strict=True))
    # Without a name Keras numbers the model, the number goes into the file, and two exports differ.
    return keras.Model(model.inputs, outputs, name=model.name)


def _real(pixels: NDArray[np.uint8], input_: InputTensor) -> NDArray[np.float32]:
    return real_pixels(pixels, input_).reshape(input_.shape)


def real_pixels(pixels: NDArray[np.uint8], input_: InputTensor) -> NDArray[np.float32]:
    """The network's float input for these pixels: pixel * pixel_scale + pixel_offset."""
    real = pixels.astype(np.float64) * input_.pixel_scale + input_.pixel_offset
    return real.astype(np.float32)


def float_tflite(model: keras.Model) -> bytes:
    """The same network in float32, for comparison only."""
    return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())

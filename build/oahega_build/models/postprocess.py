"""A detector that ends in TFLite_Detection_PostProcess, for pycoral and other tools that expect it.

The daemon decodes the raw heads itself, which costs less than this operator. The converter replaces a
function whose attributes describe the operator, as in the TensorFlow Object Detection API
(export_tflite_graph_lib_tf2.py).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from oahega_build.models.quantize import real_pixels
from oahega_edge.chain.detection import anchor_boxes, anchor_labels
from oahega_edge.manifest import DetectorEntry

OUTPUTS = ("boxes", "classes", "scores", "count")
"""Names in the signature: boxes (1, n, 4) as top, left, bottom, right; classes (1, n) as places in the
entry's labels; scores (1, n); count (1,). The order in the file varies, so take the outputs by name."""


def with_post_processing(
    model: keras.Model, entry: DetectorEntry, samples: Iterable[NDArray[np.uint8]], most: int = 20
) -> bytes:
    """A file with uint8 input, int8 inside, and at most `most` detections from the suggested scores on.

    The operator has one threshold for all labels: the lowest of the suggested scores.
    """
    pictures = [real_pixels(pixels, entry.input).reshape(entry.input.shape) for pixels in samples]
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", _detect(model, entry, most), [tf.TensorSpec(entry.input.shape, tf.float32)])
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([picture] for picture in pictures)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.allow_custom_ops = True
        return bytes(converter.convert())


def _detect(model: keras.Model, entry: DetectorEntry, most: int) -> Any:
    anchors = anchor_boxes(entry.input, entry.decoder)[:, [1, 0, 3, 2]].astype(np.float32)
    names = anchor_labels(entry.input, entry.decoder)
    # The background's column comes first, then one for each label: an anchor scores for its own label only.
    columns = np.array(
        [[0.0] + [float(name == label) for label in entry.labels] for name in names], np.float32
    )
    operator = _operator(entry, most)

    def detect(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
        answer = model(pixels, training=False)
        scores = tf.sigmoid(answer["scores"]) * columns[None]
        return dict(zip(OUTPUTS, operator(answer["boxes"], scores, tf.constant(anchors)), strict=True))

    return detect


def _operator(entry: DetectorEntry, most: int) -> Any:
    """The function that the converter replaces by the operator. Its own results are not used."""
    decoder = entry.decoder
    attributes = {
        "max_detections": f"i: {most}",
        "max_classes_per_detection": "i: 1",
        "use_regular_nms": "b: true",
        "nms_score_threshold": f"f: {min(entry.suggested.score.values()):f}",
        "nms_iou_threshold": f"f: {entry.suggested.nms_iou:f}",
        "y_scale": f"f: {1 / decoder.center_variance:f}",
        "x_scale": f"f: {1 / decoder.center_variance:f}",
        "h_scale": f"f: {1 / decoder.size_variance:f}",
        "w_scale": f"f: {1 / decoder.size_variance:f}",
        "num_classes": f"i: {len(entry.labels)}",
    }
    described = 'name: "TFLite_Detection_PostProcess"' + "".join(
        f' attr {{ key: "{key}" value {{ {value} }} }}' for key, value in attributes.items()
    )

    @tf.function(experimental_implements=described)
    def post_process(
        boxes: tf.Tensor, scores: tf.Tensor, anchors: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        zero = tf.constant(0.0)
        return zero, zero + 0, zero + 1, zero + 2

    return post_process

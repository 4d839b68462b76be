"""A Keras network from a classifier's int8 file, its weights in real numbers, to be trained further.

The file's batch norm is folded into its convolutions: it has no statistics that a few pictures could spoil.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
from ai_edge_litert import schema_py_generated as schema

from oahega_build.errors import ExportError
from oahega_build.models.operators import Operator, read_operators

LAST = "last"
"""Name of the last layer with weights."""
_PADDING = {schema.Padding.SAME: "same", schema.Padding.VALID: "valid"}
_ACTIVATION = {
    schema.ActivationFunctionType.NONE: "linear",
    schema.ActivationFunctionType.RELU: "relu",
    schema.ActivationFunctionType.RELU6: "relu6",
}


def network_of(path: Path, classes: int, output: str) -> keras.Model:
    """The network with a last layer for `classes`, which is yet to be set, and a name for its output.

    Raises ExportError for a file with other operators than those of our classifiers.
    """
    operators = read_operators(path)
    pixels = keras.Input(operators[0].inputs[0].shape[1:], name="pixels")
    values = {operators[0].inputs[0].index: pixels}
    last = len(operators) - 1 - (operators[-1].name == "RESHAPE")
    if operators[last].name != "CONV_2D":
        raise _refusal(operators[last], last)
    for number, operator in enumerate(operators[:last]):
        values[operator.outputs[0].index] = _applied(operator, number, values)
    features = values[operators[last].inputs[0].index]
    layer = keras.layers.Conv2D(classes, 1, name=LAST)(features)
    return keras.Model(pixels, keras.layers.Reshape((classes,), name=output)(layer), name="classifier")


def _applied(operator: Operator, number: int, values: Mapping[int, keras.KerasTensor]) -> keras.KerasTensor:
    given = [values[tensor.index] for tensor in operator.inputs if tensor.data is None]
    if operator.name == "ADD" and len(given) == 2:
        return keras.layers.Add(name=f"add{number}")(given)
    if operator.name == "MEAN":
        return keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"mean{number}")(given[0])
    if operator.name == "CONV_2D":
        layer = keras.layers.Conv2D(operator.shape[-1], **_described(operator, number))
    elif operator.name == "DEPTHWISE_CONV_2D":
        layer = keras.layers.DepthwiseConv2D(**_described(operator, number))
    else:
        raise _refusal(operator, number)
    result = layer(given[0])
    _, kernel, bias = operator.inputs
    # TFLite keeps (out, height, width, in), and (1, height, width, out) when depthwise.
    layer.set_weights([kernel.value().transpose(1, 2, 3, 0), bias.value()])
    return result


def _refusal(operator: Operator, number: int) -> ExportError:
    return ExportError(
        f"the emotion model's operator {number} is {operator.name}, which cannot be trained further; "
        "take an embedded bundle as the base"
    )


def _described(operator: Operator, number: int) -> dict[str, object]:
    options = operator.options
    return {
        "kernel_size": operator.inputs[1].shape[1:3],
        "strides": (options.strideH, options.strideW),
        "padding": _PADDING[options.padding],
        "activation": _ACTIVATION[options.fusedActivationFunction],
        "name": f"convolution{number}",
    }

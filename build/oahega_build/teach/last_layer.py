"""The last layer of a classifier's .tflite file, exchanged with the schema that LiteRT brings along.

The layer is a 1x1 convolution of the pooled features (or a fully connected layer), with or without a reshape
behind it. Every other tensor keeps its bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from oahega_build.errors import ExportError
from oahega_build.models.interpreter import open_interpreter
from oahega_edge.runtimes.tflite_file import parse_tflite

IDENTIFIER = b"TFL3"
ALIGNMENT = 16
"""Of a buffer's bytes, as schema.fbs asks for."""
HEADROOM = 1.25
"""The outputs' range in units of what the taught faces reach."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """logits = weights @ features + bias."""

    weights: NDArray[np.float64]
    """(labels, features)."""
    bias: NDArray[np.float64]
    """(labels,)."""

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Logits (n, labels) of features (n, features)."""
        return np.asarray(features @ self.weights.T + self.bias)


class _Builder(flatbuffers.Builder):
    """Puts bytes where the schema wants them; the generated code does not know `force_align`."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> Any:  # noqa: N802
        """Bytes are buffers and texts."""
        return super().StartVector(elemSize, numElems, max(alignment, ALIGNMENT if elemSize == 1 else 1))


class Classifier:
    """A classifier's file: what its trunk says of a picture, and the file with another last layer."""

    def __init__(self, content: bytes) -> None:
        """Raises ExportError where the file does not end in one linear layer over int8 features."""
        try:
            parse_tflite(content)  # checks every offset, which the schema's own code does not
        except ValueError as error:
            raise ExportError(f"the emotion model is not a usable TFLite file: {error}") from error
        self._content = content
        model = _read(content)
        layer = _last_operators(model)[1]
        features = _graph(model).tensors[layer.inputs[0]]
        if features.type != schema.TensorType.INT8:
            raise ExportError("the emotion model is not int8; give a bundle whose models are quantized")
        self._features = int(layer.inputs[0])
        self._scale = float(features.quantization.scale[0])
        self.input_shape = tuple(int(n) for n in _graph(model).tensors[_graph(model).inputs[0]].shape)

    def features(self, tensors: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """(n, features) of quantized inputs."""
        model = _read(self._content)
        graph = _graph(model)
        reshape, layer = _last_operators(model)
        graph.operators = [o for o in graph.operators if o is not reshape and o is not layer]
        graph.outputs = np.array([self._features], np.int32)
        model.signatureDefs = None
        return _answers(_written(model), tensors)

    def logits(self, tensors: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
        """(n, labels) of quantized inputs, by the file as it is."""
        return _answers(self._content, tensors)

    def head(self) -> Head:
        """The file's own last layer."""
        model = _read(self._content)
        graph = _graph(model)
        kernel, bias = (graph.tensors[i] for i in _last_operators(model)[1].inputs[1:3])
        scales = np.asarray(kernel.quantization.scale, np.float64)
        stored = _constant(model, kernel, np.int8).reshape(int(kernel.shape[0]), -1)
        return Head(stored * scales[:, None], _constant(model, bias, np.int32) * self._scale * scales)

    def with_head(self, head: Head, features: NDArray[np.floating]) -> bytes:
        """The file with `head` as its last layer; the range of its outputs comes from these `features`."""
        model = _read(self._content)
        graph = _graph(model)
        reshape, layer = _last_operators(model)
        kernel, bias = (graph.tensors[i] for i in layer.inputs[1:3])
        scales = _set_kernel(model, kernel, head.weights)
        _set_constant(model, bias, np.round(head.bias / (self._scale * scales)), np.int32)
        bias.quantization.scale = np.asarray(self._scale * scales, np.float32)
        bias.quantization.zeroPoint = np.zeros(len(scales), np.int64)
        scale, zero_point = _output_range(head(features))
        for operator in (layer, reshape):
            if operator is not None:
                _set_output(graph.tensors[operator.outputs[0]], len(head.bias), scale, zero_point)
        if reshape is not None:
            _set_shape(model, graph, reshape, len(head.bias))
        return _written(model)


def _answers(content: bytes, tensors: Sequence[NDArray[Any]]) -> NDArray[np.float64]:
    """What the file's one output says, in real numbers."""
    interpreter = open_interpreter(content)
    given = interpreter.get_input_details()[0]["index"]
    answer = interpreter.get_output_details()[0]
    scale, zero_point = answer["quantization"]
    rows = []
    for tensor in tensors:
        interpreter.set_tensor(given, tensor)
        interpreter.invoke()
        rows.append(interpreter.get_tensor(answer["index"]).reshape(-1))
    return np.asarray(scale * (np.array(rows, np.float64) - zero_point))


def _read(content: bytes) -> Any:
    """The file as objects, with buffers that lie behind the flatbuffer taken in."""
    model = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
    for buffer in model.buffers:
        if buffer.offset > 1:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def _graph(model: Any) -> Any:
    if len(model.subgraphs) != 1:
        raise ExportError(f"the emotion model has {len(model.subgraphs)} graphs; give a bundle with one")
    return model.subgraphs[0]


def _last_operators(model: Any) -> tuple[Any, Any]:
    """(the reshape or None, the linear layer)."""
    graph = _graph(model)
    makers = {int(output): operator for operator in graph.operators for output in operator.outputs}
    last = makers.get(int(graph.outputs[0])) if len(graph.outputs) == 1 else None
    reshape = last if last is not None and _code(model, last) == schema.BuiltinOperator.RESHAPE else None
    layer = makers.get(int(reshape.inputs[0])) if reshape is not None else last
    if layer is None or not _is_linear(model, graph, layer):
        raise ExportError(
            "the emotion model does not end in one linear layer over pooled features; "
            "take an embedded bundle as the base"
        )
    return reshape, layer


def _code(model: Any, operator: Any) -> int:
    code = model.operatorCodes[operator.opcodeIndex]
    return max(int(code.builtinCode), int(code.deprecatedBuiltinCode))


def _is_linear(model: Any, graph: Any, layer: Any) -> bool:
    kinds = (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.FULLY_CONNECTED)
    if _code(model, layer) not in kinds or len(layer.inputs) != 3 or min(layer.inputs) < 0:
        return False
    if layer.builtinOptions.fusedActivationFunction != schema.ActivationFunctionType.NONE:
        return False
    features, kernel = (graph.tensors[i] for i in layer.inputs[:2])
    return bool(math.prod(features.shape) == math.prod(kernel.shape[1:]))


def _set_kernel(model: Any, tensor: Any, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """int8 weights, with a scale per label where the file had one; returns the scale of each label."""
    largest = np.maximum(np.abs(weights).max(axis=1), 1e-6)
    one = len(tensor.quantization.scale) == 1
    scales = np.full(len(weights), largest.max()) / 127 if one else largest / 127
    tensor.shape = np.array([len(weights), *tensor.shape[1:]], np.int32)
    tensor.quantization.scale = np.asarray(scales[:1] if one else scales, np.float32)
    tensor.quantization.zeroPoint = np.zeros(len(tensor.quantization.scale), np.int64)
    tensor.quantization.min = tensor.quantization.max = None
    _set_constant(model, tensor, np.round(weights / scales[:, None]), np.int8, tensor.shape)
    return scales


def _constant(model: Any, tensor: Any, kind: type[np.signedinteger[Any]]) -> NDArray[Any]:
    return np.frombuffer(bytes(model.buffers[tensor.buffer].data), kind)


def _set_constant(
    model: Any,
    tensor: Any,
    values: NDArray[np.floating],
    kind: type[np.signedinteger[Any]],
    shape: Sequence[int] | None = None,
) -> None:
    """A new buffer for the tensor, as others may share the old one; that one goes where none does."""
    limits = np.iinfo(kind)
    stored = np.clip(values, limits.min, limits.max).astype(kind)
    old = int(tensor.buffer)
    tensor.shape = np.array(stored.shape if shape is None else shape, np.int32)
    tensor.buffer = len(model.buffers)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(stored.tobytes(), np.uint8)
    model.buffers.append(buffer)
    if all(int(t.buffer) != old for graph in model.subgraphs for t in graph.tensors):
        model.buffers[old].data = None


def _set_output(tensor: Any, labels: int, scale: float, zero_point: int) -> None:
    tensor.shape = np.array([*tensor.shape[:-1], labels], np.int32)
    tensor.shapeSignature = None
    tensor.quantization.scale = np.array([scale], np.float32)
    tensor.quantization.zeroPoint = np.array([zero_point], np.int64)
    tensor.quantization.min = tensor.quantization.max = None


def _set_shape(model: Any, graph: Any, reshape: Any, labels: int) -> None:
    """The shape that the reshape asks for, in its options and in its constant."""
    wanted = [int(side) for side in graph.tensors[reshape.outputs[0]].shape]
    if len(reshape.inputs) > 1:
        _set_constant(model, graph.tensors[reshape.inputs[1]], np.array(wanted, float), np.int32)
    if reshape.builtinOptions is not None and reshape.builtinOptions.newShape is not None:
        reshape.builtinOptions.newShape = np.array(wanted, np.int32)


def _output_range(logits: NDArray[np.floating]) -> tuple[float, int]:
    low, high = min(0.0, float(logits.min())) * HEADROOM, max(0.0, float(logits.max())) * HEADROOM
    scale = max((high - low) / 255, 1e-6)
    return scale, round(-128 - low / scale)


def _written(model: Any) -> bytes:
    builder = _Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    content = bytes(builder.Output())
    parse_tflite(content)
    return content

"""The operators of a .tflite file in the order of execution, with their tensors."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from oahega_build.errors import DataError
from oahega_build.runs.reading import LARGEST_MODEL
from oahega_edge.files import read_file
from oahega_edge.runtimes.tflite_file import parse_tflite

_OPERATORS = {
    number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}
_TYPES = {
    number: name.lower() for name, number in vars(schema.TensorType).items() if not name.startswith("_")
}


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """One tensor of the file."""

    index: int
    """Its number in the interpreter."""
    name: str
    shape: tuple[int, ...]
    dtype: str
    """numpy's name of it."""
    signature: tuple[int, ...]
    """The shape with -1 for each side that is known only when the model runs; empty when none is."""
    scales: tuple[float, ...]
    """One for the tensor, one for each channel, or none."""
    zero_points: tuple[int, ...]
    channel_axis: int
    """The axis that has a scale for each channel."""
    data: bytes | None
    """The value of a constant; None for activations."""

    def value(self) -> NDArray[np.float32]:
        """A constant in real numbers."""
        stored = np.frombuffer(self.data or b"", self.dtype).reshape(self.shape)
        if not self.scales:
            return np.asarray(stored, np.float32)
        sides = [1] * len(self.shape)
        if len(self.scales) > 1:
            sides[self.channel_axis] = len(self.scales)
        scales, zeros = np.array(self.scales).reshape(sides), np.array(self.zero_points).reshape(sides)
        return np.asarray((stored.astype(np.float64) - zeros) * scales, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Operator:
    """One operator of the file."""

    name: str
    """As TensorFlow Lite's schema has it, or the custom operator's own."""
    version: int
    options: Any
    """The schema's options of this operator."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first output."""
        return self.outputs[0].shape

    @property
    def weights(self) -> int:
        """Bytes of its constants."""
        return sum(len(tensor.data) for tensor in self.inputs if tensor.data is not None)

    @property
    def multiply_adds(self) -> int:
        """Multiplications with additions for one picture; 0 unless a convolution or fully connected."""
        values = math.prod(self.shape)
        if self.name == "CONV_2D":  # (out, height, width, in)
            return values * math.prod(self.inputs[1].shape[1:])
        if self.name == "DEPTHWISE_CONV_2D":  # (1, height, width, out)
            return values * math.prod(self.inputs[1].shape[1:3])
        if self.name == "FULLY_CONNECTED":  # (out, in)
            return values * self.inputs[1].shape[-1]
        return 0


def multiply_adds(path: Path) -> int:
    """Of one invocation of the file. Raises DataError for another file."""
    return sum(operator.multiply_adds for operator in read_operators(path))


def read_operators(path: Path) -> list[Operator]:
    """The operators of the file's one graph. Raises DataError for another file."""
    try:
        content = read_file(path, LARGEST_MODEL)
        parse_tflite(content)  # checks every offset, which the schema's own code does not
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not a usable TFLite file: {error}; give a .tflite") from error
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    if len(model.subgraphs) != 1:
        raise DataError(f"{path} has {len(model.subgraphs)} graphs; give a file with one")
    graph = model.subgraphs[0]
    tensors = [_tensor(i, tensor, model, content) for i, tensor in enumerate(graph.tensors)]
    return [_operator(operator, model.operatorCodes, tensors) for operator in graph.operators]


def counts(operators: Sequence[Operator]) -> dict[str, tuple[int, int]]:
    """Operator -> (how many, bytes of their constants), the heaviest first."""
    number = Counter(operator.name for operator in operators)
    weight: Counter[str] = Counter()
    for operator in operators:
        weight[operator.name] += operator.weights
    return {name: (number[name], weight[name]) for name in sorted(number, key=lambda name: -weight[name])}


def _operator(operator: Any, codes: Sequence[Any], tensors: Sequence[Tensor]) -> Operator:
    code = codes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    name = _OPERATORS[number] if code.customCode is None else code.customCode.decode()
    return Operator(
        name,
        code.version,
        operator.builtinOptions,
        tuple(tensors[i] for i in operator.inputs if i >= 0),
        tuple(tensors[i] for i in operator.outputs),
    )


def _tensor(index: int, tensor: Any, model: Any, content: bytes) -> Tensor:
    scales, zeros = tensor.quantization.scale, tensor.quantization.zeroPoint
    return Tensor(
        index,
        (tensor.name or b"").decode(errors="replace"),
        _integers(tensor.shape),
        _TYPES[tensor.type],
        _integers(tensor.shapeSignature),
        () if scales is None else tuple(float(scale) for scale in scales),
        _integers(zeros),
        tensor.quantization.quantizedDimension,
        _data(model.buffers[tensor.buffer], content),
    )


def _data(buffer: Any, content: bytes) -> bytes | None:
    if buffer.offset > 1:  # behind the flatbuffer; 0 and 1 mean: inside
        return content[buffer.offset : buffer.offset + buffer.size]
    return None if buffer.data is None else bytes(buffer.data)


def _integers(vector: Any) -> tuple[int, ...]:
    return () if vector is None else tuple(int(value) for value in vector)

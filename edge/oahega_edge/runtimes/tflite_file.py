"""Facts about a .tflite file, read without an interpreter.

The C++ interpreter trusts the file: an offset that points nowhere ends the process. So this reader goes
through every table, vector and string that the interpreter will follow, checks the bounds of each, and
says in one sentence what is wrong. Layout: FlatBuffers' binary format and TensorFlow Lite's schema.fbs
(version 3); field numbers below are positions in that schema.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from oahega_edge.errors import BundleError
from oahega_edge.files import read_file

EDGETPU_OP = "edgetpu-custom-op"
"""What the Edge TPU compiler leaves of a network; only libedgetpu can run it."""

MOST_BYTES = 256 * 1024 * 1024
"""No model of a small device is larger; guards memory against a wrong file."""

MOST_TENSOR_BYTES = 512 * 1024 * 1024
"""Of all tensors of a graph: a flipped bit in a shape can ask for terabytes, which hangs or kills."""

# Position in schema.fbs's TensorType: (numpy's name, bytes per element; 0 where it is not whole).
_TYPES = {
    0: ("float32", 4),
    1: ("float16", 2),
    2: ("int32", 4),
    3: ("uint8", 1),
    4: ("int64", 8),
    5: ("string", 0),
    6: ("bool", 1),
    7: ("int16", 2),
    8: ("complex64", 8),
    9: ("int8", 1),
    10: ("float64", 8),
    11: ("complex128", 16),
    12: ("uint64", 8),
    13: ("resource", 0),
    14: ("variant", 0),
    15: ("uint32", 4),
    16: ("uint16", 2),
    17: ("int4", 0),
}

_WIDTHS = dict(_TYPES.values())

T = TypeVar("T")


@dataclass(frozen=True)
class TensorFacts:
    """One tensor of the main graph."""

    index: int
    """Its number in the interpreter."""
    name: str
    shape: tuple[int, ...]
    dtype: str
    """numpy's name of it."""
    scale: tuple[float, ...]
    """One value per tensor, one per channel, or none."""
    zero_point: tuple[int, ...]

    @property
    def quantization(self) -> tuple[float, int] | None:
        """Scale and zero point where the tensor has one pair."""
        return (self.scale[0], self.zero_point[0]) if len(self.scale) == len(self.zero_point) == 1 else None


@dataclass(frozen=True)
class TfliteFacts:
    """What a file says of itself."""

    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    """In the file's order, which means nothing."""
    output_names: dict[str, int]
    """Names in the signature `serving_default` (or the only one) -> tensor index."""
    custom_ops: tuple[str, ...]
    operators: int
    """In the main graph."""

    @property
    def compiled_for_edgetpu(self) -> bool:
        """Whether an Edge TPU is needed to run it."""
        return EDGETPU_OP in self.custom_ops

    def output(self, name: str) -> TensorFacts | None:
        """The output of this signature name, else of this tensor name."""
        index = self.output_names.get(name)
        for tensor in self.outputs:
            if tensor.index == index if index is not None else tensor.name == name:
                return tensor
        return None


def read_tflite(path: Path) -> bytes:
    """The file's content; BundleError where it cannot be read."""
    try:
        return read_file(path, MOST_BYTES)
    except OSError as error:
        raise BundleError(
            f"model {path} cannot be read: {error.strerror}; install the bundle again"
        ) from None


def tflite_facts(path: Path, content: bytes) -> TfliteFacts:
    """The facts of a model's content; BundleError, which names `path`, where it cannot be a model."""
    try:
        return parse_tflite(content)
    except _Broken as problem:
        raise BundleError(
            f"model {path} is not a usable TFLite file: {problem}; install the bundle again"
        ) from None


def parse_tflite(content: bytes) -> TfliteFacts:
    """As `tflite_facts`; ValueError where the bytes are not a model."""
    if not content:
        raise _Broken("it is empty")
    if len(content) < 8 or content[4:8] != b"TFL3":
        raise _Broken("it does not start as one (TFL3)")
    return _facts(_Table.root(_Bytes(content)))


class _Broken(ValueError):
    """A flatbuffer that contradicts itself."""


class _Bytes:
    """Bounds-checked little-endian reads."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size = len(content)

    def read(self, kind: str, at: int) -> int | float:
        """One scalar of struct's `kind` at byte `at`."""
        if not 0 <= at <= self.size - struct.calcsize(kind):
            raise _Broken(f"it ends before byte {at}, which it points to")
        value: int | float = struct.unpack_from("<" + kind, self._content, at)[0]
        return value

    def integer(self, kind: str, at: int) -> int:
        """As `read`, for the integer kinds."""
        return int(self.read(kind, at))

    def span(self, at: int, count: int, width: int) -> int:
        """`at`, once `count` elements of `width` bytes are known to lie there."""
        if at < 0 or count < 0 or at + count * width > self.size:
            raise _Broken(f"{count} elements at byte {at} reach beyond its {self.size} bytes")
        return at

    def text(self, at: int, count: int) -> str:
        """`count` bytes as UTF-8."""
        return self._content[at : at + count].decode("utf-8", "replace")

    def many(self, kind: str, at: int, count: int) -> tuple[int | float, ...]:
        """`count` scalars from byte `at`, already checked by `span`."""
        return struct.unpack_from(f"<{count}{kind}", self._content, at)


class _Table:
    """A flatbuffer table: fields found through its vtable."""

    def __init__(self, data: _Bytes, at: int) -> None:
        self._data = data
        self._at = at
        if at % 4:
            raise _Broken(f"the table at byte {at} is not aligned")
        self._vtable = at - data.integer("i", at)
        length = data.integer("H", self._vtable)
        size = data.integer("H", self._vtable + 2)
        if length < 4 or length % 2 or size < 4:
            raise _Broken(f"the table at byte {at} has no valid index")
        data.span(self._vtable, length, 1)
        data.span(at, size, 1)
        self._slots = tuple(int(x) for x in data.many("H", self._vtable + 4, (length - 4) // 2))
        if any(slot and not 4 <= slot < size for slot in self._slots):
            raise _Broken(f"the table at byte {at} has fields outside itself")

    @classmethod
    def root(cls, data: _Bytes) -> _Table:
        """The table that the file's first four bytes point to."""
        return cls(data, data.integer("I", 0))

    def _field(self, number: int) -> int | None:
        slot = self._slots[number] if number < len(self._slots) else 0
        return self._at + slot if slot else None

    def scalar(self, number: int, kind: str, default: int = 0) -> int:
        """An integer field of struct's `kind`."""
        at = self._field(number)
        return default if at is None else self._data.integer(kind, at)

    def _target(self, number: int) -> int | None:
        at = self._field(number)
        if at is None:
            return None
        offset = self._data.integer("I", at)
        if not offset:
            raise _Broken(f"the offset at byte {at} is zero")
        return at + offset

    def table(self, number: int) -> _Table | None:
        """A nested table."""
        at = self._target(number)
        return None if at is None else _Table(self._data, at)

    def _vector(self, number: int, width: int) -> tuple[int, int]:
        at = self._target(number)
        if at is None:
            return 0, 0
        if at % 4:
            raise _Broken(f"the vector at byte {at} is not aligned")
        count = self._data.integer("I", at)
        if width == 8 and count and (at + 4) % 8:
            raise _Broken(f"the vector at byte {at} is not aligned")
        return self._data.span(at + 4, count, width), count

    def numbers(self, number: int, kind: str) -> tuple[int | float, ...]:
        """A vector of scalars."""
        at, count = self._vector(number, struct.calcsize("<" + kind))
        return self._data.many(kind, at, count)

    def integers(self, number: int, kind: str = "i") -> tuple[int, ...]:
        """A vector of integers."""
        return tuple(int(value) for value in self.numbers(number, kind))

    def text(self, number: int) -> str:
        """A string; the interpreter reads it up to its zero byte, so that must be there."""
        at, count = self._vector(number, 1)
        if at and self._data.integer("B", at + count):
            raise _Broken(f"the text at byte {at} does not end")
        return self._data.text(at, count)

    def length(self, number: int) -> int:
        """Bytes in a vector of bytes."""
        return self._vector(number, 1)[1]

    def tables(self, number: int, make: Callable[[_Table], T]) -> list[T]:
        """A vector of tables, each turned into something."""
        at, count = self._vector(number, 4)
        made = []
        for place in range(at, at + 4 * count, 4):
            offset = self._data.integer("I", place)
            if not offset:
                raise _Broken(f"the offset at byte {place} is zero")
            made.append(make(_Table(self._data, place + offset)))
        return made

    def file_range(self, offset: int, size: int) -> None:
        """Check a range counted from the file's start."""
        self._data.span(offset, size, 1)


@dataclass(frozen=True)
class _Graph:
    tensors: list[TensorFacts]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: int


def _facts(model: _Table) -> TfliteFacts:
    version = model.scalar(0, "I")
    if version != 3:
        raise _Broken(f"its schema version is {version}, 3 is readable")
    codes = model.tables(1, _custom_code)
    buffers = model.tables(4, _buffer_bytes)
    graphs = model.tables(2, lambda graph: _graph(graph, len(codes), buffers))
    if not graphs:
        raise _Broken("it holds no graph")
    _check_metadata(model, len(buffers))
    main = graphs[0]
    return TfliteFacts(
        inputs=tuple(main.tensors[i] for i in main.inputs),
        outputs=tuple(main.tensors[i] for i in main.outputs),
        output_names=_output_names(model, graphs),
        custom_ops=tuple(code for code in codes if code),
        operators=main.operators,
    )


def _custom_code(code: _Table) -> str:
    return code.text(1)


def _buffer_bytes(buffer: _Table) -> int:
    """Bytes that a buffer holds, inside the flatbuffer or (since 2023) behind it."""
    inside = buffer.length(0)
    offset, size = buffer.scalar(1, "Q"), buffer.scalar(2, "Q")
    if offset > 1:  # 0 and 1 mean: nothing outside
        buffer.file_range(offset, size)
        return size
    return inside


def _graph(graph: _Table, codes: int, buffers: list[int]) -> _Graph:
    counter = iter(range(MOST_BYTES))
    tensors = graph.tables(0, lambda tensor: _tensor(tensor, next(counter), buffers))
    wanted = sum(math.prod(tensor.shape) * _WIDTHS[tensor.dtype] for tensor in tensors)
    if wanted > MOST_TENSOR_BYTES:
        raise _Broken(f"its tensors need {wanted} bytes, {MOST_TENSOR_BYTES} are the most")
    inputs, outputs = graph.integers(1), graph.integers(2)
    _within(inputs + outputs, 0, len(tensors), "tensor")
    operators = graph.tables(3, lambda operator: _check_operator(operator, codes, len(tensors)))
    graph.text(4)
    return _Graph(tensors, inputs, outputs, len(operators))


def _tensor(tensor: _Table, index: int, buffers: list[int]) -> TensorFacts:
    shape = tensor.integers(0)
    kind = tensor.scalar(1, "b")
    buffer = tensor.scalar(2, "I")
    name = tensor.text(3)
    if kind not in _TYPES:
        raise _Broken(f"tensor {name!r} has the unknown type {kind}")
    if any(side < 0 for side in shape):
        raise _Broken(f"tensor {name!r} has the shape {shape}")
    _within((buffer,), 0, len(buffers), "buffer")
    dtype, width = _TYPES[kind]
    sparse = tensor.table(6) is not None
    if buffers[buffer] and width and not sparse and buffers[buffer] != math.prod(shape) * width:
        raise _Broken(f"tensor {name!r} needs {math.prod(shape) * width} bytes and has {buffers[buffer]}")
    tensor.integers(7)
    scale, zero_point = _quantization(tensor, name, shape)
    return TensorFacts(index, name, shape, dtype, scale, zero_point)


def _quantization(
    tensor: _Table, name: str, shape: tuple[int, ...]
) -> tuple[tuple[float, ...], tuple[int, ...]]:
    table = tensor.table(4)
    if table is None:
        return (), ()
    for field in (0, 1):  # the ranges of training; the interpreter skips them
        table.numbers(field, "f")
    scale = tuple(float(value) for value in table.numbers(2, "f"))
    zero_point = table.integers(3, "q")
    axis = table.scalar(6, "i")
    if not all(math.isfinite(value) and value >= 0 for value in scale):
        raise _Broken(f"tensor {name!r} has a scale that is not a positive number")
    if len(zero_point) not in (0, 1, len(scale)):
        raise _Broken(f"tensor {name!r} has {len(scale)} scales and {len(zero_point)} zero points")
    if len(scale) > 1 and not (0 <= axis < len(shape) and shape[axis] == len(scale)):
        raise _Broken(f"tensor {name!r} has {len(scale)} scales, which match no side of {shape}")
    return scale, zero_point


def _check_operator(operator: _Table, codes: int, tensors: int) -> None:
    _within((operator.scalar(0, "I"),), 0, codes, "operator code")
    _within(operator.integers(1), -1, tensors, "tensor")  # -1: an input that was left out
    _within(operator.integers(2), 0, tensors, "tensor")
    _within(operator.integers(8), -1, tensors, "tensor")
    operator.table(4)
    operator.length(5)
    operator.length(7)
    if operator.scalar(9, "Q") > 1:
        operator.file_range(operator.scalar(9, "Q"), operator.scalar(10, "Q"))


def _check_metadata(model: _Table, buffers: int) -> None:
    model.text(3)
    _within(model.integers(5), 0, buffers, "buffer")
    for name, buffer in model.tables(6, lambda entry: (entry.text(0), entry.scalar(1, "I"))):
        if buffer >= buffers:
            raise _Broken(f"its metadata {name!r} names buffer {buffer} of {buffers}")


def _output_names(model: _Table, graphs: list[_Graph]) -> dict[str, int]:
    signatures: dict[str, dict[str, int]] = {}

    def entry(table: _Table) -> tuple[str, int]:
        return table.text(0), table.scalar(1, "I")

    def signature(table: _Table) -> None:
        inputs, outputs = dict(table.tables(0, entry)), dict(table.tables(1, entry))
        graph = table.scalar(4, "I")
        _within((graph,), 0, len(graphs), "graph")
        _within((*inputs.values(), *outputs.values()), 0, len(graphs[graph].tensors), "tensor")
        if graph == 0:
            signatures[table.text(2)] = outputs

    model.tables(7, signature)
    if len(signatures) == 1:
        return next(iter(signatures.values()))
    return signatures.get("serving_default", {})


def _within(indices: tuple[int, ...], low: int, count: int, what: str) -> None:
    for index in indices:
        if not low <= index < count:
            raise _Broken(f"it names {what} {index} of {count}")

"""ONNX networks for OpenCV: each convolution names its kernel_shape, as OpenCV before 4.13 asks.

ONNX lets a convolution leave it out, because the shape of its weights says it. The numbers of the fields are
those of onnx.proto, the encoding is that of Protocol Buffers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from oahega_build.errors import DataError
from oahega_build.runs.reading import LARGEST_MODEL
from oahega_edge.files import read_file

MODEL_GRAPH = 7
GRAPH_NODE, GRAPH_INITIALIZER = 1, 5
NODE_INPUT, NODE_OPERATOR, NODE_ATTRIBUTE = 1, 4, 5
ATTRIBUTE_NAME, ATTRIBUTE_INTS, ATTRIBUTE_TYPE, TYPE_INTS = 1, 8, 20, 7
TENSOR_DIMENSIONS, TENSOR_NAME = 1, 8
VARINT, FIXED_64, LENGTH, FIXED_32 = 0, 1, 2, 5
"""Wire types of Protocol Buffers."""


def read_network(path: Path) -> Any:
    """The `cv2.dnn.Net` of an ONNX file. Raises DataError, naming the file, if it is none."""
    try:
        content = with_kernel_shapes(read_file(path, LARGEST_MODEL))
        return cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))
    except (OSError, ValueError, cv2.error) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise DataError(
            f"OpenCV {cv2.__version__} cannot read {path} as an ONNX network ({reason}); copy it again"
        ) from error


def with_kernel_shapes(model: bytes) -> bytes:
    """The same network, whose convolutions name their kernel_shape where their weights are in the file.

    Raises ValueError for bytes that are no message of Protocol Buffers.
    """
    return _changed(model, MODEL_GRAPH, _graph)


def _graph(graph: bytes) -> bytes:
    tensors = (_values(tensor) for tensor in _values(graph).get(GRAPH_INITIALIZER, ()))
    shapes = {tensor[TENSOR_NAME][0]: _dimensions(tensor) for tensor in tensors if TENSOR_NAME in tensor}
    return _changed(graph, GRAPH_NODE, lambda node: node + _missing_kernel_shape(node, shapes))


def _missing_kernel_shape(node: bytes, shapes: dict[bytes, list[int]]) -> bytes:
    """The attribute that a convolution lacks; nothing for other nodes."""
    values = _values(node)
    inputs = values.get(NODE_INPUT, [])
    named = [_values(attribute).get(ATTRIBUTE_NAME) for attribute in values.get(NODE_ATTRIBUTE, ())]
    if values.get(NODE_OPERATOR) != [b"Conv"] or [b"kernel_shape"] in named or len(inputs) < 2:
        return b""
    sides = shapes.get(inputs[1], [])[2:]  # of weights (out, in, sides...)
    if not sides:
        return b""
    attribute = (
        _field(ATTRIBUTE_NAME, b"kernel_shape")
        + b"".join(_field(ATTRIBUTE_INTS, side) for side in sides)
        + _field(ATTRIBUTE_TYPE, TYPE_INTS)
    )
    return _field(NODE_ATTRIBUTE, attribute)


def _dimensions(tensor: dict[int, list[bytes]]) -> list[int]:
    """Packed or not, one after the other, they are the same bytes."""
    packed, found, at = b"".join(tensor.get(TENSOR_DIMENSIONS, ())), [], 0
    while at < len(packed):
        number, at = _varint(packed, at)
        found.append(number)
    return found


def _changed(message: bytes, number: int, change: Callable[[bytes], bytes]) -> bytes:
    """The message with `change` applied to the bytes of every field of that number."""
    return b"".join(
        _field(number, change(value)) if found == number else whole
        for found, value, whole in _fields(message)
    )


def _values(message: bytes) -> dict[int, list[bytes]]:
    """The bytes of each field by number, in their order."""
    values: dict[int, list[bytes]] = {}
    for number, value, _ in _fields(message):
        values.setdefault(number, []).append(value)
    return values


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(number, bytes of its value, bytes of the whole field) of each field."""
    start = 0
    while start < len(message):
        key, at = _varint(message, start)
        if key & 7 == VARINT:
            end = _varint(message, at)[1]
        elif key & 7 == LENGTH:
            length, at = _varint(message, at)
            end = at + length
        elif key & 7 in (FIXED_64, FIXED_32):
            end = at + (8 if key & 7 == FIXED_64 else 4)
        else:
            raise ValueError(f"a field of the unknown type {key & 7} at byte {start}")
        if end > len(message):
            raise ValueError(f"a field at byte {start} is cut off")
        yield key >> 3, message[at:end], message[start:end]
        start = end


def _field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return _as_varint(number << 3 | VARINT) + _as_varint(value)
    return _as_varint(number << 3 | LENGTH) + _as_varint(len(value)) + value


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at a position, and the position behind it."""
    number = shift = 0
    for byte in message[at : at + 10]:
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
    raise ValueError(f"a number that ends at byte {at} is cut off")


def _as_varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])

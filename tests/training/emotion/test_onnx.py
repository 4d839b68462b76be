"""ONNX networks whose convolutions leave out what their weights say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from oahega_build.emotion.onnx import read_network, with_kernel_shapes
from oahega_build.emotion.peers import FaceApi
from oahega_build.errors import DataError
from oahega_build.pictures.framing import Framing

pytestmark = pytest.mark.training
FACE_API = Path("data", "teachers", "expression", "face_api.onnx")


def field(number: int, value: int | str | bytes) -> bytes:
    """A field of Protocol Buffers; numbers and lengths below 16384."""
    content = value.encode() if isinstance(value, str) else value
    key, size = (number << 3, content) if isinstance(content, int) else (number << 3 | 2, len(content))
    number_of = bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])
    return bytes([key]) + number_of + (b"" if isinstance(content, int) else content)


def attribute(name: str, values: list[int] | str) -> bytes:
    said = field(4, values) + b"\xa0\x01\x03" if isinstance(values, str) else b""
    return field(1, name) + said + b"".join(field(8, each) for each in values if isinstance(each, int))


def network(weights: NDArray[np.float32], *, named: bool = False, packed: bool = False) -> bytes:
    """ONNX of one convolution of 8x8 pictures with stride 2."""
    sides = [field(1, bytes(weights.shape))] if packed else [field(1, side) for side in weights.shape]
    tensor = b"".join(sides) + field(2, 1) + field(8, "w") + field(9, weights.tobytes())
    attributes = [attribute("auto_pad", "SAME_UPPER"), attribute("strides", [2, 2]) + b"\xa0\x01\x07"]
    if named:
        attributes.append(attribute("kernel_shape", list(weights.shape[2:])) + b"\xa0\x01\x07")
    node = field(1, "x") + field(1, "w") + field(2, "y") + field(4, "Conv")
    node += b"".join(field(5, each) for each in attributes)
    shape = b"".join(field(1, field(1, side)) for side in (1, weights.shape[1], 8, 8))
    given = field(1, "x") + field(2, field(1, field(1, 1) + field(2, shape)))
    answer = field(1, "y") + field(2, field(1, field(1, 1) + field(2, b"")))
    graph = field(1, node) + field(2, "g") + field(5, tensor) + field(11, given) + field(12, answer)
    return field(1, 8) + field(7, graph) + field(8, field(1, "") + field(2, 13))


@pytest.mark.parametrize("packed", [False, True])
def test_a_convolution_without_kernel_shape_answers_by_its_weights(packed: bool, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    weights = random.normal(size=(4, 3, 3, 3)).astype(np.float32)
    seen = random.normal(size=(1, 3, 8, 8)).astype(np.float32)
    path = tmp_path / "one.onnx"
    path.write_bytes(network(weights, packed=packed))

    read = read_network(path)
    read.setInput(seen)
    found = read.forward()

    padded = np.pad(seen[0], ((0, 0), (0, 1), (0, 1)))  # SAME_UPPER: what is missing comes last
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
    np.testing.assert_allclose(found, [np.einsum("cyxkl,ockl->oyx", windows, weights)], atol=1e-4)


def test_a_network_that_lacks_nothing_stays_as_it_is() -> None:
    whole = network(np.ones((4, 3, 3, 3), np.float32), named=True)

    assert with_kernel_shapes(whole) == whole
    assert with_kernel_shapes(network(np.ones((4, 3, 3, 3), np.float32))) == whole


@pytest.mark.shared
def test_face_api_answers_as_tensorflow_does(shared: Path) -> None:
    """The numbers are of the same weights in TensorFlow's convolutions, on an even grey."""
    logits = np.array([-0.1122, -2.0574, -3.4208, -3.5574, -8.0200, -3.6160, -5.8179])

    found = FaceApi(shared / FACE_API).probabilities([np.full((112, 112), 120, np.uint8)], Framing())

    np.testing.assert_allclose(found, [np.exp(logits) / np.exp(logits).sum()], atol=1e-3)


@pytest.mark.parametrize("content", [b"\x08\x08no network", b"", b"\x3a\xff", b"\x3b", b"\xff" * 12])
def test_a_damaged_network_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "face_api.onnx"
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"cannot read .*face_api\.onnx as an ONNX network .*copy it again"):
        read_network(path)


def test_a_network_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*none\.onnx.*No such file"):
        read_network(tmp_path / "none.onnx")


@pytest.mark.shared
def test_a_network_that_is_cut_off_is_named(shared: Path, tmp_path: Path) -> None:
    path = tmp_path / "face_api.onnx"
    path.write_bytes((shared / FACE_API).read_bytes()[:600_000])

    with pytest.raises(DataError, match=r"cannot read .*is cut off.*copy it again"):
        read_network(path)

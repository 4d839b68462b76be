"""What an exported int8 file is, in the manifest's terms, and how it answers; needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import ExportError
from oahega_build.models.interpreter import open_interpreter
from oahega_edge.chain.preprocess import Quantizer, golden_pixels
from oahega_edge.manifest import Golden, GoldenSample, InputTensor, OutputTensor, Quantization

GOLDEN_SEED = 7
GOLDEN_TOLERANCE = 12.0
"""In quantization steps. The same file answered up to 9 steps apart on three runtimes; a flipped bit in a
weight that matters moves the answer further."""
GOLDEN_SAMPLES = 2048
"""Values per output, at random places: an even stride would meet the same channels of a head again and again
and miss a broken bias in another channel."""
_INTEGER = ("int8", "int32")
"""The types of activations and weights, and of biases."""


def require_int8(data: bytes) -> None:
    """Raise ExportError with the first offending tensors unless all tensors of the file are integers."""
    interpreter = open_interpreter(data)
    ends = interpreter.get_input_details() + interpreter.get_output_details()
    offending = [f"{t['name']} {_dtype(t)}" for t in ends if _dtype(t) != "int8"]
    offending += [
        f"{t['name']} {_dtype(t)}"
        for t in interpreter.get_tensor_details()
        if _dtype(t) not in _INTEGER and t["name"]  # runtimes append nameless scratch tensors
    ]
    if offending:
        raise ExportError(f"the file is not int8 throughout: {', '.join(offending[:5])}")


def _dtype(details: Mapping[str, Any]) -> Any:
    return np.dtype(details["dtype"]).name


def input_tensor(
    data: bytes, colour: Literal["rgb", "grey"], pixel_scale: float, pixel_offset: float
) -> InputTensor:
    """The manifest's description of the file's one input."""
    (details,) = open_interpreter(data).get_input_details()
    _, height, width, channels = (int(n) for n in details["shape"])
    expected = 3 if colour == "rgb" else 1
    if channels != expected:
        raise ExportError(f"the input has {channels} channels, {colour} pictures have {expected}")
    return InputTensor(
        width=width,
        height=height,
        colour=colour,
        dtype=_dtype(details),
        quantization=_quantization(details),
        pixel_scale=pixel_scale,
        pixel_offset=pixel_offset,
    )


def output_tensors(data: bytes, roles: Mapping[str, str]) -> tuple[OutputTensor, ...]:
    """The manifest's description of the outputs: `roles` maps a role to its name in `serving_default`.

    The name is that of the Keras output layer. Raises ExportError for a role that the file does not have.
    """
    interpreter = open_interpreter(data)
    runner = interpreter.get_signature_runner("serving_default")
    found = runner.get_output_details()
    missing = sorted(set(roles.values()) - set(found))
    if missing:
        raise ExportError(f"the file has no outputs {missing}; its signature has {sorted(found)}")
    return tuple(
        OutputTensor(
            role=role,
            tensor=name,
            shape=tuple(int(n) for n in found[name]["shape"]),
            dtype=_dtype(found[name]),
            quantization=_quantization(found[name]),
        )
        for role, name in roles.items()
    )


def _quantization(details: Mapping[str, Any]) -> Quantization | None:
    if _dtype(details) == "float32":
        return None
    scale, zero_point = details["quantization"]
    return Quantization(scale=float(scale), zero_point=int(zero_point))


def golden(data: bytes, input_: InputTensor, outputs: Sequence[OutputTensor]) -> Golden:
    """The answer of the file to `preprocess.golden_pixels`, at up to GOLDEN_SAMPLES places per output."""
    tensor = Quantizer(input_)(golden_pixels(input_, GOLDEN_SEED))
    answers = Exported(data, outputs).run(tensor)
    samples = []
    for output in outputs:
        flat = answers[output.role].reshape(-1)
        places = np.random.default_rng(GOLDEN_SEED).permutation(len(flat))
        index = np.sort(places[:GOLDEN_SAMPLES])
        samples.append(
            GoldenSample(
                role=output.role,
                index=tuple(int(i) for i in index),
                value=tuple(float(flat[i]) for i in index),
            )
        )
    return Golden(seed=GOLDEN_SEED, tolerance=GOLDEN_TOLERANCE, samples=tuple(samples))


@dataclass(frozen=True, slots=True)
class Exported:
    """An exported file that runs as on the device: quantized tensors in, quantized tensors by role out."""

    data: bytes
    outputs: Sequence[OutputTensor]

    def run(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Invoke once."""
        return next(iter(self.run_all([tensor])))

    def run_all(self, tensors: Iterable[NDArray[Any]]) -> Iterable[dict[str, NDArray[Any]]]:
        """Invoke for each tensor with one interpreter on one thread."""
        interpreter = open_interpreter(self.data)
        runner = interpreter.get_signature_runner("serving_default")
        (name,) = runner.get_input_details()
        for tensor in tensors:
            answer = runner(**{name: tensor})
            yield {output.role: np.array(answer[output.tensor]) for output in self.outputs}

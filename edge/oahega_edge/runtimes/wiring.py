"""Which tensor of a file is which role of the manifest, and whether both say the same of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from oahega_edge.errors import BundleError
from oahega_edge.runtimes.tflite_file import TensorFacts, TfliteFacts

if TYPE_CHECKING:
    from oahega_edge.manifest import InputTensor, OutputTensor, Quantization


@dataclass(frozen=True, slots=True)
class Wire:
    """One tensor of the file and what the daemon calls it."""

    role: str
    index: int
    """In the interpreter."""
    shape: tuple[int, ...]
    dtype: str
    """numpy's name of it."""

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Wiring:
    """The one input and the outputs in the manifest's order."""

    input: Wire
    outputs: tuple[Wire, ...]

    @property
    def all(self) -> tuple[Wire, ...]:
        """The input, then the outputs."""
        return self.input, *self.outputs

    @property
    def output_indices(self) -> list[int]:
        """In the interpreter, in the order of `outputs`."""
        return [output.index for output in self.outputs]

    def by_role(self, arrays: Iterable[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Outputs in the order of `outputs` to outputs by role."""
        return {output.role: array for output, array in zip(self.outputs, arrays, strict=True)}

    def checked(self, tensor: NDArray[Any]) -> NDArray[Any]:
        """The input, once it is what the model takes; ValueError otherwise."""
        if tensor.shape != self.input.shape or tensor.dtype != self.input.dtype:
            raise ValueError(
                f"the model takes {self.input.shape} {self.input.dtype}, got {tensor.shape} {tensor.dtype}"
            )
        return np.ascontiguousarray(tensor)


def wire(path: Path, facts: TfliteFacts, input_: InputTensor, outputs: tuple[OutputTensor, ...]) -> Wiring:
    """Find every role by name; BundleError with all disagreements at once."""
    problems: list[str] = []
    if len(facts.inputs) != 1:
        raise BundleError(f"model {path} has {len(facts.inputs)} inputs, it must have one; build it again")
    given = facts.inputs[0]
    problems += _differences("input", given, input_.shape, input_.dtype, input_.quantization)
    wires: list[Wire] = []
    for output in outputs:
        found = facts.output(output.tensor)
        if found is None:
            names = ", ".join([*facts.output_names] or [tensor.name for tensor in facts.outputs])
            problems.append(f"output {output.tensor!r} is not in the file, which has {names}")
            continue
        problems += _differences(
            f"output {output.role}", found, output.shape, output.dtype, output.quantization
        )
        wires.append(Wire(output.role, found.index, output.shape, output.dtype))
    if len({one.index for one in wires}) != len(wires):
        problems.append("two roles name the same tensor")
    if problems:
        raise BundleError(
            f"model {path} and the manifest disagree: {'; '.join(problems)}; make the bundle again"
        )
    return Wiring(Wire("input", given.index, input_.shape, input_.dtype), tuple(wires))


def _differences(
    what: str, tensor: TensorFacts, shape: tuple[int, ...], dtype: str, quantization: Quantization | None
) -> Iterator[str]:
    if tensor.shape != tuple(shape):
        yield f"{what} has shape {tensor.shape} in the file, {tuple(shape)} in the manifest"
    if tensor.dtype != dtype:
        yield f"{what} is {tensor.dtype} in the file, {dtype} in the manifest"
    elif quantization is not None:
        scale, zero_point = tensor.quantization or (math.nan, 0)
        if not math.isclose(scale, quantization.scale, rel_tol=1e-6):  # the file holds float32
            yield f"{what} has scale {scale:.9g} in the file, {quantization.scale:.9g} in the manifest"
        elif zero_point != quantization.zero_point:
            yield f"{what} has zero point {zero_point} in the file, {quantization.zero_point} in the manifest"

"""For the Edge TPU: the compiler, and a check that says without it which operators of a file would map.

Rules: Coral's "TensorFlow models on the Edge TPU" (coral.ai/docs/edgetpu/models-intro). Operator
versions: the compiler 16.0 reads what TensorFlow 2.5 wrote.
"""

from __future__ import annotations

import math
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from oahega_build.errors import BuildError
from oahega_build.models.operators import Operator, read_operators
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.runtimes.tflite_file import EDGETPU_OP
from oahega_edge.text import read_text

COMPILER = "edgetpu_compiler"
ON_CHIP_BYTES = 8 * 1024 * 1024
"""Memory on the chip for the parameters of all models that are compiled together."""
MOST_SOFTMAX = 16_000
PARAMETER_TYPES = ("int8", "uint8", "int32")


class CompileError(BuildError):
    """The Edge TPU compiler is absent or refused the file."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one operator maps to the Edge TPU."""

    number: int
    """Its place in the order of execution, from 0."""
    operator: str
    maps: bool
    reason: str
    """Why it does not map; empty when it does."""


@dataclass(frozen=True, slots=True)
class Check:
    """Which operators of a file would map to the Edge TPU."""

    file: str
    verdicts: tuple[Verdict, ...]
    parameter_bytes: int
    """Bytes of weights and biases that would be held on the chip."""
    compiled: bool
    """Whether the file has already been compiled for the Edge TPU."""

    @property
    def mapped(self) -> int:
        """How many operators become part of the one custom operator."""
        return sum(verdict.maps for verdict in self.verdicts)

    def sentences(self) -> list[str]:
        """One line for the file, one for every operator that stays on the CPU."""
        if self.compiled:
            return [
                f"{self.file} is already compiled for the Edge TPU; {len(self.verdicts)} operators are left"
            ]
        head = (
            f"{self.file}: {self.mapped} of {len(self.verdicts)} operators map, "
            f"{self.parameter_bytes / 1024 / 1024:.2f} MiB of parameters"
        )
        return [head] + [f"  {v.number} {v.operator}: {v.reason}" for v in self.verdicts if not v.maps]


def check(path: Path) -> Check:
    """Check a `.tflite` file operator by operator. Raises DataError when it cannot be read."""
    operators = read_operators(path)
    verdicts: list[Verdict] = []
    first: Verdict | None = None
    for number, operator in enumerate(operators):
        reason = _refusal(operator)
        if not reason and first is not None:
            reason = f"follows {first.operator} (operator {first.number}), which stays on the CPU"
        verdicts.append(Verdict(number, operator.name, not reason, reason))
        first = first or (verdicts[-1] if reason else None)
    parameters = {
        tensor.index: len(tensor.data)
        for operator in operators
        for tensor in operator.inputs
        if tensor.data is not None and tensor.dtype in PARAMETER_TYPES
    }
    compiled = any(operator.name == EDGETPU_OP for operator in operators)
    return Check(path.name, tuple(verdicts), sum(parameters.values()), compiled)


def fit_together(checks: Sequence[Check]) -> bool:
    """Whether the parameters of all files fit on the chip at once."""
    return sum(each.parameter_bytes for each in checks) <= ON_CHIP_BYTES


def _refusal(operator: Operator) -> str:
    """Why the operator does not map; empty when it does."""
    if operator.name not in _LATEST:
        return "is no operator of the Edge TPU"
    if operator.version > _LATEST[operator.name]:
        return f"has version {operator.version}, the compiler knows {_LATEST[operator.name]}"
    for tensor in (*operator.inputs, *operator.outputs):
        if tensor.data is not None:
            continue
        if tensor.dtype not in ("int8", "uint8"):
            return f"works on {tensor.dtype}, not on 8-bit integers"
        if -1 in tensor.signature:
            return f"has an open shape {list(tensor.signature)}"
        if math.prod(tensor.shape[:-3]) != 1:
            return f"has the shape {list(tensor.shape)}, only the three last sizes may be above 1"
    extra = _EXTRA.get(operator.name)
    return extra(operator) if extra else ""


def _constants(operator: Operator) -> str:
    """Weights, axes and shapes must be constants."""
    constants = all(tensor.data is not None for tensor in operator.inputs[1:])
    return "" if constants else "has weights, axes or a shape that are computed"


def _fully_connected(operator: Operator) -> str:
    if len(operator.inputs[1].scales) > 1:
        return "has weights quantized per channel"
    return _constants(operator)


def _plain(operator: Operator) -> str:
    fused = getattr(operator.options, "fusedActivationFunction", 0)
    return "has a fused activation" if fused else ""


def _softmax(operator: Operator) -> str:
    shape = list(operator.inputs[0].shape)
    if math.prod(shape[:-1]) != 1 or shape[-1] > MOST_SOFTMAX:
        return f"has the shape {shape}, one row of at most {MOST_SOFTMAX} is allowed"
    return ""


_LATEST: Mapping[str, int] = {
    "ADD": 2, "AVERAGE_POOL_2D": 2, "CONCATENATION": 2, "CONV_2D": 5, "DEPTHWISE_CONV_2D": 6,
    "EXPAND_DIMS": 1, "FULLY_CONNECTED": 9, "L2_NORMALIZATION": 2, "LOGISTIC": 2, "MAXIMUM": 2,
    "MAX_POOL_2D": 2, "MEAN": 2, "MINIMUM": 2, "MUL": 2, "PACK": 2, "PAD": 2, "PRELU": 1, "QUANTIZE": 2,
    "REDUCE_MAX": 2, "REDUCE_MIN": 2, "RELU": 2, "RELU6": 2, "RELU_N1_TO_1": 1, "RESHAPE": 1,
    "RESIZE_BILINEAR": 3, "RESIZE_NEAREST_NEIGHBOR": 3, "RSQRT": 2, "SLICE": 3, "SOFTMAX": 2,
    "SPACE_TO_DEPTH": 2, "SPLIT": 3, "SQUARED_DIFFERENCE": 2, "SQUEEZE": 1, "STRIDED_SLICE": 4, "SUB": 2,
    "SUM": 2, "TANH": 2, "TRANSPOSE": 2, "TRANSPOSE_CONV": 3,
}  # fmt: skip
"""The operators of the Edge TPU, with the last version of each that TensorFlow 2.5 wrote."""

_EXTRA: Mapping[str, Callable[[Operator], str]] = {
    "CONV_2D": _constants,
    "DEPTHWISE_CONV_2D": _constants,
    "FULLY_CONNECTED": _fully_connected,
    "CONCATENATION": _plain,
    "AVERAGE_POOL_2D": _plain,
    "MAX_POOL_2D": _plain,
    "SOFTMAX": _softmax,
    "MEAN": _constants,
    "RESHAPE": _constants,
}


@dataclass(frozen=True, slots=True)
class Compiled:
    """One compiled file."""

    file: Path
    on_chip: int
    """Number of operators that run on the Edge TPU."""
    on_cpu: int


def compile_together(files: Sequence[Path], target: Path, compiler: str = COMPILER) -> tuple[Compiled, ...]:
    """Compile each file to `NAME_edgetpu.tflite`, together, so that their parameters share the chip's memory.

    Raises CompileError when the compiler is not on the PATH or fails.
    """
    program = shutil.which(compiler)
    if program is None:
        raise CompileError(
            f"{compiler} is not on the PATH; it runs on x86-64 Debian (coral.ai/docs/edgetpu/compiler), "
            f"and the daemon runs the CPU files without it"
        )
    target.mkdir(parents=True, exist_ok=True)
    command = [program, "--show_operations", "--out_dir", str(target), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    made = [target / f"{file.stem}_edgetpu.tflite" for file in files]
    absent = [file.name for file in made if not file.is_file()]
    if done.returncode or absent:
        told = " ".join((done.stderr or done.stdout).split())[-300:]
        raise CompileError(f"{compiler} made no {', '.join(absent) or 'usable files'}: {told}")
    return tuple(_compiled(file) for file in made)


def _compiled(file: Path) -> Compiled:
    """The counts from the report that the compiler writes beside the file."""
    report = file.with_suffix(".log")
    text = read_text(report, LARGEST_DOCUMENT) if report.is_file() else ""
    chip = re.search(r"operations that will run on Edge TPU:\s*(\d+)", text)
    cpu = re.search(r"operations that will run on CPU:\s*(\d+)", text)
    if chip is None or cpu is None:
        raise CompileError(
            f"the report {report} does not say how many operators run where; see it and {file}"
        )
    return Compiled(file, int(chip[1]), int(cpu[1]))

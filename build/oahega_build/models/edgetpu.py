"""For the Edge TPU: the compiler where there is one, and else a look into the file that says what would map.

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
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from oahega_build.errors import BuildError, ExportError
from oahega_edge.runtimes.tflite_file import EDGETPU_OP

COMPILER = "edgetpu_compiler"
ON_CHIP_BYTES = 8 * 1024 * 1024
"""For the parameters of all models that are compiled together."""
MOST_SOFTMAX = 16_000


class CompileError(BuildError):
    """The Edge TPU compiler is absent or refused the file."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one operator."""

    number: int
    """Place in the file's order of execution."""
    operator: str
    maps: bool
    reason: str
    """Why it does not map; empty when it does."""


@dataclass(frozen=True, slots=True)
class Check:
    """What the Edge TPU would make of a file."""

    file: str
    verdicts: tuple[Verdict, ...]
    parameter_bytes: int
    """Weights and biases that it would hold on the chip."""
    compiled: bool
    """The file has been through the compiler already."""

    @property
    def mapped(self) -> int:
        """Operators that become part of the one custom operator."""
        return sum(verdict.maps for verdict in self.verdicts)

    def sentences(self) -> list[str]:
        """One line for the file, one for every operator that stays on the CPU."""
        if self.compiled:
            return [
                f"{self.file} is compiled for the Edge TPU already: {len(self.verdicts)} operators are left"
            ]
        head = (
            f"{self.file}: {self.mapped} of {len(self.verdicts)} operators map, "
            f"{self.parameter_bytes / 1024 / 1024:.2f} MiB of parameters"
        )
        return [head] + [f"  {v.number} {v.operator}: {v.reason}" for v in self.verdicts if not v.maps]


@dataclass(frozen=True, slots=True)
class _Operator:
    name: str
    version: int
    options: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    constant: Callable[[Any], bool]


def check(path: Path) -> Check:
    """Read a `.tflite` file operator by operator. Raises ExportError for a file that is none."""
    data = path.read_bytes()
    if data[4:8] != b"TFL3":
        raise ExportError(f"{path} is no TFLite file; give the .tflite of a bundle")
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    if len(model.subgraphs) != 1:
        raise ExportError(f"{path} has {len(model.subgraphs)} graphs; the Edge TPU takes files with one")
    graph = model.subgraphs[0]

    def constant(tensor: Any) -> bool:
        return model.buffers[tensor.buffer].data is not None

    operators = [_operator(model, graph, operator, constant) for operator in graph.operators]
    verdicts: list[Verdict] = []
    before: Verdict | None = None
    for number, operator in enumerate(operators):
        reason = _refusal(operator)
        if not reason and before is not None:
            reason = f"follows {before.operator} (operator {before.number}), which stays on the CPU"
        verdicts.append(Verdict(number, operator.name, not reason, reason))
        before = before or (verdicts[-1] if reason else None)
    size = sum(
        len(model.buffers[tensor.buffer].data)
        for tensor in graph.tensors
        if constant(tensor)
        and tensor.type in (schema.TensorType.INT8, schema.TensorType.UINT8, schema.TensorType.INT32)
    )
    return Check(path.name, tuple(verdicts), size, any(o.name == EDGETPU_OP for o in operators))


def fit_together(checks: Sequence[Check]) -> bool:
    """Whether the parameters of all files fit on the chip at once."""
    return sum(each.parameter_bytes for each in checks) <= ON_CHIP_BYTES


def _operator(model: Any, graph: Any, operator: Any, constant: Callable[[Any], bool]) -> _Operator:
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    name = _NAMES[number] if code.customCode is None else code.customCode.decode()
    return _Operator(
        name,
        code.version,
        operator.builtinOptions,
        tuple(graph.tensors[i] for i in operator.inputs if i >= 0),
        tuple(graph.tensors[i] for i in operator.outputs),
        constant,
    )


_NAMES = {number: name for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}


def _refusal(operator: _Operator) -> str:
    """Why the operator does not map, or nothing."""
    if operator.name not in _LATEST:
        return "is no operator of the Edge TPU"
    if operator.version > _LATEST[operator.name]:
        return f"has version {operator.version}, the compiler knows {_LATEST[operator.name]}"
    for tensor in (*operator.inputs, *operator.outputs):
        if operator.constant(tensor):
            continue
        if tensor.type not in (schema.TensorType.INT8, schema.TensorType.UINT8):
            return f"works on {_TYPES[tensor.type]}, not on 8-bit integers"
        if tensor.shapeSignature is not None and -1 in list(tensor.shapeSignature):
            return f"has an open shape {[int(n) for n in tensor.shapeSignature]}"
        shape = [] if tensor.shape is None else [int(n) for n in tensor.shape]
        if math.prod(shape[:-3]) != 1:
            return f"has the shape {shape}, only the three last sizes may be above 1"
    extra = _EXTRA.get(operator.name)
    return extra(operator) if extra else ""


_TYPES = {
    number: name.lower() for name, number in vars(schema.TensorType).items() if not name.startswith("_")
}


def _constants(operator: _Operator) -> str:
    """Weights, axes and shapes must stand in the file."""
    constants = all(operator.constant(tensor) for tensor in operator.inputs[1:])
    return "" if constants else "has weights, axes or a shape that are computed"


def _fully_connected(operator: _Operator) -> str:
    scales = operator.inputs[1].quantization.scale
    if scales is not None and len(scales) > 1:
        return "has weights quantized per channel"
    return _constants(operator)


def _plain(operator: _Operator) -> str:
    fused = getattr(operator.options, "fusedActivationFunction", 0)
    return "has a fused activation" if fused else ""


def _softmax(operator: _Operator) -> str:
    shape = [int(n) for n in operator.inputs[0].shape]
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
"""The chip's operators, with the last version of each that TensorFlow 2.5 wrote."""

_EXTRA: Mapping[str, Callable[[_Operator], str]] = {
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
    """What the compiler says of one file."""

    file: Path
    on_chip: int
    """Operators on the Edge TPU."""
    on_cpu: int


def compile_together(files: Sequence[Path], target: Path, compiler: str = COMPILER) -> tuple[Compiled, ...]:
    """Compile the files for one chip, so that their parameters share its memory; `NAME_edgetpu.tflite` each.

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
    """The counts in the report that the compiler leaves beside its file."""
    report = file.with_suffix(".log")
    text = report.read_text() if report.is_file() else ""
    chip = re.search(r"operations that will run on Edge TPU:\s*(\d+)", text)
    cpu = re.search(r"operations that will run on CPU:\s*(\d+)", text)
    if chip is None or cpu is None:
        raise CompileError(
            f"the report {report} does not say how many operators run where; see it and {file}"
        )
    return Compiled(file, int(chip[1]), int(cpu[1]))

"""The operators of an exported model in the order of the data, with the shapes between them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from oahega_build.errors import DataError


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of the file."""

    name: str
    shape: tuple[int, ...]
    """Of its first output."""
    weights: int
    """Bytes of its constants."""


def read_operators(path: Path) -> list[Operator]:
    """Every operator of a .tflite file. Raises DataError when it cannot be read."""
    try:
        # Without a delegate the file's own operators are listed, not the delegate's.
        kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        interpreter = Interpreter(str(path), num_threads=1, experimental_op_resolver_type=kernels)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise DataError(f"{path} cannot be read as a TFLite file: {error}") from error
    details = {d["index"]: d for d in interpreter.get_tensor_details()}
    operations = interpreter._get_ops_details()  # there is no public way to the operators
    made = {int(i) for operation in operations for i in operation["outputs"]}
    made |= {int(d["index"]) for d in interpreter.get_input_details()}
    found = []
    for operation in operations:
        constants = [details[int(i)] for i in operation["inputs"] if int(i) >= 0 and int(i) not in made]
        output = details[int(operation["outputs"][0])]
        found.append(
            Operator(
                operation["op_name"],
                tuple(int(n) for n in output["shape"]),
                sum(math.prod(int(n) for n in c["shape"]) * np.dtype(c["dtype"]).itemsize for c in constants),
            )
        )
    return found


def counts(operators: Sequence[Operator]) -> dict[str, tuple[int, int]]:
    """Operator -> (how many, bytes of their constants), the heaviest first."""
    number = Counter(operator.name for operator in operators)
    weight: Counter[str] = Counter()
    for operator in operators:
        weight[operator.name] += operator.weights
    return {name: (number[name], weight[name]) for name in sorted(number, key=lambda name: -weight[name])}

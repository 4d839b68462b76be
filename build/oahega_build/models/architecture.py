"""An exported model as a picture: its operators in the order of the data, with the shapes between them."""

from __future__ import annotations

import html
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from oahega_build.errors import DataError

ROW, WIDE, BAR = 20, 640, 150
COLOURS = {
    "CONV_2D": "#0b6bcb",
    "DEPTHWISE_CONV_2D": "#5aa7ee",
    "FULLY_CONNECTED": "#0b6bcb",
    "ADD": "#d98a00",
    "MEAN": "#8a5bc7",
    "CONCATENATION": "#d98a00",
}
OTHER = "#9aa5b0"


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


def as_svg(operators: Sequence[Operator]) -> str:
    """Figure 6: an operator a row; the bar is the share of the largest operator's weights."""
    largest = max(1, *(operator.weights for operator in operators))
    lines = []
    for number, operator in enumerate(operators):
        top = number * ROW
        colour = COLOURS.get(operator.name, OTHER)
        shape = "×".join(str(n) for n in operator.shape[1:]) or "1"
        length = BAR * operator.weights / largest
        lines.append(
            f'<rect x="0" y="{top + 3}" width="8" height="{ROW - 6}" rx="2" fill="{colour}"/>'
            f'<text x="16" y="{top + 14}">{html.escape(operator.name.lower())}</text>'
            f'<text x="215" y="{top + 14}">{shape}</text>'
            f'<rect x="320" y="{top + 5}" width="{length:.1f}" height="{ROW - 10}" rx="2" fill="{colour}"/>'
            f'<text x="{326 + length:.1f}" y="{top + 14}" fill="#5d6873">{_bytes(operator.weights)}</text>'
        )
    height = ROW * len(operators)
    return (
        f'<svg viewBox="0 0 {WIDE} {height}" role="img" aria-label="operators of the model" '
        f'style="font: 12px system-ui, sans-serif">{"".join(lines)}</svg>'
    )


def _bytes(count: int) -> str:
    if not count:
        return ""
    return f"{count} B" if count < 1000 else f"{count / 1000:.1f} kB"

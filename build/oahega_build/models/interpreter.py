"""LiteRT's interpreter on one thread, for files that the trainer made or was given."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from oahega_build.runs.reading import LARGEST_MODEL
from oahega_edge.files import read_file


def open_interpreter(model: Path | bytes) -> Interpreter:
    """An interpreter that is ready to run. The file is trusted: a broken one may end the process."""
    if isinstance(model, Path):
        model = read_file(model, LARGEST_MODEL)
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def invocation_times(models: Mapping[str, Path], rounds: int) -> dict[str, NDArray[np.float64]]:
    """Milliseconds of each invocation of each model, without input and output; the models take turns."""
    interpreters = {name: open_interpreter(path) for name, path in models.items()}
    for interpreter in interpreters.values():
        given = interpreter.get_input_details()[0]
        interpreter.set_tensor(given["index"], np.zeros(given["shape"], given["dtype"]))
    times: dict[str, NDArray[np.float64]] = {name: np.empty(rounds) for name in models}
    for i in range(rounds):
        for name, interpreter in interpreters.items():
            started = time.perf_counter()
            interpreter.invoke()
            times[name][i] = 1e3 * (time.perf_counter() - started)
    return times

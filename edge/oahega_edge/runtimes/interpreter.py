"""The few lines that touch a TFLite interpreter, the same for every runtime.

Python 3.8 upwards, standard library and numpy alone: the worker loads this file by its path in an old
environment that cannot import the package.
"""

from __future__ import annotations

from typing import Any, Sequence  # noqa: UP035 (collections.abc's cannot be subscripted in 3.8)


class Session:
    """An allocated interpreter; input and outputs by tensor index."""

    def __init__(self, interpreter: Any, input_index: int, output_indices: Sequence[int]) -> None:
        interpreter.allocate_tensors()
        self._interpreter = interpreter
        self._input = input_index
        self._outputs = tuple(output_indices)

    def run(self, tensor: Any) -> list[Any]:
        """Invoke on one input; copies of the outputs in the order of `output_indices`."""
        self._interpreter.set_tensor(self._input, tensor)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]

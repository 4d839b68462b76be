"""A model without a network: for tests and for trying the daemon out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from oahega_edge.manifest import InputTensor

Outputs = Mapping[str, NDArray[Any]]


class FakeModel:
    """Answers with fixed outputs or with a function of the input."""

    def __init__(
        self,
        outputs: Outputs | Callable[[NDArray[Any]], Outputs],
        *,
        input_: InputTensor | None = None,
        accelerator: str = "cpu",
    ) -> None:
        """`outputs`: arrays by role, or what makes them from the input; `input_`: what else to refuse."""
        self.accelerator = accelerator
        self._answer: Callable[[NDArray[Any]], Outputs] = (
            outputs if callable(outputs) else lambda _tensor: outputs
        )
        self._input = input_
        self._closed = False

    def run(self, tensor: NDArray[Any]) -> Outputs:
        """See `Model.run`."""
        if self._closed:
            raise ValueError("the model is closed")
        wanted = self._input
        if wanted is not None and (tensor.shape != wanted.shape or tensor.dtype != wanted.dtype):
            raise ValueError(
                f"the model takes {wanted.shape} {wanted.dtype}, got {tensor.shape} {tensor.dtype}"
            )
        return {role: output.copy() for role, output in self._answer(tensor).items()}

    def close(self) -> None:
        """Refuse further calls."""
        self._closed = True

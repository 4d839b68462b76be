"""A model whose interpreter lives in this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from oahega_edge.errors import AcceleratorError
from oahega_edge.runtimes.interpreter import Session
from oahega_edge.runtimes.wiring import Wiring


class InProcessModel:
    """The `Model` port over an allocated interpreter."""

    def __init__(self, session: Session, wiring: Wiring, accelerator: str) -> None:
        """`session`: its outputs are in the order of `wiring.outputs`."""
        self.accelerator = accelerator
        self._session: Session | None = session
        self._wiring = wiring

    def run(self, tensor: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """See `Model.run`."""
        if self._session is None:
            raise ValueError("the model is closed")
        checked = self._wiring.checked(tensor)
        try:
            return self._wiring.by_role(self._session.run(checked))
        except RuntimeError as error:
            raise AcceleratorError(f"inference on {self.accelerator} failed: {error}") from error

    def close(self) -> None:
        """Release the interpreter."""
        self._session = None

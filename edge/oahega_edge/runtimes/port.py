"""The model port: tensors in, tensors by role out. Decoding and suppression belong to the chain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Tensor = NDArray[Any]


class Model(Protocol):
    """A loaded network. `run` may be called from one thread at a time."""

    @property
    def accelerator(self) -> str:
        """`cpu`, `edgetpu-usb` or `edgetpu-pci`."""
        ...

    def run(self, tensor: NDArray[np.int8] | NDArray[np.uint8] | NDArray[np.float32]) -> Mapping[str, Tensor]:
        """Invoke on one input of the manifest's shape and dtype; outputs by role, as the file gives them.

        Quantized outputs stay quantized, and the arrays are the caller's. Raises AcceleratorError when the
        accelerator fails, ValueError for an input of another shape or dtype and after `close`.
        """
        ...

    def close(self) -> None:
        """Release the interpreter; may be called twice."""
        ...

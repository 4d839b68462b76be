"""What a training leaves for its export, on whichever machine: averaged weights and anchors."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from pydantic import ValidationError

from oahega_build.errors import RunError
from oahega_edge.manifest import SsdDecoder


def fill_averaged(model: keras.Model, checkpoint: Path) -> int:
    """Averaged weights into the network; returns the step that they were saved at."""
    with np.load(checkpoint) as arrays:
        values = [arrays.get(f"average/{weight.path}") for weight in model.weights]
        for weight, value in zip(model.weights, values, strict=True):
            if value is None or value.shape != tuple(weight.shape):
                raise RunError(
                    f"{checkpoint} is of another net, its {weight.path} does not fit; give a run of this net"
                )
        model.set_weights(values)
        return int(arrays["step"])


def read_decoder(folder: Path) -> SsdDecoder:
    """The anchors that a run was made with. Raises RunError when `folder` is no such run."""
    path = folder / "decoder.json"
    try:
        return SsdDecoder.model_validate_json(path.read_text())
    except (OSError, ValidationError) as error:
        raise RunError(f"{path} is no anchors of a detector ({type(error).__name__}); give a run") from error

"""What a training leaves for its export, which may run on another machine: averaged weights and anchors."""

from __future__ import annotations

from pathlib import Path

import keras
from pydantic import ValidationError

from oahega_build.errors import RunError
from oahega_build.runs.reading import LARGEST_DOCUMENT, open_arrays
from oahega_edge.manifest import SsdDecoder
from oahega_edge.text import read_text


def fill_averaged(model: keras.Model, checkpoint: Path) -> int:
    """Load the averaged weights into the network. Returns the step at which they were saved."""
    with open_arrays(checkpoint) as arrays:
        values = [arrays.get(f"average/{weight.path}") for weight in model.weights]
        for weight, value in zip(model.weights, values, strict=True):
            if value is None or value.shape != tuple(weight.shape):
                raise RunError(
                    f"{checkpoint} is of another network ({weight.path}); give a run of this network"
                )
        model.set_weights(values)
        return int(arrays["step"])


def stored_layers(checkpoint: Path) -> set[str]:
    """The names of the layers whose averaged weights the file holds."""
    with open_arrays(checkpoint) as arrays:
        return {name.split("/")[1] for name in arrays if name.startswith("average/")}


def read_decoder(folder: Path) -> SsdDecoder:
    """The anchors of a run. Raises RunError if `folder` is not a run of a detector."""
    path = folder / "decoder.json"
    try:
        return SsdDecoder.model_validate_json(read_text(path, LARGEST_DOCUMENT))
    except (OSError, ValidationError) as error:
        raise RunError(f"{path} has no anchors ({type(error).__name__}); give a run") from error

"""A labelled picture in memory."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from oahega_build.errors import DataError
from oahega_build.pictures.readers import LabelledBox
from oahega_edge.chain.frame import Pixels
from oahega_edge.decoding import decode


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """One labelled picture."""

    key: str
    encoded: bytes
    """The picture's file as it was: JPEG, PNG."""
    width: int
    height: int
    boxes: tuple[LabelledBox, ...]

    def pixels(self) -> Pixels:
        """RGB (height, width, 3)."""
        decoded = decode(self.encoded)
        if decoded is None:
            raise DataError(f"the record of {self.key} holds no picture; remove its shard and label again")
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)

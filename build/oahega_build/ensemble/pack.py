"""Faces from several sources in one file that travels: sheets of JPEG tiles, votes, weights, parts.

Training on a pack needs neither the datasets nor TensorFlow, so that it can run wherever there is a GPU.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.ensemble.variation import CANVAS
from oahega_build.errors import DataError
from oahega_build.runs.reading import open_arrays

VOTES = (
    "neutral",
    "happy",
    "surprise",
    "sad",
    "angry",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "not_a_face",
)
"""What FER+'s voters chose among."""
ACROSS = 32
"""Tiles across and down a sheet."""
QUALITY = 92
"""Of the sheets' JPEG: a face of 48 px takes about 700 bytes."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Faces with what is known of them; arrays of one length."""

    canvas: NDArray[np.uint8]
    """(n, CANVAS, CANVAS) grey: the device's crop in the middle."""
    votes: NDArray[np.float32]
    """(n, len(VOTES)) shares."""
    weight: NDArray[np.float32]
    """How much the votes are trusted, 0..1."""
    held_out: NDArray[np.bool_]
    """Not trained on: models are chosen and operating points fitted there."""

    def __len__(self) -> int:
        return len(self.canvas)

    def where(self, chosen: NDArray[np.bool_]) -> Pack:
        """The faces that `chosen` says."""
        return Pack(self.canvas[chosen], self.votes[chosen], self.weight[chosen], self.held_out[chosen])


def joined(packs: Sequence[Pack]) -> Pack:
    """All faces of several packs."""
    return Pack(
        np.concatenate([p.canvas for p in packs]),
        np.concatenate([p.votes for p in packs]),
        np.concatenate([p.weight for p in packs]),
        np.concatenate([p.held_out for p in packs]),
    )


def as_canvas(faces: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Crops (n, side, side) with their edges repeated up to the canvas."""
    side = faces.shape[1]
    edge = (CANVAS - side) // 2
    return np.pad(faces, ((0, 0), (edge, edge), (edge, edge)), "edge")


def fold(labels: Sequence[str]) -> NDArray[np.float32]:
    """(votes, labels): votes to shares of the labels; votes for anything else are spread over all of them."""
    missing = [label for label in labels if label not in VOTES]
    if missing:
        raise DataError(f"no votes are for {', '.join(missing)}; votes are for {', '.join(VOTES)}")
    rows = [
        [float(vote == label) if vote in labels else 1 / len(labels) for label in labels] for vote in VOTES
    ]
    return np.asarray(rows, np.float32)


def write_pack(path: Path, pack: Pack, side: int = CANVAS, quality: int = QUALITY) -> None:
    """`side`: of the tiles; smaller ones leave out edges that `as_canvas` repeats."""
    edge = (CANVAS - side) // 2
    tiles = pack.canvas[:, edge : edge + side, edge : edge + side]
    sheets = [_encoded(tiles[i : i + ACROSS**2], quality) for i in range(0, len(tiles), ACROSS**2)]
    arrays: dict[str, Any] = {f"sheet{i}": np.frombuffer(data, np.uint8) for i, data in enumerate(sheets)}
    data = io.BytesIO()
    np.savez(
        data,
        side=side,
        votes=pack.votes.astype(np.float16),
        weight=pack.weight.astype(np.float16),
        held_out=pack.held_out,
        **arrays,
    )
    path.write_bytes(data.getvalue())


def read_pack(path: Path) -> Pack:
    """Raises DataError when the file is no pack."""
    try:
        with open_arrays(path) as stored:
            side, count = int(stored["side"]), len(stored["votes"])
            sheets = [_decoded(stored[f"sheet{i}"], side) for i in range(-(-count // ACROSS**2))]
            return Pack(
                as_canvas(np.concatenate(sheets)[:count]),
                stored["votes"].astype(np.float32),
                stored["weight"].astype(np.float32),
                stored["held_out"],
            )
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{path} is no pack of faces ({error}); make one with `pack`") from error


def _encoded(tiles: NDArray[np.uint8], quality: int) -> bytes:
    side = tiles.shape[1]
    filled = np.zeros((ACROSS**2, side, side), np.uint8)
    filled[: len(tiles)] = tiles
    sheet = filled.reshape(ACROSS, ACROSS, side, side).transpose(0, 2, 1, 3).reshape(ACROSS * side, -1)
    how = (cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    return cv2.imencode(".jpg", sheet, how)[1].tobytes()


def _decoded(data: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    sheet = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    if sheet is None:
        raise ValueError("a sheet cannot be decoded")
    tiles = sheet.reshape(ACROSS, side, ACROSS, side).transpose(0, 2, 1, 3)
    return np.asarray(tiles.reshape(-1, side, side), np.uint8)

"""Labelled pictures in one small file, for a machine that trains and has no TensorFlow to read shards with.

`train.npz` beside the shards of a labelling run is read instead of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import DataError
from oahega_build.pictures.readers import LabelledBox
from oahega_build.pictures.record import Record
from oahega_build.runs.reading import open_arrays
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import resize_pixels

POINTS = 5
"""Landmarks of a face."""


def records_in(folder: Path, split: str) -> Iterator[Record]:
    """The records of a labelling run: from its packed file if there is one, else from its shards."""
    packed = folder / f"{split}.npz"
    if packed.is_file():
        return read_packed(packed)
    from oahega_build.pictures.records import read_records, shards_of  # TensorFlow's

    return read_records(shards_of(folder, split))


def write_packed(path: Path, records: Iterable[Record], longest: int, quality: int) -> int:
    """Pictures at most `longest` pixels long as WebP of that quality (0: as they are); how many they are."""
    kept = [_smaller(record, longest, quality) if longest else record for record in records]
    boxes = [(owner, box) for owner, record in enumerate(kept) for box in record.boxes]
    nothing = ((np.nan, np.nan),) * POINTS
    np.savez(
        path,
        keys=np.array([record.key for record in kept], str),
        sizes=np.array([(record.width, record.height) for record in kept], np.int32).reshape(-1, 2),
        ends=np.cumsum([len(record.encoded) for record in kept], dtype=np.int64),
        encoded=np.frombuffer(b"".join(record.encoded for record in kept), np.uint8),
        owners=np.array([owner for owner, _ in boxes], np.int32),
        labels=np.array([box.label for _, box in boxes], str),
        edges=np.array(
            [(b.box.left, b.box.top, b.box.right, b.box.bottom) for _, b in boxes], np.float32
        ).reshape(-1, 4),
        ignore=np.array([box.ignore for _, box in boxes], bool),
        scores=np.array([box.score for _, box in boxes], np.float32),
        sources=np.array([box.source for _, box in boxes], str),
        landmarks=np.array([box.landmarks or nothing for _, box in boxes], np.float32).reshape(-1, POINTS, 2),
    )
    return len(kept)


def read_packed(path: Path) -> Iterator[Record]:
    """The records of a packed file, in order. Raises DataError when it is no such file."""
    try:
        with open_arrays(path) as arrays:
            column = dict(arrays.items())
        boxes = _boxes_by_owner(column)
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path} is no packed labels ({error}); the verb `pack-labels` makes them") from error
    encoded = column["encoded"].tobytes()
    start = 0
    for owner, (key, end) in enumerate(zip(column["keys"], column["ends"].tolist(), strict=True)):
        width, height = (int(side) for side in column["sizes"][owner])
        yield Record(str(key), encoded[start:end], width, height, tuple(boxes.get(owner, ())))
        start = end


def _boxes_by_owner(column: dict[str, NDArray[Any]]) -> dict[int, list[LabelledBox]]:
    boxes: dict[int, list[LabelledBox]] = {}
    for i, owner in enumerate(column["owners"].tolist()):
        points = column["landmarks"][i]
        boxes.setdefault(owner, []).append(
            LabelledBox(
                str(column["labels"][i]),
                Box(*(float(edge) for edge in column["edges"][i])),
                ignore=bool(column["ignore"][i]),
                score=float(column["scores"][i]),
                source=str(column["sources"][i]),
                landmarks=() if np.isnan(points).any() else tuple((float(x), float(y)) for x, y in points),
            )
        )
    return boxes


def _smaller(record: Record, longest: int, quality: int) -> Record:
    ratio = min(1.0, longest / max(record.width, record.height))
    size = (max(1, round(record.width * ratio)), max(1, round(record.height * ratio)))
    pixels = resize_pixels(record.pixels(), size, "area")
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".webp", bgr, [cv2.IMWRITE_WEBP_QUALITY, quality])[1].tobytes()
    return Record(record.key, encoded, size[0], size[1], record.boxes)

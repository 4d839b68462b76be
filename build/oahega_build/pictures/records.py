"""Labelled pictures as TFRecord shards, in the feature names of the TF Object Detection API."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from oahega_build.errors import DataError
from oahega_build.pictures.readers import LABELS, LabelledBox
from oahega_build.pictures.record import Record
from oahega_edge.chain.geometry import Box

CLASS_NUMBERS = {label: number for number, label in enumerate(LABELS, 1)}
"""0 is the background there."""

_STRING = tf.io.VarLenFeature(tf.string)
_REAL = tf.io.VarLenFeature(tf.float32)
_WHOLE = tf.io.VarLenFeature(tf.int64)
FEATURES: dict[str, Any] = {
    "image/encoded": tf.io.FixedLenFeature((), tf.string),
    "image/format": tf.io.FixedLenFeature((), tf.string),
    "image/filename": tf.io.FixedLenFeature((), tf.string),
    "image/source_id": tf.io.FixedLenFeature((), tf.string),
    "image/key/sha256": tf.io.FixedLenFeature((), tf.string),
    "image/height": tf.io.FixedLenFeature((), tf.int64),
    "image/width": tf.io.FixedLenFeature((), tf.int64),
    "image/object/bbox/xmin": _REAL,
    "image/object/bbox/xmax": _REAL,
    "image/object/bbox/ymin": _REAL,
    "image/object/bbox/ymax": _REAL,
    "image/object/class/text": _STRING,
    "image/object/class/label": _WHOLE,
    "image/object/is_crowd": _WHOLE,
    "image/object/weight": _REAL,
    "image/object/source": _STRING,
    "image/object/keypoint/x": _REAL,
    "image/object/keypoint/y": _REAL,
    "image/object/keypoint/num": _WHOLE,
}
"""Readable with `tf.io.parse_single_example`. `is_crowd` 1 marks an ignore region, as COCO's crowds are;
`weight` is the teacher's score; `source` (ours) says who labelled the box."""


def shard_name(split: str, index: int, count: int) -> str:
    """`train-00003-of-00008.tfrecord`."""
    return f"{split}-{index:05d}-of-{count:05d}.tfrecord"


def write_shard(path: Path, records: Iterable[Record]) -> int:
    """Write a shard whole or not at all; how many records it holds."""
    temporary = path.with_name(path.name + ".writing")
    written = 0
    with tf.io.TFRecordWriter(str(temporary)) as writer:
        for record in records:
            writer.write(as_example(record).SerializeToString(deterministic=True))
            written += 1
    temporary.replace(path)
    return written


def count_records(path: Path) -> int | None:
    """How many records the shard holds, each with its checksum right; None for a truncated or damaged one."""
    try:
        return sum(1 for _ in tf.data.TFRecordDataset(str(path)))
    except tf.errors.DataLossError:
        return None


def read_records(shards: Sequence[Path]) -> Iterator[Record]:
    """Every record of the shards, in order. Raises DataError for a damaged shard."""
    for shard in shards:
        try:
            for serialized in tf.data.TFRecordDataset(str(shard)):
                yield from_example(tf.io.parse_single_example(serialized, FEATURES))
        except tf.errors.DataLossError as error:
            raise DataError(f"{shard} is truncated or damaged; the verb `label` makes it again") from error


def shards_of(folder: Path, split: str) -> list[Path]:
    """The shards of `train`, `held` or `valid`, by number. Raises DataError when one of them is missing."""
    found = sorted(folder.glob(f"{split}-*-of-*.tfrecord"))
    if not found:
        raise DataError(f"{folder} has no {split}-*.tfrecord; the verb `label` makes them")
    count = int(found[0].stem.rsplit("-", 1)[1])
    missing = [
        shard_name(split, i, count)
        for i in range(count)
        if not (folder / shard_name(split, i, count)).exists()
    ]
    if missing or len(found) != count:
        raise DataError(
            f"{folder} holds {len(found)} of {count} {split} shards; the verb `label` makes the rest"
        )
    return found


def as_example(record: Record) -> tf.train.Example:
    """The record in the API's feature names."""
    boxes = record.boxes
    name = record.key.encode()
    points = [point for b in boxes for point in b.landmarks]
    features = {
        "image/encoded": _bytes([record.encoded]),
        "image/format": _bytes([b"png" if record.encoded.startswith(b"\x89PNG") else b"jpeg"]),
        "image/filename": _bytes([name]),
        "image/source_id": _bytes([name]),
        "image/key/sha256": _bytes([hashlib.sha256(record.encoded).hexdigest().encode()]),
        "image/height": _whole([record.height]),
        "image/width": _whole([record.width]),
        "image/object/bbox/xmin": _real([b.box.left for b in boxes]),
        "image/object/bbox/xmax": _real([b.box.right for b in boxes]),
        "image/object/bbox/ymin": _real([b.box.top for b in boxes]),
        "image/object/bbox/ymax": _real([b.box.bottom for b in boxes]),
        "image/object/class/text": _bytes([b.label.encode() for b in boxes]),
        "image/object/class/label": _whole([CLASS_NUMBERS.get(b.label, 0) for b in boxes]),
        "image/object/is_crowd": _whole([int(b.ignore) for b in boxes]),
        "image/object/weight": _real([b.score for b in boxes]),
        "image/object/source": _bytes([b.source.encode() for b in boxes]),
        "image/object/keypoint/x": _real([x for x, _ in points]),
        "image/object/keypoint/y": _real([y for _, y in points]),
        "image/object/keypoint/num": _whole([len(b.landmarks) for b in boxes]),
    }
    return tf.train.Example(features=tf.train.Features(feature=features))


def from_example(parsed: Mapping[str, Any]) -> Record:
    """The inverse of `as_example`, from what `FEATURES` parsed."""
    column = {
        name.removeprefix("image/object/"): _values(parsed[name]) for name in FEATURES if "object" in name
    }
    points = list(zip(column["keypoint/x"], column["keypoint/y"], strict=True))
    boxes, used = [], 0
    for i, label in enumerate(column["class/text"]):
        number = int(column["keypoint/num"][i])
        edges = (column[f"bbox/{edge}"][i] for edge in ("xmin", "ymin", "xmax", "ymax"))
        landmarks = tuple((float(x), float(y)) for x, y in points[used : used + number])
        used += number
        boxes.append(
            LabelledBox(
                label.decode(),
                Box(*(float(edge) for edge in edges)),
                ignore=bool(column["is_crowd"][i]),
                score=float(column["weight"][i]),
                source=column["source"][i].decode(),
                landmarks=landmarks,
            )
        )
    return Record(
        parsed["image/source_id"].numpy().decode(),
        parsed["image/encoded"].numpy(),
        int(parsed["image/width"].numpy()),
        int(parsed["image/height"].numpy()),
        tuple(boxes),
    )


def _values(feature: Any) -> NDArray[Any]:
    return np.asarray(feature.values.numpy())


def _bytes(values: list[bytes]) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _real(values: list[float]) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def _whole(values: list[int]) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from oahega_build.errors import DataError
from oahega_build.pictures.readers import LabelledBox
from oahega_build.pictures.records import (
    FEATURES,
    Record,
    count_records,
    read_records,
    shard_name,
    shards_of,
    write_shard,
)
from oahega_edge.chain.geometry import Box

pytestmark = pytest.mark.training


def record(key: str) -> Record:
    encoded = cv2.imencode(".jpg", np.full((30, 40, 3), 120, np.uint8))[1].tobytes()
    eyes = ((0.3, 0.3), (0.4, 0.3), (0.35, 0.4), (0.3, 0.5), (0.4, 0.5))
    return Record(
        key,
        encoded,
        40,
        30,
        (
            LabelledBox("face", Box(0.25, 0.25, 0.5, 0.625), score=0.75, source="yunet", landmarks=eyes),
            LabelledBox("person", Box(0.0, 0.125, 1.0, 1.0)),
            LabelledBox("person", Box(0.5, 0.5, 0.625, 0.75), ignore=True, score=0.25, source="b"),
        ),
    )


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    shard = tmp_path / shard_name("train", 0, 1)
    written = record("set/train/a")

    write_shard(shard, [written])

    (back,) = read_records([shard])
    assert (back.key, back.encoded, back.width, back.height) == ("set/train/a", written.encoded, 40, 30)
    assert back.boxes[1:] == written.boxes[1:]
    assert np.allclose(back.boxes[0].landmarks, written.boxes[0].landmarks)
    assert back.pixels().shape == (30, 40, 3)


def test_an_object_detection_pipeline_reads_its_usual_features(tmp_path: Path) -> None:
    import tensorflow as tf

    write_shard(tmp_path / "s", [record("a")])

    parsed = next(
        iter(
            tf.data.TFRecordDataset(str(tmp_path / "s")).map(
                lambda s: tf.io.parse_single_example(s, FEATURES)
            )
        )
    )

    assert parsed["image/object/class/text"].values.numpy().tolist() == [b"face", b"person", b"person"]
    assert parsed["image/object/class/label"].values.numpy().tolist() == [1, 2, 2]
    assert parsed["image/object/bbox/ymin"].values.numpy().tolist() == [0.25, 0.125, 0.5]
    assert parsed["image/object/is_crowd"].values.numpy().tolist() == [0, 0, 1]
    assert tf.io.decode_jpeg(parsed["image/encoded"]).shape == (30, 40, 3)


def test_a_damaged_shard_is_told_from_a_whole_one(tmp_path: Path) -> None:
    shard = tmp_path / "s"
    write_shard(shard, [record("a"), record("b")])
    whole = shard.read_bytes()

    counts = []
    for data in (whole, whole[:-1], whole[:100], whole[:300] + b"\xff" + whole[301:]):
        shard.write_bytes(data)
        counts.append(count_records(shard))

    assert counts == [2, None, None, None]


def test_reading_a_damaged_shard_names_it(tmp_path: Path) -> None:
    shard = tmp_path / "train-00000-of-00001.tfrecord"
    write_shard(shard, [record("a")])
    shard.write_bytes(shard.read_bytes()[:-5])

    with pytest.raises(DataError, match=r"train-00000-of-00001\.tfrecord is truncated"):
        list(read_records([shard]))


def test_an_interrupted_writer_leaves_no_shard(tmp_path: Path) -> None:
    def interrupted():  # type: ignore[no-untyped-def]
        yield record("a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_shard(tmp_path / "s", interrupted())

    assert not (tmp_path / "s").exists()


def test_a_missing_shard_is_noticed(tmp_path: Path) -> None:
    write_shard(tmp_path / shard_name("train", 0, 2), [record("a")])

    with pytest.raises(DataError, match="1 of 2 train shards"):
        shards_of(tmp_path, "train")

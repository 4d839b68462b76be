"""Reading .tflite files that may be anything."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oahega_edge.errors import BundleError
from oahega_edge.runtimes.tflite_file import TfliteFacts, parse_tflite, read_tflite, tflite_facts
from tiny import NAMES, tiny


def facts_of(path: Path) -> TfliteFacts:
    return tflite_facts(path, read_tflite(path))


GOOD = {name: tiny(name).path.read_bytes() for name in NAMES}


def test_facts_of_a_real_file():
    facts = facts_of(tiny("tiny_detector").path)

    assert [tensor.shape for tensor in facts.inputs] == [(1, 64, 64, 3)]
    assert facts.output("boxes").shape == (1, 128, 4)
    assert facts.output("StatefulPartitionedCall_1:1").shape == (1, 128, 1)
    assert facts.output("nothing") is None
    assert not facts.compiled_for_edgetpu


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "compiled"),
    [
        ("edgetpu/mobilenet_v1_0.25_128_quant.tflite", False),
        ("edgetpu/mobilenet_v1_0.25_128_quant_edgetpu.tflite", True),
        ("teachers/coco_ssd_mobilenet_v1/detect.tflite", False),
        ("peers/oahega_authors/emotions.tflite", False),
    ],
)
def test_files_of_other_converters_are_read(shared, name, compiled):
    facts = facts_of(shared / "data" / name)

    assert facts.compiled_for_edgetpu is compiled
    assert len(facts.inputs) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is empty"),
        (b"\x00" * 100, "does not start as one"),
        (b"<html>not found</html>", "does not start as one"),
        (GOOD["tiny_emotion"][:8], "it ends before byte"),
        (GOOD["tiny_emotion"][: len(GOOD["tiny_emotion"]) // 2], "is not a usable TFLite file"),
    ],
)
def test_what_is_no_model_is_refused_in_one_sentence(tmp_path, content, said):
    path = tmp_path / "model.tflite"
    path.write_bytes(content)

    with pytest.raises(BundleError) as caught:
        facts_of(path)

    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(
        BundleError, match="cannot be read: No such file or directory; install the bundle again"
    ):
        read_tflite(tmp_path / "absent.tflite")


def read_or_refuse(content: bytes) -> None:
    """Any other exception is a defect."""
    with contextlib.suppress(ValueError):
        parse_tflite(content)


@given(name=st.sampled_from(NAMES), share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(name, share):
    content = GOOD[name][: int(share * len(GOOD[name]))]

    with pytest.raises(ValueError, match=r"\w"):
        parse_tflite(content)


@given(
    name=st.sampled_from(NAMES),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=8),
)
def test_a_file_with_flipped_bytes_is_read_or_refused(name, flips):
    content = bytearray(GOOD[name])
    for share, mask in flips:
        content[int(share * len(content))] ^= mask

    read_or_refuse(bytes(content))


@settings(max_examples=300)
@given(st.binary(max_size=2000))
@example(b"")
def test_any_bytes_are_read_or_refused(tail):
    read_or_refuse(b"\x1c\x00\x00\x00TFL3" + tail)

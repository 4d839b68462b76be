"""Whatever lies in a bundle's place, `check` ends with 0 or 78, one sentence, in bounded time and memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from checking import Checker
from oahega_edge.bundles.load import MANIFEST, SIGNATURE, SUMS
from strange_bundles import (
    Strange,
    any_strange_bundle,
    assert_bounded,
    check,
    made,
    signed_bundle,
    strange_bundles,
)


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    with Checker() as process:
        yield process


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return signed_bundle(tmp_path_factory.mktemp("sound") / "bundle")


@pytest.mark.parametrize("with_key", [False, True])
def test_the_sound_bundle_is_well(checker: Checker, sound: Path, with_key: bool) -> None:
    checked = check(checker, sound, with_key)

    assert checked.code == 0, checked
    assert checked.said.endswith("all is well\n")
    assert_bounded(checked)


CASES = {
    "sums are a device": [(SUMS, "device")],
    "sums are huge": [(SUMS, "huge")],
    "sums are a pipe": [(SUMS, "pipe")],
    "the signature is a pipe": [(SIGNATURE, "pipe")],
    "the manifest is a pipe": [(MANIFEST, "pipe")],
    "the manifest is a socket": [(MANIFEST, "bound_socket")],
    "the manifest is a circle": [(MANIFEST, "circle")],
    "a model is a pipe": [("detector.tflite", "pipe")],
    "a model is a device": [("detector.tflite", "device")],
    "a model is huge": [("detector.tflite", "huge")],
    "a model lies elsewhere": [("emotion.tflite", "outside")],
}


@pytest.mark.parametrize("damages", CASES.values(), ids=CASES)
@pytest.mark.parametrize("with_key", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_strange_file_is_refused(
    checker: Checker, sound: Path, tmp_path: Path, damages: list[tuple[str, str]], with_key: bool, seed: int
) -> None:
    strange = Strange((), 0, False, False, with_key, tuple(damages), seed)

    checked = check(checker, made(strange, sound, tmp_path / "bundle"), with_key)

    assert_bounded(checked)
    assert checked.code == (0 if damages[0][0] == SIGNATURE and not with_key else 78), checked


@pytest.mark.parametrize("place", ["itself", "a file", "a pipe", "a device", "nothing"])
def test_a_strange_place_is_refused(checker: Checker, tmp_path: Path, place: str) -> None:
    path = tmp_path / "bundle"
    if place == "itself":
        path.symlink_to(path)
    elif place == "a file":
        path.write_text("")
    elif place == "a pipe":
        os.mkfifo(path)
    elif place == "a device":
        path.symlink_to("/dev/zero")

    checked = check(checker, path, with_key=True)

    assert_bounded(checked)
    assert "is not a folder" in checked.said


@given(strange=strange_bundles)
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_mixture_ends_in_bounds(checker: Checker, sound: Path, strange: Strange) -> None:
    any_strange_bundle(checker, sound, strange)

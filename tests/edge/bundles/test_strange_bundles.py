"""Whatever lies in a bundle's place, `check` ends with 0 or 78, one sentence, in bounded time and memory."""

from __future__ import annotations

import base64
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from checking import Checked, Checker
from mini_bundle import make_bundle
from oahega_edge.bundles.load import MANIFEST, SIGNATURE, SUMS
from strange_bundles import KEY, PUBLIC_KEY, Strange, made, strange_bundles

MOST_CPU_S = 5.0
MOST_MB = 200.0


@pytest.fixture(scope="module")
def checker() -> Iterator[Checker]:
    with Checker() as process:
        yield process


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = make_bundle(tmp_path_factory.mktemp("sound") / "bundle")
    (bundle / SIGNATURE).write_bytes(base64.b64encode(KEY.sign((bundle / SUMS).read_bytes())))
    return bundle


def check(checker: Checker, bundle: Path, with_key: bool) -> Checked:
    keys = [f'bundle.public_keys=["{PUBLIC_KEY}"]'] if with_key else []
    return checker.check(f"bundle.path={bundle}", "deployment.context=development", *keys)


def assert_bounded(checked: Checked) -> None:
    assert checked.code in (0, 78), checked
    *before, last = checked.said.splitlines()  # what fits comes first, and words of the native runtime
    assert not any(line.startswith(("oahega-edge: ", "Traceback")) for line in before), checked
    assert last.startswith("oahega-edge: " if checked.code == 78 else "all is well"), checked
    assert len(checked.said) < 4000, checked
    assert checked.cpu_s < MOST_CPU_S, checked
    assert checked.peak_mb < MOST_MB, checked


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


def any_strange_bundle(checker: Checker, sound: Path, strange: Strange) -> Checked:
    with tempfile.TemporaryDirectory() as folder:
        bundle = made(strange, sound, Path(folder) / "bundle")
        checked = check(checker, bundle, strange.with_key)
        shutil.rmtree(bundle)
    assert_bounded(checked)
    return checked


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

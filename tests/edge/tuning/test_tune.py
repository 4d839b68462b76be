"""`oahega-edge tune`, from faces to what a device publishes, and back."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.tuning.places import place
from oahega_edge.bundles.load import DEFAULT_BUNDLE, Bundle, load_bundle
from oahega_edge.chain.classification import calibrated, softmax
from oahega_edge.errors import CameraError, EdgeError
from oahega_edge.service.settings import layers_of
from oahega_edge.service.setup import read_setup
from oahega_edge.tools.tune import Asker, TuneWish, run_tune, tune
from oahega_edge.tuning.faces import FACES, LabelledFace, keep_faces, read_faces
from oahega_edge.tuning.overlay import FILE, read_overlay

LAYERS = layers_of({"deployment.context": "development"}, "test")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(DEFAULT_BUNDLE)


def tuned(bundle: Bundle, folder: Path) -> list[str]:
    said: list[str] = []
    tune(place(bundle), bundle, folder, "2026-01-01T00:00:00Z", False, said.append)
    return said


def test_the_gain_on_faces_held_back_is_said_with_its_interval(bundle: Bundle, tmp_path: Path) -> None:
    said = tuned(bundle, tmp_path)

    assert any("balanced accuracy on faces held back" in line and "95 % interval" in line for line in said)


def test_a_device_answers_with_the_shift_and_its_model_version_says_so(
    bundle: Bundle, tmp_path: Path
) -> None:
    tuned(bundle, tmp_path)
    plain, other = read_setup(LAYERS).bundle.manifest, read_setup(LAYERS, state=tmp_path).bundle.manifest
    logits = np.zeros(len(plain.emotion.labels))

    overlay = read_overlay(tmp_path, bundle)
    by_hand = softmax(overlay.scale * np.log(calibrated(logits, plain.emotion)) + np.asarray(overlay.offsets))

    assert calibrated(logits, other.emotion) == pytest.approx(by_hand)
    assert calibrated(logits, other.emotion)[0] > calibrated(logits, plain.emotion)[0] + 0.1
    assert other.version == f"{plain.version}+tuned.{overlay.digest}"


def test_one_command_takes_it_back(bundle: Bundle, tmp_path: Path) -> None:
    tuned(bundle, tmp_path)

    run_tune(wish(undo=True), LAYERS, tmp_path, {}, None, input, lambda line: None)

    assert read_setup(LAYERS, state=tmp_path).bundle.manifest == bundle.manifest


def test_an_overlay_of_another_bundle_is_not_used(bundle: Bundle, tmp_path: Path) -> None:
    tuned(bundle, tmp_path)
    said = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(said | {"bundle": "0" * 64}))

    assert read_overlay(tmp_path, bundle) is None


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"format_version": 2}', "\x00" * 40, "{" + '"a":1,' * 20_000 + '"b":1}'],
    ids=["empty", "cut off", "a list", "newer", "zeros", "too large"],
)
def test_a_broken_overlay_is_said_and_the_bundle_used_as_it_is(
    text: str, bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text(text)

    assert read_setup(LAYERS, state=tmp_path).bundle.manifest == bundle.manifest
    assert "tune --undo" in caplog.text


@pytest.mark.parametrize(
    "change", [{"scale": 1e9}, {"offsets": [0.0, 99.0, 0, 0, 0]}, {"offsets": [0.0, 0.0]}]
)
def test_an_overlay_beyond_its_bounds_is_refused(
    change: dict[str, object], bundle: Bundle, tmp_path: Path
) -> None:
    tuned(bundle, tmp_path)
    said = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(said | change))

    with pytest.raises(EdgeError, match="tune again"):
        read_overlay(tmp_path, bundle)


def test_too_few_faces_are_refused_and_nothing_is_written(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match="24 faces"):
        tune(place(bundle, 24), bundle, tmp_path, "now", False, lambda line: None)

    assert list(tmp_path.iterdir()) == []


def test_a_shift_that_does_not_hold_is_refused_unless_asked_for(bundle: Bundle, tmp_path: Path) -> None:
    nothing_to_correct = place(bundle, 30, seed=3, bias=0.0)
    with pytest.raises(EdgeError, match="does not hold"):
        tune(nothing_to_correct, bundle, tmp_path, "now", False, lambda line: None)
    assert list(tmp_path.iterdir()) == []

    tune(nothing_to_correct, bundle, tmp_path, "now", True, lambda line: None)

    assert read_overlay(tmp_path, bundle) is not None


def test_only_numbers_and_the_asked_expression_are_kept(bundle: Bundle, tmp_path: Path) -> None:
    keep_faces(tmp_path, place(bundle, 3))

    lines = [json.loads(line) for line in (tmp_path / FACES).read_text().splitlines()]

    assert all(line.keys() == {"bundle", "logits", "label"} for line in lines)
    assert read_faces(tmp_path, bundle) == place(bundle, 3)


def test_damaged_lines_cost_themselves_only(bundle: Bundle, tmp_path: Path) -> None:
    keep_faces(tmp_path, place(bundle, 2))
    with (tmp_path / FACES).open("a") as file:
        file.write('{"bundle": 1}\nnonsense\n{"bundle": "a", "logits": [NaN, 1], "label": "happy"}\n')
    keep_faces(tmp_path, place(bundle, 2, seed=1))

    assert len(read_faces(tmp_path, bundle)) == 4


@pytest.mark.parametrize("left", ["{", '{"bundle": "a", "logits": [', "\xff", '{"bundle": 1}'])
def test_half_a_line_that_a_full_disk_left_costs_no_later_face(
    left: str, bundle: Bundle, tmp_path: Path
) -> None:
    keep_faces(tmp_path, place(bundle, 2))
    with (tmp_path / FACES).open("a") as file:
        file.write(left)
    keep_faces(tmp_path, place(bundle, 2, seed=1))

    assert read_faces(tmp_path, bundle) == [*place(bundle, 2), *place(bundle, 2, seed=1)]


def test_the_same_pictures_given_again_are_the_same_faces(bundle: Bundle, tmp_path: Path) -> None:
    for _ in range(2):
        keep_faces(tmp_path, place(bundle, 13))

    assert read_faces(tmp_path, bundle) == place(bundle, 13)


@pytest.mark.parametrize("undo", [False, True])
def test_a_state_folder_that_cannot_be_used_is_said_in_a_sentence(undo: bool, tmp_path: Path) -> None:
    (tmp_path / "of").mkdir()
    for name in (FACES, FILE):
        (tmp_path / "state" / name).mkdir(parents=True)

    with pytest.raises(EdgeError, match="run `tune` as its owner or root"):
        run_tune(
            wish(pictures=tmp_path / "of", undo=undo), LAYERS, tmp_path / "state", {}, None, input, print
        )


def test_faces_shown_before_a_camera_fails_are_kept(bundle: Bundle, tmp_path: Path) -> None:
    def shown() -> Iterator[LabelledFace]:
        yield from place(bundle, 3)
        raise CameraError("the camera has gone")

    with pytest.raises(CameraError):
        keep_faces(tmp_path, shown())

    assert read_faces(tmp_path, bundle) == place(bundle, 3)


def test_pictures_without_one_face_are_named(tmp_path: Path) -> None:
    for label in ("happy", "sad", "bored"):
        (tmp_path / "of" / label).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "of" / label / "grey.png"), np.full((60, 60, 3), 128, np.uint8))
    state, said = tmp_path / "state", []
    state.mkdir()

    with pytest.raises(EdgeError, match="0 faces"):
        run_tune(wish(pictures=tmp_path / "of"), LAYERS, state, {}, None, input, said.append)

    assert sum("0 faces, one is needed" in line for line in said) == 2
    assert any("does not tell bored" in line for line in said)


def test_without_consent_nobody_is_looked_at(bundle: Bundle) -> None:
    asker = Asker(None, bundle, 3.0, lambda text: "", print, lambda: 0.0)

    assert list(asker.faces(None, random.Random(1))) == []


def test_a_muted_device_asks_nobody(tmp_path: Path) -> None:
    from oahega_edge.service.mute import MuteSwitch

    MuteSwitch(tmp_path, tmp_path).mute()
    environment = {"RUNTIME_DIRECTORY": str(tmp_path)}

    with pytest.raises(EdgeError, match="muted"):
        run_tune(wish(), LAYERS, tmp_path, environment, None, lambda text: "y", lambda line: None)


def wish(*, pictures: Path | None = None, undo: bool = False) -> TuneWish:
    return TuneWish(pictures, 3.0, False, undo, False)

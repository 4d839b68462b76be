import base64
import contextlib
import json
import os
import random
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from mini_bundle import change, detector_entry, emotion_entry, golden, make_bundle
from oahega_edge.bundles.load import (
    DEFAULT_BUNDLE,
    EMBEDDED,
    Bundle,
    golden_answer,
    load_bundle,
    seal,
    self_test,
)
from oahega_edge.bundles.models import Models, RuntimeOptions
from oahega_edge.errors import BundleError
from oahega_edge.manifest import DetectorEntry, SecondCrop
from oahega_edge.runtimes import open_model
from oahega_edge.service.settings import read_layers
from oahega_edge.service.setup import read_setup

KEY = base64.b64encode(bytes(range(32))).decode()
"""Of nobody."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("sound") / "bundle")


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "bundle"))


def refusal(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    return str(caught.value)


def test_a_sound_bundle_loads_and_passes_its_self_test(folder: Path) -> None:
    bundle = load_bundle(folder)

    for entry in (bundle.manifest.detector, bundle.manifest.emotion):
        model = open_model(bundle.file(entry.cpu), entry.outputs, entry.input)
        assert self_test(entry, model) <= 1
        model.close()


def test_a_missing_model_is_named(folder: Path) -> None:
    (folder / "emotion.tflite").unlink()

    assert "has no readable emotion.tflite" in refusal(folder)


def test_an_empty_model_is_named(folder: Path) -> None:
    (folder / "emotion.tflite").write_bytes(b"")

    assert "emotion.tflite is empty" in refusal(folder)


def test_a_truncated_model_is_not_the_one_named(folder: Path) -> None:
    file = folder / "detector.tflite"
    file.write_bytes(file.read_bytes()[:-100])

    assert "detector.tflite is not the one the manifest names" in refusal(folder)


def test_a_manifest_edited_by_hand_is_refused(folder: Path) -> None:
    file = folder / "manifest.json"
    file.write_text(file.read_text().replace('"temperature": 1.0', '"temperature": 0.5'))

    assert "was changed after the bundle was made" in refusal(folder)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("format_version", 3, "format version 3, this release reads 1 and 2"),
        ("emotion.labels", ["happy", "sad"], "there are 2 labels"),
        ("emotion.labels", ["happy", "happy", "sad"], "labels repeat"),
        ("emotion.temperature", float("nan"), "temperature"),
        ("emotion.input.quantization.scale", float("nan"), "emotion.input.quantization.scale"),
        ("emotion.input.quantization.scale", 0, "emotion.input.quantization.scale"),
        ("emotion.cpu.file", "../../etc/passwd", "emotion.cpu.file"),
        ("detector.labels", ["face"], "differ from its anchors'"),
        ("detector.input.width", 128, "the anchors need"),
        ("detector.resize.kernel", "lanczos", "detector.resize.kernel"),
        ("surprise", 1, "surprise"),
        ("emotion.temperature", 0.049, "emotion.temperature"),
        ("emotion.temperature", 20.1, "emotion.temperature"),
        ("emotion.temperature", 5e-324, "emotion.temperature"),
        ("emotion.labels", ["happy", "sad", "x" * 65], "emotion.labels.2"),
        ("emotion.labels", [f"l{n}" for n in range(65)], "emotion.labels"),
        ("emotion.crop.scale", 1e6, "emotion.crop.scale"),
        ("emotion.golden.seed", 1 << 63, "emotion.golden.seed"),
        ("emotion.golden.tolerance", 1e9, "emotion.golden.tolerance"),
        ("emotion.card.recipe", "x" * 129, "emotion.card.recipe"),
        ("emotion.card.metrics", {"accuracy": float("inf")}, "emotion.card.metrics"),
        ("detector.decoder.size_variance", 1e30, "detector.decoder.size_variance"),
        ("terms", ["x"] * 257, "terms"),
        ("terms", ["x" * 2001], "terms.0"),
        ("created", "x" * 200, "created"),
        ("emotion.golden.samples", [{"role": "boxes", "index": [0], "value": [1]}], "role 'boxes'"),
        ("emotion.golden.samples", [{"role": "logits", "index": [5], "value": [1]}], "index 5 is outside"),
        ("emotion.golden.samples", [{"role": "logits", "index": [], "value": []}], "index"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(folder: Path, path: str, value: object, reason: str) -> None:
    change(folder, path, value)

    assert reason in refusal(folder)


def test_a_label_that_older_releases_cannot_follow_needs_a_format_that_they_refuse(tmp_path: Path) -> None:
    """They refuse every format but 1 in a sentence."""
    detector = detector_entry()
    detector["labels"][1] = detector["decoder"]["levels"][0]["anchors"][1]["label"] = "covered_face"
    detector["suggested"]["score"] = {"face": 0.5, "covered_face": 0.5}
    detector["golden"] = golden("detector", detector)

    old = make_bundle(tmp_path / "old", detector=detector)
    new = make_bundle(tmp_path / "new", detector=detector, format_version=2)

    assert "format_version is 1, label 'covered_face' needs 2" in refusal(old)
    assert load_bundle(new).manifest.detector.labels == ("face", "covered_face")


def test_a_second_crop_needs_a_format_that_older_releases_refuse(tmp_path: Path) -> None:
    """They would refuse the key as one that they do not know, without saying what is missing."""
    emotion = emotion_entry() | {"second_crop": {"scale": 1.1, "mirrored": True}}
    emotion["golden"] = golden("emotion", emotion)

    old = make_bundle(tmp_path / "old", emotion=emotion)
    new = make_bundle(tmp_path / "new", emotion=emotion, format_version=2)

    assert "format_version is 1, a second crop needs 2" in refusal(old)
    assert load_bundle(new).manifest.emotion.second_crop == SecondCrop(scale=1.1, mirrored=True)


@pytest.mark.parametrize("text", ["", "[]", "null", "{", "[" * 100_000, '{"format_version": 1}'])
def test_what_is_no_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    seal(folder)

    assert "manifest.json" in refusal(folder)


def test_the_signature_comes_before_anything_is_read_that_it_covers(folder: Path) -> None:
    for name in ("manifest.json", "detector.tflite"):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    with pytest.raises(BundleError, match="is not signed"):
        load_bundle(folder, [KEY])
    (folder / "SHA256SUMS.sig").write_text(base64.b64encode(bytes(64)).decode())
    with pytest.raises(BundleError, match="fits none of the 1 keys"):
        load_bundle(folder, [KEY])


def test_what_is_used_is_what_was_verified(folder: Path) -> None:
    """A file that is exchanged after the check is found when it is opened."""
    bundle = load_bundle(folder)
    (folder / "detector.tflite").write_bytes((folder / "emotion.tflite").read_bytes())

    with pytest.raises(BundleError, match=r"detector\.tflite is not the one the manifest names"):
        Models(bundle, RuntimeOptions())


def test_a_model_is_kept_in_memory_as_it_was_verified(folder: Path) -> None:
    """A file that is overwritten in place while its model runs changes nothing."""
    bundle = load_bundle(folder)
    with Models(bundle, RuntimeOptions()) as models:
        for name in ("detector.tflite", "emotion.tflite"):
            size = (folder / name).stat().st_size
            with (folder / name).open("r+b") as file:
                file.write(bytes(size))

        assert self_test(bundle.manifest.emotion, models.emotion) <= 1
        assert self_test(bundle.manifest.detector, models.detector) <= 1


def test_a_folder_without_digests_is_refused(folder: Path) -> None:
    (folder / "SHA256SUMS").unlink()

    assert "no readable SHA256SUMS" in refusal(folder)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    assert "is not a folder" in refusal(tmp_path / "nowhere")


def test_a_wrong_shape_is_found_when_the_model_is_opened(folder: Path) -> None:
    """The manifest agrees with itself, the file does not agree with it."""
    change(folder, "emotion.input.width", 96)
    bundle = load_bundle(folder)
    entry = bundle.manifest.emotion

    with pytest.raises(BundleError, match=r"emotion\.tflite"):
        open_model(bundle.file(entry.cpu), entry.outputs, entry.input)


def test_the_self_test_fails_for_one_flipped_bit_of_consequence(folder: Path, tmp_path: Path) -> None:
    """Some byte of the file is such a weight; the manifest's digest is not what finds it here."""
    bundle = load_bundle(folder)
    sound = bundle.file(bundle.manifest.emotion.cpu).read_bytes()

    found = any(fails_self_test(bundle, flipped, tmp_path) for flipped in with_one_bit_flipped(sound))

    assert found


def with_one_bit_flipped(data: bytes) -> Iterator[bytes]:
    for position in range(0, len(data), 11):
        yield data[:position] + bytes([data[position] ^ 0x80]) + data[position + 1 :]


def fails_self_test(bundle: Bundle, data: bytes, folder: Path) -> bool:
    entry = bundle.manifest.emotion
    file = folder / "flipped.tflite"
    file.write_bytes(data)
    try:
        model = open_model(file, entry.outputs, entry.input)
    except BundleError:
        return False  # not a weight: the file itself is broken
    try:
        self_test(entry, model)
    except BundleError:
        return True
    finally:
        model.close()
    return False


def test_a_manifest_survives_being_written_and_read(folder: Path) -> None:
    manifest = load_bundle(folder).manifest

    again = type(manifest).model_validate_json(json.dumps(manifest.model_dump(mode="json")))

    assert again == manifest


@pytest.mark.lengthy
def test_the_embedded_detector_fails_for_the_first_bit_that_moves_its_answer_far(tmp_path: Path) -> None:
    """Most single bits hardly matter; one that moves any output by three tolerances must be noticed."""
    bundle = load_bundle(DEFAULT_BUNDLE)
    entry = bundle.manifest.detector
    sound = bundle.file(entry.cpu).read_bytes()
    expected = answer_of(entry, bundle.file(entry.cpu))
    places = random.Random(9).sample(places_of_biases(sound), 200)

    for place in places:
        file = tmp_path / "flipped.tflite"
        file.write_bytes(sound[:place] + bytes([sound[place] ^ 0x80]) + sound[place + 1 :])
        answer = answer_of(entry, file)
        moved = max(np.abs(answer[role].astype(int) - expected[role]).max() for role in expected)
        if moved >= 3 * entry.golden.tolerance:
            break
    else:
        raise AssertionError("no bit of consequence was found")

    with (
        contextlib.closing(open_model(file, entry.outputs, entry.input)) as model,
        pytest.raises(BundleError, match="self-test"),
    ):
        self_test(entry, model)


def answer_of(entry: DetectorEntry, file: Path) -> Mapping[str, Any]:
    with contextlib.closing(open_model(file, entry.outputs, entry.input)) as model:
        return golden_answer(entry, model, entry.golden.seed)


def places_of_biases(data: bytes) -> list[int]:
    """Where in the file their bytes lie: one of them counts for more than a weight."""
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    found: set[int] = set()
    for detail in interpreter.get_tensor_details():
        if detail["dtype"] is np.int32 and len(detail["shape"]) == 1 and detail["shape"][0] > 4:
            values = interpreter.get_tensor(detail["index"]).tobytes()
            start = data.find(values)
            found.update(range(start, start + len(values)))
    return sorted(found)


def test_a_packaged_bundle_is_named_without_a_path_and_needs_no_signature() -> None:
    for folder in (manifest.parent for manifest in EMBEDDED.glob("*/manifest.json")):
        layers = read_layers(
            None,
            {},
            [f"bundle.path={folder.name}", f'bundle.public_keys=["{KEY}"]', "deployment.context=development"],
        )

        setup = read_setup(layers)

        assert setup.bundle.path == folder.resolve()


def test_a_folder_that_only_bears_the_name_of_a_packaged_bundle_must_be_signed(tmp_path: Path) -> None:
    copied = shutil.copytree(DEFAULT_BUNDLE, tmp_path / "default")
    layers = read_layers(
        None, {}, [f"bundle.path={copied}", f'bundle.public_keys=["{KEY}"]', "deployment.context=development"]
    )

    with pytest.raises(BundleError, match="sign"):
        read_setup(layers)

"""What the Embedding Projector reads, and wrong labels found by their neighbours."""

from __future__ import annotations

import csv
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from drawn_faces import OAHEGA_CLASSES, draw_dataset
from oahega_build.errors import DataError
from oahega_build.experiments import project as stage
from oahega_build.pictures.dataset import Sample

SHARED = Path(os.environ.get("OAHEGA_SHARED", Path(__file__).resolve().parents[4] / "shared"))


def cloud(count: int, seed: int = 0) -> tuple[np.ndarray, list[Sample]]:
    """Two clouds of vectors; the pictures themselves are noise of their own."""
    rng = np.random.default_rng(seed)
    samples, vectors = [], []
    for i in range(count):
        label = i % 2
        pixels = rng.integers(0, 256, (16, 16), np.uint8)
        samples.append(Sample(f"{'ab'[label]}/{i}.png", label, np.eye(2, dtype=np.float32)[label], pixels))
        vectors.append(np.array([1.0, 0, 0]) * (1 - 2 * label) + rng.normal(0, 0.05, 3))
    unit = np.array(vectors) / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit, samples


def test_a_picture_in_the_wrong_class_comes_first() -> None:
    vectors, samples = cloud(40)
    wrong = samples[7]
    samples[7] = Sample(wrong.name, 1 - wrong.label, wrong.target, wrong.pixels)

    found = stage.suspicious(vectors, samples)

    assert (found[0].sample.name, found[0].share, found[0].suggested) == (wrong.name, 1.0, wrong.label)
    assert found[1].share < stage.SUSPICION


def test_near_copies_do_not_vouch_for_each_others_label() -> None:
    vectors, samples = cloud(40)
    copies = [0, 2, 4, 6, 8, 10]
    for i in copies:
        samples[i] = Sample(samples[i].name, 1, samples[i].target, samples[0].pixels)
        vectors[i] = vectors[0]

    found = stage.suspicious(vectors, samples)

    assert {f.sample.name for f in found[: len(copies)]} == {samples[i].name for i in copies}


def test_too_few_pictures_are_one_sentence() -> None:
    vectors, samples = cloud(3)

    with pytest.raises(DataError, match="too few"):
        stage.suspicious(vectors, samples)


def test_the_projector_gets_as_many_lines_as_pictures_and_a_sprite_that_fits(tmp_path: Path) -> None:
    vectors, samples = cloud(11)

    stage.write_projector(tmp_path, vectors, samples, ("a", "b"))

    lines = (tmp_path / "metadata.tsv").read_text().splitlines()
    sprite = cv2.imread(str(tmp_path / "sprite.png"))
    assert lines[0] == "label\tfile"
    assert len(lines) - 1 == len((tmp_path / "vectors.tsv").read_text().splitlines()) == 11
    assert sprite.shape[:2] == (3 * stage.THUMBNAIL, 4 * stage.THUMBNAIL)
    assert f"single_image_dim: {stage.THUMBNAIL}" in (tmp_path / "projector_config.pbtxt").read_text()


def test_a_sprite_of_many_pictures_stays_below_what_browsers_load() -> None:
    for pictures in (1, 5_000, 20_000, 100_000):
        side = stage.sprite_side(pictures) * int(np.ceil(np.sqrt(pictures)))

        assert side <= stage.LARGEST_SPRITE


@pytest.mark.lengthy
@pytest.mark.training
@pytest.mark.shared
def test_the_imagenet_backbone_finds_a_face_put_into_another_class(tmp_path: Path) -> None:
    init = SHARED / "data/init/mobilenet_v1_0.25_128_quant.tflite"
    if not init.is_file():
        pytest.skip("the folder `shared` is not beside the checkout")
    data = draw_dataset(tmp_path / "six", per_class=24, smaller="")
    moved = data / "angry" / "really-surprise.png"
    shutil.move(next((data / "surprise").glob("*.png")), moved)

    run = stage.project(data, init, tmp_path / "out", "a")

    with (run / "suspicious.csv").open(newline="") as file:
        listed = [row["file"] for row in csv.DictReader(file)]
    assert "angry/really-surprise.png" in listed
    assert {p.name for p in run.iterdir()} >= {
        "embeddings.png",
        "embeddings.svg",
        "suspicious.png",
        "sprite.png",
    }
    assert len((run / "metadata.tsv").read_text().splitlines()) == 1 + 24 * len(OAHEGA_CLASSES)

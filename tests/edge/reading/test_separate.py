"""Which pictures of a folder are frames of a clip, and which are photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from oahega_edge.reading.separate import why_apart


def scene(seed: int, size: tuple[int, int] = (120, 160)) -> np.ndarray:
    """Coarse shapes, as in a photograph."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), np.uint8)
    return cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)


def saved(folder: Path, pictures: Sequence[np.ndarray], name: str = "IMG_{:04d}.png") -> str:
    for number, pixels in enumerate(pictures, 1):
        cv2.imwrite(str(folder / name.format(number)), pixels)
    return str(folder)


def panned(steps: int) -> list[np.ndarray]:
    """A camera that moves over one scene."""
    wide = scene(1, (120, 260))
    return [wide[:, 5 * i : 5 * i + 160] for i in range(steps)]


def test_frames_of_a_clip_belong_together(tmp_path: Path) -> None:
    assert why_apart(saved(tmp_path, panned(12))) == ""


def test_a_cut_in_a_clip_makes_no_photographs_of_it(tmp_path: Path) -> None:
    assert why_apart(saved(tmp_path, [*panned(8), *(scene(2) for _ in range(8))])) == ""


def test_plain_frames_belong_together(tmp_path: Path) -> None:
    assert why_apart(saved(tmp_path, [np.full((64, 64, 3), 10 * i, np.uint8) for i in range(5)])) == ""


def test_numbered_photographs_do_not_follow_on_each_other(tmp_path: Path) -> None:
    assert why_apart(saved(tmp_path, [scene(seed) for seed in range(30)])) == (
        "holds pictures that do not follow on each other"
    )


def test_pictures_of_several_sizes_are_no_clip(tmp_path: Path) -> None:
    shapes = [(300, 300), (480, 640), (200, 500), (300, 300)]

    folder = saved(tmp_path, [scene(1, size) for size in shapes], "{}.png")

    assert why_apart(folder) == "holds pictures of different sizes"


def test_names_that_differ_in_more_than_a_number_are_no_clip(tmp_path: Path) -> None:
    for name in ("anna.png", "bela.png"):
        cv2.imwrite(str(tmp_path / name), scene(1))

    assert why_apart(str(tmp_path)) == "holds pictures without a common numbering"


@pytest.mark.parametrize("given", ["file", "folder"])
def test_one_picture_is_one(given: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, [scene(1)])

    assert why_apart(folder if given == "folder" else f"{folder}/IMG_0001.png")


def test_an_animation_a_video_and_what_is_not_there_are_not_judged(tmp_path: Path) -> None:
    frames = [Image.fromarray(scene(seed)) for seed in range(3)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:])
    (tmp_path / "b.mp4").write_bytes(b"x")

    sources = [str(tmp_path / name) for name in ("a.webp", "b.mp4", "gone.jpg", "x" * 400)]

    assert [why_apart(source) for source in [*sources, "loop:a.jpg", "http://host/a.jpg"]] == [""] * 6

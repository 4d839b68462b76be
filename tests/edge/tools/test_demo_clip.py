"""The clip of the demo: two public-domain portraits that move as faces before a camera do."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from filmed import read_all
from oahega_edge.cameras import open_camera
from oahega_edge.cameras.picture_quality import brightness, filled_rows, is_black, sharpness
from oahega_edge.errors import EdgeError
from oahega_edge.tools.demo_clip import HEIGHT, WIDTH, at, draw_scene, load_portraits, write_demo_clip

ROOT = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("OAHEGA_SHARED", ROOT / "../shared"))


@pytest.fixture(scope="module")
def scene():
    """The whole clip, two pictures a second."""
    return list(draw_scene(*load_portraits(), seconds=12, fps=2))


@pytest.mark.parametrize("name", ["clip.mp4", "clip.avi"])
def test_the_clip_is_a_video_that_our_own_camera_reads(name, tmp_path):
    path = write_demo_clip(tmp_path / name, seconds=1, fps=15)

    with open_camera(str(path)) as camera:
        frames = read_all(camera)

    assert len(frames) == 15
    assert frames[0].pixels.shape == (HEIGHT, WIDTH, 3)
    assert frames[-1].captured_at == pytest.approx(14 / 15, abs=0.002)
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_it_is_the_same_each_time():
    def two_pictures():
        return list(draw_scene(*load_portraits(), seconds=0.2, fps=10))

    for one, other in zip(two_pictures(), two_pictures(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_it_dims_and_brightens_again(scene):
    lights = [brightness(picture) for picture in scene]

    assert min(lights) < 0.7 * lights[0]
    assert lights[-1] > 0.9 * lights[0]


def test_no_frame_looks_faulty(scene):
    for picture in scene:
        assert not is_black(picture)
        assert not filled_rows(picture)
        assert sharpness(picture) > 50


def test_no_two_frames_are_the_same(scene):
    assert len({picture.tobytes() for picture in scene}) == len(scene)


@pytest.mark.parametrize(
    ("time", "expected"), [(-1, 10), (0, 10), (1, 15), (2, 20), (3, 20), (4, 20), (9, 20), (0.5, 11.46)]
)
def test_values_ease_from_key_to_key(time, expected):
    assert at([(0, 10), (2, 20), (4, 20)], time) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("package", ["skimage.data", "matplotlib"])
def test_without_the_packages_the_error_says_what_to_install(package, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(EdgeError, match=r"pip install 'oahega-edge\[demo\]'"):
        write_demo_clip(tmp_path / "clip.mp4")

    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(EdgeError, match=r"cannot be written to .*missing/clip\.mp4"):
        write_demo_clip(tmp_path / "missing" / "clip.mp4", seconds=0.2)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="no data beside the checkout")
def test_an_independent_detector_sees_two_faces_of_which_one_leaves_and_comes_back(scene):
    model = next((SHARED / "data/teachers/yunet").glob("*.onnx"))
    detector = cv2.FaceDetectorYN.create(str(model), "", (WIDTH, HEIGHT))
    detector.setScoreThreshold(0.8)

    found = [detector.detect(picture[:, :, ::-1].copy())[1] for picture in scene]
    heights = [[] if faces is None else [float(face[3]) for face in faces] for faces in found]

    counts = [len(faces) for faces in heights]
    assert set(counts) == {1, 2}
    assert counts.count(2) >= 14
    assert counts[0] == counts[-1] == 2
    away = [i for i, count in enumerate(counts) if count == 1]
    assert away == list(range(away[0], away[-1] + 1))
    assert 85 < min(map(min, heights)) < 120
    assert 160 < max(map(max, heights)) < 210

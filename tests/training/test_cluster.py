"""Stages on a real Ray of this machine: the local result, whoever dies on the way."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from drawn_faces import draw_scene
from oahega_build import cluster
from oahega_build import collect as collecting
from oahega_build.collect import CollectRecipe
from oahega_build.teachers import TeacherSpec

ray = pytest.importorskip("ray", reason="Ray is not installed (extra `cluster`)")
# Ray's own modules warn, and leave files of their own open; ours must not.
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:::ray"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

SHARED = Path(os.environ.get("OAHEGA_SHARED", Path(__file__).resolve().parents[3] / "shared"))


@pytest.fixture
def spread() -> Iterator[cluster.Spread]:
    with cluster.connected(cluster.LOCAL, workers=2) as spread:
        yield spread
    gc.collect()  # what Ray left open is found here, and not blamed on the test after it


def test_a_task_whose_worker_is_killed_is_done_all_the_same(spread: cluster.Spread, tmp_path: Path) -> None:
    killed = tmp_path / "killed"

    def task(number: int) -> int:
        if number == 3 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number * number

    results = sorted(spread(task, range(6)))

    assert killed.exists()
    assert results == [0, 1, 4, 9, 16, 25]


@pytest.mark.shared
def test_faces_collected_on_the_cluster_are_the_local_ones(spread: cluster.Spread, tmp_path: Path) -> None:
    yunet = "teachers/yunet/yunet_n_640_640.onnx"
    if not (SHARED / "data" / yunet).is_file():
        pytest.skip("the folder `shared` is not beside the checkout")
    source = tmp_path / "source"
    for name, folder in (("astronaut.png", "calm"), ("intel/yes.mkv", "talking")):
        (source / folder).mkdir(parents=True)
        (source / folder / Path(name).name).symlink_to(SHARED / "data/media" / name)
    scene = draw_scene([], (320, 240), 1)
    cv2.imwrite(str(source / "calm" / "nobody.png"), scene)
    recipe = CollectRecipe(TeacherSpec("yunet", (yunet,), {}, least=0.5, side=320), every=20)

    local = collecting.collect(recipe, source, SHARED / "data", tmp_path / "local", "a")
    elsewhere = cluster.collect(recipe, source, SHARED / "data", tmp_path / "ray", "a", spread)

    assert (elsewhere / "labels.csv").read_bytes() == (local / "labels.csv").read_bytes()
    faces = sorted(p.relative_to(local) for p in (local / "faces").rglob("*.png"))
    assert faces
    assert all((elsewhere / f).read_bytes() == (local / f).read_bytes() for f in faces)

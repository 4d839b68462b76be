"""Stages on a real Ray of this machine: the local result, whoever dies on the way."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import psutil
import pytest

from drawn_faces import draw_dataset, draw_scene
from oahega_build.labelling import collect as collecting
from oahega_build.labelling import label as labelling
from oahega_build.labelling.collect import CollectRecipe
from oahega_build.labelling.teachers import TeacherSpec
from oahega_build.recipes.label_shared import RECIPE as LABELS
from oahega_build.whole import cluster
from processes import environment
from tiny_all import RECIPE as TINY
from waiting import wait_until

ray = pytest.importorskip("ray", reason="Ray is not installed (extra `cluster`)")
# Ray's own modules warn, and leave files of their own open; ours must not.
pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:::ray"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

TUNED = TINY.tune
LOCAL_SEARCH = """
import dataclasses, sys
from pathlib import Path
from oahega_build.experiments.tune import tune
from processes import environment
from waiting import wait_until
from tiny_all import RECIPE
if __name__ == "__main__":
    tune(dataclasses.replace(RECIPE.tune, trials=3), Path(sys.argv[1]), Path(sys.argv[2]), "a")
"""
"""In a process of its own: TensorFlow beside Ray's server in one process is asking for trouble."""
SHARED = Path(os.environ.get("OAHEGA_SHARED", Path(__file__).resolve().parents[4] / "shared"))


@pytest.fixture(scope="module")
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


def kill_one(name: str, found: list[int]) -> None:
    """Kill the first worker of Ray that runs the function `name`; its number goes into `found`."""

    def kill() -> bool:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "".join(process.cmdline()).startswith(f"ray::{name}"):
                    process.kill()
                    found.append(process.pid)
                    return True
        return False

    wait_until(kill)


@contextlib.contextmanager
def one_killed(name: str) -> Iterator[list[int]]:
    """While the block runs, one worker dies in the middle of its task."""
    found: list[int] = []
    killer = threading.Thread(target=kill_one, args=(name, found), daemon=True)
    killer.start()
    yield found
    killer.join(1)


@pytest.mark.shared
def test_shards_labelled_on_the_cluster_are_the_local_ones_though_a_worker_dies(
    spread: cluster.Spread, tmp_path: Path
) -> None:
    recipe = dataclasses.replace(LABELS, sets=LABELS.sets[2:4], limit=24, shards=2)

    local = labelling.label(recipe, SHARED / "data", tmp_path / "local", "a")
    with one_killed("label_shard") as killed:
        elsewhere = cluster.label(recipe, SHARED / "data", tmp_path / "ray", "a", spread)

    shards = sorted(p.name for p in local.glob("*.tfrecord"))
    assert len(killed) == 1
    assert len(shards) == 6
    assert all((elsewhere / name).read_bytes() == (local / name).read_bytes() for name in shards)
    assert (elsewhere / "metrics.json").read_text() == (local / "metrics.json").read_text()


def test_a_search_on_the_cluster_is_the_local_one_though_its_worker_dies(
    spread: cluster.Spread, tmp_path: Path
) -> None:
    six = draw_dataset(tmp_path / "six", per_class=8)
    search = dataclasses.replace(TUNED, trials=3)
    command = [sys.executable, "-c", LOCAL_SEARCH, str(six), str(tmp_path / "local")]

    subprocess.run(command, check=True, env=environment(), stdout=subprocess.DEVNULL)
    with one_killed("_tuning_worker") as killed:
        elsewhere = cluster.tune(search, six, tmp_path / "ray", "a", spread, workers=1)

    found = [json.loads((run / "trials.json").read_text()) for run in (tmp_path / "local/tune/a", elsewhere)]
    lost = json.loads((elsewhere / "metrics.json").read_text())["lost_attempts"]
    assert len(killed) == 1
    assert lost <= 1
    assert [t["params"] for t in found[0]] == [t["params"] for t in found[1]]
    assert [t["value"] for t in found[0]] == pytest.approx([t["value"] for t in found[1]], abs=1e-4)


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

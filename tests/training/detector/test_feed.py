from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from drawn_people import drawn
from oahega_build.pictures.packed import write_packed
from oahega_edge.manifest import SsdDecoder
from waiting import wait_until

pytestmark = [
    pytest.mark.training,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

DECODER = SsdDecoder.model_validate(
    {
        "levels": [
            {"stride": stride, "anchors": [{"label": "face", "width": 2 * stride, "height": 2 * stride}]}
            for stride in (8, 16)
        ],
        "center_variance": 0.1,
        "size_variance": 0.2,
    }
)


@pytest.fixture
def source(tmp_path: Path):  # type: ignore[no-untyped-def]
    from oahega_build.detector.examples.feed import Source
    from tiny_detector import RECIPE

    write_packed(tmp_path / "train.npz", map(drawn, range(12)), 0, 0)
    return Source(RECIPE, DECODER, tmp_path, tmp_path)


def test_batches_are_the_same_whatever_makes_them(source) -> None:  # type: ignore[no-untyped-def]
    """Processes start anew and read the labels themselves."""
    from oahega_build.detector.examples.feed import Feed, Maker

    composer = source.composer()
    expected = [Maker(source, composer)(number) for number in range(1, 9)]

    for processes in (False, True):
        with Feed(source, composer, workers=2, processes=processes) as feed:
            made = list(feed.batches(1, 9))
        assert len(made) == 8
        for batch, wanted in zip(made, expected, strict=True):
            assert np.array_equal(batch.pixels, wanted.pixels)
            assert np.array_equal(batch.kind, wanted.kind)
            assert np.array_equal(batch.offsets, wanted.offsets)


def test_a_process_that_cannot_read_the_labels_says_so(source) -> None:  # type: ignore[no-untyped-def]
    from oahega_build.detector.examples.feed import Feed

    composer = source.composer()
    (source.records / "train.npz").write_bytes(b"cut off")

    with (
        Feed(source, composer, workers=1, processes=True) as feed,
        pytest.raises(RuntimeError, match=r"train\.npz is no packed labels"),
    ):
        next(feed.batches(0, 2))


TRAINING = """
import multiprocessing, pickle, sys
from pathlib import Path
from oahega_build.detector.examples.feed import Feed

if __name__ == "__main__":
    source = pickle.loads(Path(sys.argv[1]).read_bytes())
    with Feed(source, source.composer(), workers=2, processes=True) as feed:
        next(feed.batches(0, 100))
        print(*(process.pid for process in multiprocessing.active_children()), flush=True)
        sys.stdin.read()
"""


def test_the_processes_end_with_a_training_that_was_killed(source, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "source").write_bytes(pickle.dumps(source))
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    command = [sys.executable, script, tmp_path / "source"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        workers = [psutil.Process(int(pid)) for pid in training.stdout.readline().split()]
        assert len(workers) == 2

        training.kill()

        for worker in workers:
            wait_until(lambda worker=worker: not worker.is_running() or worker.status() == "zombie")

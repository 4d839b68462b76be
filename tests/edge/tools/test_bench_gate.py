"""What `bench --gate` says of a scene; how much is saved depends on the machine and is only printed."""

import pytest

from gated import chain, nobody, noisy, scene
from oahega_edge.cameras.memory import FakeCamera, frames_of
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.motion import MotionGate, OpenGate
from oahega_edge.chain.pipeline import Pipeline
from oahega_edge.errors import CameraError
from oahega_edge.tools.bench_gate import bench_gate

GATES = MotionGate(1.0), OpenGate()


def still_clip() -> FakeCamera:
    return FakeCamera(frames_of([noisy(scene(), i) for i in range(10)], fps=15))


def test_a_still_scene_is_looked_at_once_a_second() -> None:
    times = bench_gate(still_clip(), lambda: chain(nobody, OpenGate()), GATES, steps=70)

    assert times.looks == pytest.approx(6 / 90)  # 90 frames at 15 a second with the warm-up
    assert times.faces == 0
    assert times.as_json()["faces"] == 0


def test_a_scene_that_is_not_empty_is_said_to_be_so() -> None:
    def somebody(frame: Frame) -> list[Detection]:
        return [Detection("face", Box(0.4, 0.4, 0.5, 0.6), 0.9)]

    def new_pipeline() -> Pipeline:
        return chain(somebody, OpenGate())

    times = bench_gate(still_clip(), new_pipeline, GATES, steps=20)

    assert times.faces == 20
    assert times.looks == 1.0
    assert "not empty" in times.as_text()


def test_a_source_without_frames_is_refused() -> None:
    with pytest.raises(CameraError, match="no frame"):
        bench_gate(FakeCamera([]), lambda: chain(nobody, OpenGate()), GATES, steps=10)

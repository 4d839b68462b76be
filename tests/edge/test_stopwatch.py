"""How long stages take, read while they are measured."""

from __future__ import annotations

from oahega_edge.stopwatch import Stopwatch


def test_the_loop_may_measure_while_another_thread_reads() -> None:
    """A moment of this clock measures once more as soon as it is looked at."""

    class Moment(float):
        def __sub__(self, other: float) -> Moment:
            return Moment(1)

        def __mul__(self, other: float) -> float:
            with watch.stage("detect"), watch.stage("meanwhile"):
                pass
            return other

    watch = Stopwatch(Moment)
    for _ in range(3):
        with watch.stage("detect"):
            pass

    assert watch.milliseconds("detect") == [1000.0] * 3
    assert watch.percentile("detect", 50) == 1000.0
    assert watch.stages == ("detect", "meanwhile")

"""The daemon as a process while its accelerator fails: no event is lost, each says what made it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from accelerated_daemon import Run, last

pytestmark = [pytest.mark.shared, pytest.mark.long]


@pytest.fixture
def run(tmp_path: Path, shared: Path) -> Iterator[Run]:
    made = Run(tmp_path, shared / "data/media/intel/walk.mkv")
    yield made
    made.end()


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("abort", "was ended by SIGABRT"),
        ("hang", "gave no answer within 0.5 s"),
        ("hang-in-native-code", "gave no answer within 0.5 s"),
        ("garbage", "wrote something else than messages"),
    ],
)
def test_events_go_on_say_degraded_and_the_accelerator_comes_back(run: Run, fault: str, said: str) -> None:
    run.reaches(last("edgetpu-usb"), "events from the accelerator")
    run.fail(fault)
    fell = run.reaches(last("cpu"), "events from the CPU")
    status = run.status()
    run.heal()
    returned = run.reaches(last("edgetpu-usb"), "events from the accelerator again")

    events = run.events()
    print(f"{fault}: next event from the CPU after {fell:.2f} s, from the accelerator {returned:.1f} s later")
    assert [event["seq"] for event in events] == list(range(events[0]["seq"], events[0]["seq"] + len(events)))
    assert all(event["degraded"] == (event["accelerator"] == "cpu") for event in events)
    assert status["accelerator"]["degraded"]
    assert said in status["accelerator"]["reason"]


def test_a_bundle_that_comes_gets_the_accelerator_at_once(run: Run) -> None:
    """The accelerator opens for one process at a time: the old bundle's must let go of it first."""
    run.reaches(last("edgetpu-usb"), "events from the accelerator")
    run.point("two")

    run.reaches(lambda events: events[-1]["model"]["version"] == "two", "events from the new bundle")
    taken = run.reaches(last("edgetpu-usb"), "events from the accelerator with the new bundle")
    status = run.status()

    events = run.events()
    print(f"bundle exchanged: from the accelerator {taken:.2f} s after the first event")
    assert [event["seq"] for event in events] == list(range(events[0]["seq"], events[0]["seq"] + len(events)))
    assert {event["accelerator"] for event in events if event["model"]["version"] == "two"} == {"edgetpu-usb"}
    assert not status["accelerator"]["degraded"]

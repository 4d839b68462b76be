"""`status` for people."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from edge.mqtt_samples import MODEL, health, state
from oahega_edge.contract.messages import CameraHealth, Delivery, Drift, DriftFigure, Health, State, System
from oahega_edge.tools.status import as_lines


def snapshot(told: Health | None = None, seen: State | None = None, **changes: Any) -> dict[str, Any]:
    """What the control socket answers."""
    return {
        "state": (seen or state()).model_dump(mode="json", by_alias=True),
        "health": (told or health()).model_dump(mode="json", by_alias=True),
        "context": "own-home",
        "bundle": MODEL.model_dump(mode="json"),
        "bundle_problem": None,
        "settings": {"smoothing.frames": 4, "trigger.threshold": 0.5},
        **changes,
    }


def line(name: str, lines: list[str]) -> str:
    return next(each for each in lines if each.startswith(name)).removeprefix(name).strip()


def test_it_is_ten_lines_at_most_and_fits_80_columns() -> None:
    lines = list(as_lines(snapshot()))

    assert len(lines) <= 10
    assert max(map(len, lines)) <= 80


def test_frame_rate_temperature_and_the_last_event_are_there() -> None:
    told = health()
    told = told.model_copy(
        update={
            "camera": CameraHealth(state="live", fps=14.93, expected_fps=15),
            "system": System(temperature_c=51.4, load=0.41, memory_mb=118.2),
            "last_event": told.time,
            "events": 12,
        }
    )

    lines = list(as_lines(snapshot(told)))

    assert line("camera", lines) == "live, 14.9 of 15 frames a second, never lost"
    assert line("board", lines) == "51 °C, load 0.4, 118 MB"
    assert line("events", lines) == "12, the last one 0 s ago"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"bundle_problem": "the bundle is cut off"}, "the bundle is cut off"),
        ({"seen": state().model_copy(update={"picture_problem": "torn"})}, "the picture is torn"),
        (
            {
                "told": health().model_copy(
                    update={
                        "delivery": Delivery(connected=False, problem="no"),
                    }
                )
            },
            "no",
        ),
        ({}, "none"),
    ],
)
def test_what_is_wrong_stands_at_the_end(changes: dict[str, Any], said: str) -> None:
    if not changes:
        changes = {"told": health().model_copy(update={"delivery": Delivery(connected=True)})}

    lines = list(as_lines(snapshot(**changes)))

    assert said in lines[-1]


def test_figures_that_a_board_does_not_have_are_no_reason_to_fail() -> None:
    told = health().model_copy(update={"system": System(), "last_event": None})

    lines = list(as_lines(snapshot(told)))

    assert "temperature unknown" in line("board", lines)
    assert line("events", lines) == "none yet"


BEFORE = date(2026, 3, 4)
QUIET = {"height": DriftFigure(distance=0.1, limit=0.3)}


@pytest.mark.parametrize(
    ("drift", "said", "problem"),
    [
        (None, "not watched", ""),
        (Drift(learning=True, learned=412), "learning how faces look here, 412 so far", ""),
        (Drift(learning=False, learned=1400), "no day compared yet", ""),
        (Drift(learning=False, learned=1400, quantities=QUIET), "none", ""),
        (
            Drift(learning=False, learned=1400, quantities=QUIET, since=BEFORE, problem="faces are darker"),
            "since 2026-03-04",
            "faces are darker",
        ),
    ],
)
def test_drift_is_a_line_and_its_reason_a_problem(drift: Drift | None, said: str, problem: str) -> None:
    lines = list(as_lines(snapshot(health().model_copy(update={"drift": drift}))))

    assert line("drift", lines) == said
    assert problem in lines[-1]

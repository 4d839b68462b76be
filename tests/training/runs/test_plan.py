"""Steps that are there are not made again, and what they cost is remembered."""

from __future__ import annotations

from pathlib import Path

import pytest

from oahega_build.runs.plan import Plan, expected_seconds, measured_costs, run_plan


def small_plan(out: Path, made: list[str], fail: str = "") -> Plan:
    """Two steps that note that they ran and leave a run folder."""

    def making(name: str, own: str) -> None:
        made.append(name)
        if name == fail:
            raise KeyboardInterrupt
        (out / "artifacts" / name / own).mkdir(parents=True)

    plan = Plan(out)
    first = plan.add(
        "first",
        "one",
        after=[],
        module="oahega_build.runs.artifacts",
        make=lambda stage, own: making("first", own),
        work=4,
    )
    plan.add(
        "second",
        "two",
        after=[first],
        module="oahega_build.runs.artifacts",
        make=lambda stage, own: making("second", own),
    )
    return plan


def test_what_is_there_is_not_made_again_and_an_interrupt_loses_only_its_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made: list[str] = []

    with pytest.raises(KeyboardInterrupt):
        run_plan(small_plan(tmp_path, made, fail="second"))
    run_plan(small_plan(tmp_path, made))
    run_plan(small_plan(tmp_path, made))

    assert made == ["first", "second", "second"]
    said = capsys.readouterr().out.splitlines()
    assert said == ["[1/2] first: one", "[2/2] second: two", "[2/2] second: two"]


def test_a_measured_step_tells_the_next_dry_run_what_it_costs(tmp_path: Path) -> None:
    run_plan(small_plan(tmp_path, []))
    (step, _) = small_plan(tmp_path, []).steps

    costs = measured_costs(tmp_path)

    assert expected_seconds(step, costs) == pytest.approx(4 * costs["first"])
    assert expected_seconds(step, {}) == step.guess

"""Without a terminal a line every half minute, and the last figures at the end."""

from __future__ import annotations

import sys

import pytest

from oahega_build.runs.output import say
from oahega_build.runs.progress import Lines, heartbeat, track
from terminals import on_a_terminal
from waiting import wait_until


def test_a_line_every_half_minute_says_how_far_it_is_and_what_is_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    shown = Lines("training", 100, clock=lambda: now)

    for second in range(1, 81):
        now = float(second)
        shown.note(f"epoch {second}")
        shown.advance()
    shown.close()

    assert capsys.readouterr().out.splitlines() == [
        "  training: 30%, about 70 s left; epoch 30",
        "  training: 60%, about 40 s left; epoch 60",
        "  epoch 80",
    ]


def test_what_an_earlier_call_did_counts_as_done_but_not_as_speed(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    shown = Lines("training", 100, done=50, clock=lambda: now)

    now = 30.0
    shown.advance(10)

    assert capsys.readouterr().out == "  training: 60%, about 2 min left\n"


def test_without_a_known_total_the_done_ones_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    shown = Lines("scenes", None, clock=lambda: now)

    now = 31.0
    shown.advance(7)

    assert capsys.readouterr().out == "  scenes: 7 done\n"


def test_tracked_items_come_whole_and_quick_work_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("abc"), "letters", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().out == ""


def test_a_silent_step_says_that_it_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with heartbeat("prune", silence=0.2):
        say("[1/1] prune")

        wait_until(lambda: "prune: running for" in capsys.readouterr().out)


def test_a_terminal_gets_a_bar_even_while_stdout_is_a_log(tmp_path: object) -> None:
    code = (
        "import sys; from pathlib import Path; from oahega_build.runs.artifacts import open_run\n"
        "from oahega_build.runs.progress import progress\n"
        "with open_run(Path(sys.argv[1]), 'train', 'a', {}), progress('training', 2) as shown:\n"
        "    print('a library'); shown.advance(); shown.note('epoch 1/2')\n"
    )

    done = on_a_terminal([sys.executable, "-c", code, str(tmp_path)], both=True)

    assert done.returncode == 0
    assert "\x1b[" in done.stdout
    assert "epoch 1/2" in done.stdout
    assert "a library" not in done.stdout

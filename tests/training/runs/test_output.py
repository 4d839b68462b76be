"""Libraries speak into the run's log; our sentences and errors reach the terminal."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import oahega_build
from oahega_build.runs.artifacts import open_run
from oahega_build.runs.output import LOG, held_back, say


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


NOISY = """
import os, sys, warnings
from pathlib import Path
from oahega_build.runs.artifacts import open_run
from oahega_build.runs.output import say

with open_run(Path(sys.argv[1]), "train", "a", {}):
    print("a library's print")
    os.write(1, b"C++ on stdout\\n")
    os.write(2, b"C++ on stderr\\n")
    os.system("echo a child")
    say("one of ours")
    if sys.argv[2] == "fail":
        raise ValueError("no such operator")
    if sys.argv[2] == "crash":
        os.abort()
print("after")
"""


def test_what_libraries_write_is_in_the_log_and_ours_on_the_terminal(tmp_path: Path) -> None:
    done = python(NOISY, tmp_path, "well")

    log = (tmp_path / "train" / "a" / LOG).read_text().splitlines()
    assert done.stdout.splitlines() == ["one of ours", "after"]
    assert done.stderr == ""
    assert sorted(log) == sorted(["a library's print", "C++ on stdout", "C++ on stderr", "a child"])


def test_an_error_is_shown_and_names_the_log(tmp_path: Path) -> None:
    done = python(NOISY, tmp_path, "fail")

    assert done.returncode == 1
    assert "ValueError: no such operator" in done.stderr
    assert str(tmp_path / "train" / "a.unfinished" / LOG) in done.stderr
    assert "C++" not in done.stdout + done.stderr


def test_a_crash_of_native_code_is_shown(tmp_path: Path) -> None:
    done = python(NOISY, tmp_path, "crash")

    assert done.returncode < 0
    assert "Fatal Python error: Aborted" in done.stderr


def test_a_quiet_run_leaves_no_log_and_an_error_before_any_output_names_none(tmp_path: Path) -> None:
    with open_run(tmp_path, "train", "quiet", {}) as run:
        pass
    with pytest.raises(ValueError, match="early") as error, open_run(tmp_path, "train", "early", {}):
        raise ValueError("early")

    assert not (run.finished / LOG).exists()
    assert not hasattr(error.value, "__notes__")


def test_a_run_inside_a_run_goes_on_in_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_run(tmp_path, "tune", "a", {}) as outer, open_run(outer.folder, "trials", "b", {}):
        print("of the inner one")
        say("trial 1 done")

    assert capsys.readouterr().out == "trial 1 done\n"
    assert (outer.finished / LOG).read_text() == "of the inner one\n"


def fail_to_load() -> None:
    print("libcuda.so is broken")
    raise OSError("absent")


def test_what_is_held_back_is_shown_only_when_the_block_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with held_back():
        print("no GPU here")
    shown = capsys.readouterr()
    with pytest.raises(OSError, match="absent"), held_back():
        fail_to_load()

    assert shown.out + shown.err == ""
    assert "libcuda.so is broken" in capsys.readouterr().err


def test_no_stage_prints_into_its_own_log() -> None:
    """What people should see goes through `say`; the command line speaks after the run."""
    package = Path(oahega_build.__file__).parent
    printing = {
        path.relative_to(package).parts[0]
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    }

    assert printing == {"cli", "runs"}


def test_what_a_verb_passes_over_is_said_on_the_terminal(tmp_path: Path) -> None:
    """And not only in the run's log."""
    for label in ("happy", "sad", "@eaDir"):
        (tmp_path / "faces" / label).mkdir(parents=True)
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 255, (48, 48), np.uint8)
            cv2.imwrite(str(tmp_path / "faces" / label / f"{number}.png"), pixels)
    (tmp_path / "faces/happy/a.CR2").write_bytes(b"x")
    command = [sys.executable, "-m", "oahega_build", "overview", "--data", str(tmp_path / "faces")]

    done = subprocess.run(
        [*command, "--artifacts", str(tmp_path / "artifacts")], capture_output=True, text=True, check=True
    )

    assert "1 x folder of the system, not read: @eaDir" in done.stdout
    assert "1 x file ending in .cr2, passed over: a.CR2" in done.stdout

"""Damaged model files against the real interpreter. In practice the manifest's sha256 stops them earlier."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

FUZZER = Path(__file__).parents[1].joinpath("fuzz_interpreter.py")


@pytest.mark.parametrize("cases", [150, pytest.param(10_000, marks=pytest.mark.long)])
def test_no_damaged_file_that_is_accepted_ends_the_process(cases):
    done = subprocess.run([sys.executable, FUZZER, str(cases), "0"], capture_output=True, text=True)

    counts = json.loads(done.stdout)
    assert set(counts) <= {"refused", "ran", "exception"}, done.stderr
    assert counts["refused"] > cases / 10
    assert counts["ran"] > cases / 10

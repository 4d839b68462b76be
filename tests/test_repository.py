"""What may be committed: text, our own models and weights, and no packages or large files."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 7 << 20
"""Bytes; the largest are the weights of the teacher, from which the next training starts."""
PACKAGES = (".deb", ".whl", ".zip", ".tar", ".gz", ".xz", ".lock", ".onnx", ".h5", ".keras")


def committed() -> list[Path]:
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("not a checkout of git")
    told = subprocess.run(
        ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    return [ROOT / name for name in told.stdout.decode().split("\0") if name]


def test_no_package_or_large_file_is_committed() -> None:
    files = [path for path in committed() if path.is_file()]

    assert [path.name for path in files if path.stat().st_size > LARGEST] == []
    assert [path.name for path in files if path.name.endswith(PACKAGES)] == []

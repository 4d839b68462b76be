"""The hash that decides whether a step is made again: recipe, inputs, code, and nothing else."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from oahega_build.runs import freshness


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `ours_<n>` with a stage that imports a module, lazily, and one that it does not import."""
    name = f"ours_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "stage.py").write_text(f"def run():\n    from {name} import part\n    return part\n")
    (folder / "part.py").write_text("import json\nVALUE = 1\n")
    (folder / "other.py").write_text("VALUE = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(freshness, "OURS", (name,))
    return folder


def digest(package: Path) -> str:
    freshness.code_digest.cache_clear()
    for name in [name for name in sys.modules if name.startswith(package.name)]:
        del sys.modules[name]
    return freshness.code_digest(f"{package.name}.stage")


def test_code_that_a_stage_imports_only_when_called_counts(package: Path) -> None:
    before = digest(package)

    (package / "part.py").write_text("VALUE = 2\n")

    assert digest(package) != before


def test_comments_docstrings_and_layout_do_not_count(package: Path) -> None:
    before = digest(package)

    (package / "part.py").write_text(
        '"""What it holds."""\n# a reason\nimport json\n\nVALUE = (\n    1\n)\n"""Below it."""\n'
    )

    assert digest(package) == before


def test_a_text_that_the_code_uses_counts(package: Path) -> None:
    (package / "part.py").write_text("VALUE = 'one'\n")
    before = digest(package)

    (package / "part.py").write_text("VALUE = 'two'\n")

    assert digest(package) != before


def test_code_that_a_stage_does_not_import_does_not_count(package: Path) -> None:
    before = digest(package)

    (package / "other.py").write_text("VALUE = 2\n")

    assert digest(package) == before


def test_the_code_of_a_training_includes_the_devices_preprocessing() -> None:
    names = freshness._closure("oahega_build.emotion.train")

    assert "oahega_edge.chain.preprocess" in names
    assert "oahega_build.emotion.network" in names
    assert "oahega_build.cli" not in names


def test_names_and_contents_of_a_folder_count_and_times_do_not(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one")
    before = freshness.folder_digest(tmp_path)

    os.utime(file, (1, 1))
    touched = freshness.folder_digest(tmp_path)
    file.write_text("two")
    changed = freshness.folder_digest(tmp_path)
    file.write_text("one")
    file.rename(tmp_path / "b.txt")

    assert touched == before
    assert len({before, changed, freshness.folder_digest(tmp_path)}) == 3


def test_recipe_and_inputs_count() -> None:
    one = freshness.fingerprint("stage", {"epochs": 1}, ["x"], "oahega_build.runs.artifacts")

    assert freshness.fingerprint("stage", {"epochs": 1}, ["x"], "oahega_build.runs.artifacts") == one
    assert freshness.fingerprint("stage", {"epochs": 2}, ["x"], "oahega_build.runs.artifacts") != one
    assert freshness.fingerprint("stage", {"epochs": 1}, ["y"], "oahega_build.runs.artifacts") != one

"""Recipes from Python files: read whole and once, and only from files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from oahega_build.errors import RecipeError
from oahega_build.runs.recipes import LARGEST_RECIPE, load_recipe

RECIPE = "from __future__ import annotations\nRECIPE = 'mine'\n"


def test_a_recipe_is_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(RECIPE)

    assert load_recipe(str(tmp_path / "mine.py"), str) == "mine"


@pytest.mark.parametrize("kind", ["absent", "a pipe", "a folder", "a device", "too large"])
def test_what_is_no_recipe_file_is_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mine.py"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a device":
        path.symlink_to("/dev/zero")
    elif kind == "too large":
        path.write_text(RECIPE + "#" * LARGEST_RECIPE)

    with pytest.raises(RecipeError, match=r"there is no recipe file .*mine\.py \(.+\)") as caught:
        load_recipe(str(path), str)

    assert "\n" not in str(caught.value)

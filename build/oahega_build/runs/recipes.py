"""Loading a recipe: a packaged one by its name, or one from a Python file."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import pkgutil
import types
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError

from oahega_build.errors import RecipeError
from oahega_edge.files import read_file

PACKAGED = "oahega_build.recipes"
LARGEST_RECIPE = 1 << 20
"""Bytes of a file."""

R = TypeVar("R")


def load_recipe(name: str, kind: type[R], overrides: Sequence[str] = ()) -> R:
    """`RECIPE` of the packaged recipe `name`, or of the Python file `name` when it ends in `.py`.

    `overrides` are `field=value` texts; each value is read as the type of its field. Raises RecipeError when
    the recipe does not exist or is not a `kind`, or when a field is unknown.
    """
    recipe = getattr(_module(name), "RECIPE", None)
    if not isinstance(recipe, kind):
        raise RecipeError(
            f"recipe {name} holds {type(recipe).__name__}, this stage needs a RECIPE of {kind.__name__}"
        )
    for override in overrides:
        recipe = _with(recipe, override)
    return recipe


def _module(name: str) -> types.ModuleType:
    if name.endswith(".py"):
        return _module_from_file(Path(name))
    if not name.isidentifier() or importlib.util.find_spec(f"{PACKAGED}.{name}") is None:
        packaged = sorted(
            module.name for module in pkgutil.iter_modules(importlib.import_module(PACKAGED).__path__)
        )
        raise RecipeError(
            f"there is no recipe {name!r}; packaged are {', '.join(packaged)}, or give a .py file"
        )
    return importlib.import_module(f"{PACKAGED}.{name}")


def _module_from_file(path: Path) -> types.ModuleType:
    try:
        source = read_file(path, LARGEST_RECIPE)
    except OSError as error:
        raise RecipeError(f"there is no recipe file {path} ({error.strerror})") from error
    module = types.ModuleType(path.stem)
    module.__file__ = str(path)
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module


def _with(recipe: R, override: str) -> R:
    field, equals, text = override.partition("=")
    names = [f.name for f in dataclasses.fields(recipe)]  # type: ignore[arg-type]
    if not equals or field not in names:
        raise RecipeError(f"--set {override!r} names no field of the recipe; there are {', '.join(names)}")
    kind = get_type_hints(type(recipe))[field]
    try:
        value = TypeAdapter(kind).validate_strings(text)
    except ValidationError as error:
        said = error.errors(include_url=False)[0]["msg"]
        raise RecipeError(f"--set {override!r} does not fit: {said}") from error
    return dataclasses.replace(recipe, **{field: value})  # type: ignore[type-var]

"""Whether a result is up to date: one hash over the recipe, the inputs and the code that made it.

Code is hashed as its syntax tree without docstrings, so that an edited comment makes no training stale.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from oahega_build.runs.artifacts import as_plain, sha256_of
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.files import read_file

OURS = ("oahega_build", "oahega_edge")
DIGITS = 12
"""Length of a fingerprint in the names of run folders."""


def fingerprint(stage: str, recipe: Any, inputs: Sequence[str], module: str) -> str:
    """Hash of a step's recipe, the fingerprints of its inputs and the code that it runs."""
    described = {
        "stage": stage,
        "recipe": as_plain(recipe),
        "inputs": list(inputs),
        "code": code_digest(module),
    }
    text = json.dumps(described, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def folder_digest(folder: Path) -> str:
    """Hash of the names and contents of all files below, except hidden ones; or of a single file."""
    files = [folder] if folder.is_file() else sorted(p for p in folder.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for path in files:
        name = path.relative_to(folder).as_posix()
        if any(part.startswith(".") for part in name.split("/") if part != "."):
            continue
        digest.update(f"{name}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()[:DIGITS]


@cache
def code_digest(module: str) -> str:
    """Hash of the code of `module` and of all our modules that it imports, directly or not."""
    closure = _closure(module)
    digest = hashlib.sha256()
    for name in sorted(closure):
        digest.update(f"{name}\0{closure[name]}\0".encode())
    return digest.hexdigest()[:DIGITS]


def _closure(module: str) -> Mapping[str, str]:
    """The code of each module by its name."""
    found: dict[str, str] = {}
    open_ends = [module]
    while open_ends:
        name = open_ends.pop()
        if name in found:
            continue
        path = _source(name)
        if path is None:
            continue
        found[name], imported = _read(read_file(path, LARGEST_DOCUMENT))
        open_ends += imported
    return found


@cache
def _read(source: bytes) -> tuple[str, list[str]]:
    """Code and imports of a module: the stages of one plan share most of theirs."""
    tree = ast.parse(source)
    imported = _imported(tree)
    return _code(tree), imported


def _source(name: str) -> Path | None:
    """The file of one of our modules; None when the name is a value in a module.

    `find_spec` of the whole name would import the packages on the way, and TensorFlow with them.
    """
    package, *inner = name.split(".")
    spec = importlib.util.find_spec(package)
    for root in (spec and spec.submodule_search_locations) or ():
        path = Path(root, *inner)
        for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


def _code(tree: ast.Module) -> str:
    """The code of the module without comments, formatting and docstrings, which it drops from the tree.

    `ast.dump` would not do: its form changes between Python versions.
    """
    return ast.unparse(_WithoutDocstrings().visit(tree))


class _WithoutDocstrings(ast.NodeTransformer):
    """Drops expressions that are only a string: docstrings, also those below attributes."""

    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node


def _imported(tree: ast.Module) -> list[str]:
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in names if name.split(".")[0] in OURS]

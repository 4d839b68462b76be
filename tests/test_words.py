"""A docstring makes sense alone, because an editor shows it alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted([*(ROOT / "edge").rglob("*.py"), *(ROOT / "build").rglob("*.py")])


def docstrings(code: str) -> Iterator[tuple[int, str]]:
    """Every text that stands as a statement, with its line: docstrings, those of attributes too."""
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, " ".join(text.split())


def halves(code: str) -> list[int]:
    """Lines of docstrings that continue another one or are continued by it."""
    return [
        line
        for line, text in docstrings(code)
        if text.endswith((",", ";")) or text.startswith(("and ", "or ", "but "))
    ]


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_docstring_is_half_a_sentence(module: Path) -> None:
    assert halves(module.read_text(encoding="utf-8")) == []


def test_half_sentences_are_found() -> None:
    assert halves(
        'a = 1\n"""Frames in which it was seen,"""\nb = 2\n"""and surely so."""\nc = 3\n"""Whole."""\n'
    ) == [2, 4]

"""docs/troubleshooting.md explains every sentence that the program logs as a warning or an error."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "edge/oahega_edge"
LEVELS = {"warning", "error", "exception", "critical", "log"}
WORDS = 3
"""A format with fewer words of its own passes on a sentence of others."""
AUTHORS = {
    "disk/file.py": ("disk/file.py", "__init__", "_check_log"),
    "publishers/connection.py": ("publishers/connection.py", "_sentence", "_try"),
    "publishers/duplicates.py": ("publishers/duplicates.py", "sees"),
    "publishers/mqtt.py": ("publishers/mqtt.py", "subscribed", "_know_whether_commands_arrive"),
    "publishers/store.py": ("publishers/store.py", "_fell_ill"),
    "runtimes/edgetpu.py": ("runtimes/edgetpu.py", "check_pair"),
    "runtimes/isolated.py": ("runtimes/edgetpu.py", "check_pair"),
    "service/daemon.py": ("cameras/recovering.py", "read"),
    "service/engines.py": ("service/engines.py", "_refuse"),
    "service/mute.py": ("service/mute.py", "_was_muted", "_write", "_forget"),
}
"""By the module that passes a sentence on: the module and functions that make it."""


@dataclass(frozen=True)
class Said:
    """The format of one call of a logger."""

    module: str
    line: int
    format: str

    @property
    def own_words(self) -> str:
        """The longest part of the sentence that is always the same."""
        return max((part.strip(" .:;,()") for part in re.split(r"%\w", self.format)), key=len)

    @property
    def passes_on(self) -> bool:
        return len(re.sub(r"%\w", " ", self.format).split()) < WORDS


def sentences(source: str, module: str) -> Iterator[Said]:
    """What a module logs at warning and above, or at a level that is computed."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        logger, level = node.func.value, node.func.attr
        if level in LEVELS and isinstance(logger, ast.Name) and logger.id in ("log", "_log"):
            text = ast.literal_eval(node.args[1 if level == "log" else 0])
            yield Said(module, node.lineno, text)


@cache
def everything_said() -> list[Said]:
    paths = sorted(PACKAGE.rglob("*.py"))
    modules = {str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8") for path in paths}
    return [said for module, source in modules.items() for said in sentences(source, module)]


def made_by(module: str, names: set[str]) -> Iterator[str]:
    """The fixed parts of the sentences that these functions of a module put together."""
    for node in ast.walk(ast.parse((PACKAGE / module).read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name in names:
            for text in (part for part in ast.walk(node) if isinstance(part, ast.JoinedStr)):
                parts = [part.value for part in text.values if isinstance(part, ast.Constant)]
                longest = max((part.strip(" .:;,()'") for part in parts), key=len)
                if len(longest.split()) >= WORDS:
                    yield longest


def plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


PAGE = plain((ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"))


def test_the_page_explains_each_sentence_of_the_log() -> None:
    own = [said for said in everything_said() if not said.passes_on]

    assert len(own) > 30
    assert [said for said in own if plain(said.own_words) not in PAGE] == []


def test_for_each_sentence_that_is_passed_on_it_is_known_who_makes_it() -> None:
    assert {said.module for said in everything_said() if said.passes_on} == set(AUTHORS)


@pytest.mark.parametrize("module", AUTHORS)
def test_the_page_explains_each_sentence_that_is_passed_on(module: str) -> None:
    author, *names = AUTHORS[module]
    made = set(made_by(author, set(names)))

    assert made, f"{names} of {author} put no sentence together"
    assert {text for text in made if plain(text) not in PAGE} == set()


def test_a_sentence_in_several_lines_and_one_of_a_computed_level_are_found() -> None:
    source = 'log.warning(\n    "the cable of "\n    "%s is loose",\n    1,\n)\n_log.log(level, "%s", 2)\n'

    found = [(said.own_words, said.passes_on) for said in sentences(source, "a.py")]

    assert found == [("the cable of", False), ("", True)]

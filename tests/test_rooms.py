"""The rooms of both packages: imports go one way, and no folder is crowded.

The map that opens each package's README gives the order: a room imports only rooms above it. Imports inside
of functions count; modules that are loaded by name (recipes, the stages of a plan) do not.
"""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EDGE, BUILD = ROOT / "edge" / "oahega_edge", ROOT / "build" / "oahega_build"
DOORS = ("__init__", "__main__")
"""Modules of a package itself that are no rooms: they lead into it from outside."""
MOST_MODULES = 14
MANY_MODULES = {"recipes"}
"""Folders that may hold more, as none of their modules needs to be known to find another one."""
TRAINING_ONLY = {"oahega_build", "tensorflow", "keras"}

both = pytest.mark.parametrize("package", [EDGE, BUILD], ids=lambda package: package.name)


def map_of(package: Path) -> list[str]:
    """The rooms in the order of the README's map."""
    text = (package.parent / "README.md").read_text()
    return re.findall(r"^\| \[`([a-z_]+)(?:/|\.py)`\]", text, re.MULTILINE)


def rooms_of(package: Path) -> set[str]:
    """Folders with modules, and the modules beside them."""
    return {room_of(module) for module in modules_of(package)} - {package.name}


def room_of(module: str) -> str:
    """The room of a module; of a door, the package itself."""
    package, *inner = module.split(".")
    return inner[0] if inner and inner[0] not in DOORS else package


def modules_of(package: Path) -> dict[str, Path]:
    """Dotted name -> file."""
    files = {path.relative_to(package.parent).with_suffix(""): path for path in package.rglob("*.py")}
    return {".".join(name.parts).removesuffix(".__init__"): path for name, path in files.items()}


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import; `from a import b` gives `a.b`, which may be a value in `a`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write the whole name of the module"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


@cache
def imports_of(package: Path) -> list[tuple[str, str, int]]:
    """(importing module, imported module, line) within a package."""
    modules = modules_of(package)
    found = []
    for module, path in sorted(modules.items()):
        for line, name in imported(path):
            target = name if name in modules else name.rpartition(".")[0]
            if target in modules and target != module:
                found.append((module, target, line))
    return found


def arrows_of(package: Path) -> dict[tuple[str, str], list[str]]:
    """(importing room, imported room) -> where. The doors are left out."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for module, target, line in imports_of(package):
        rooms = room_of(module), room_of(target)
        if rooms[0] != rooms[1] and package.name not in rooms:
            arrows.setdefault(rooms, []).append(f"{module}, line {line}, imports {target}")
    return arrows


def order_of(arrows: Iterable[tuple[str, str]]) -> list[str]:
    """The imported before the importing. Raises CycleError, which names the circle."""
    graph: dict[str, set[str]] = {}
    for source, target in arrows:
        graph.setdefault(source, set()).add(target)
    return list(graphlib.TopologicalSorter(graph).static_order())


@both
def test_the_map_names_every_room(package: Path) -> None:
    assert sorted(map_of(package)) == sorted(rooms_of(package))


@both
def test_a_room_imports_only_rooms_above_it_in_the_map(package: Path) -> None:
    order = {room: place for place, room in enumerate(map_of(package))}

    against = [
        places for (source, target), places in arrows_of(package).items() if order[target] > order[source]
    ]

    assert not against, "\n".join(place for places in against for place in places)


@both
def test_no_rooms_import_each_other_in_a_circle(package: Path) -> None:
    assert order_of(arrows_of(package))


@both
def test_no_modules_import_each_other_in_a_circle(package: Path) -> None:
    # The package's own door names what is public, and imports it only when it is asked for.
    inner = [(module, target) for module, target, _ in imports_of(package) if module != package.name]

    assert order_of(inner)


@both
def test_no_folder_is_crowded(package: Path) -> None:
    folders = {path.parent for path in package.rglob("*.py")} - {package / name for name in MANY_MODULES}

    counts = {folder.name: len([p for p in folder.glob("*.py") if p.stem not in DOORS]) for folder in folders}

    assert {name: count for name, count in counts.items() if count > MOST_MODULES} == {}


def test_a_circle_is_found_even_through_imports_inside_of_functions(tmp_path: Path) -> None:
    package = tmp_path / "package"
    (package / "low").mkdir(parents=True)
    (package / "low" / "a.py").write_text("def f():\n    from package.high import b\n")
    (package / "high.py").write_text("import package.low.a\n")

    arrows = arrows_of(package)

    assert set(arrows) == {("low", "high"), ("high", "low")}
    with pytest.raises(graphlib.CycleError):
        order_of(arrows)


def test_no_module_of_the_device_imports_the_trainer_or_its_libraries() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sorted(EDGE.rglob("*.py"))
        for line, name in imported(path)
        if name.split(".")[0] in TRAINING_ONLY
    ]

    assert wrong == []


def test_the_daemon_loads_nothing_of_the_archive() -> None:
    script = (
        "import sys, oahega_edge.cli, oahega_edge.service.assembly;"
        "bad = {'oahega_edge.archive', 'oahega_edge.insight', 'duckdb', 'psycopg', 'jinja2'};"
        "print(sorted(bad & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_the_device_starts_without_the_library_of_any_adapter() -> None:
    """Importing the core and the command line loads no TensorFlow, no camera, no broker and no runtime."""
    script = (
        "import sys, oahega_edge.cli, oahega_edge.chain.pipeline;"
        "import oahega_edge.service.settings, oahega_edge.bundles.load;"
        "bad = {'tensorflow', 'keras', 'oahega_build', 'picamera2', 'ai_edge_litert', 'paho'};"
        "print(sorted(bad & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"

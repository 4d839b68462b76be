"""The wheel holds both packages with all their files, and its extras bring what they import."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from packaging.requirements import Requirement
from skimage import data

ROOT = Path(__file__).resolve().parents[1]
WITHOUT_TENSORFLOW = (
    "import runpy, sys; sys.modules |= {'tensorflow': None, 'keras': None}; sys.argv[0] = 'oahega_build';"
    "runpy.run_module('oahega_build', run_name='__main__')"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of the wheel, which comes before the checkout on the path."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def python(installed: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=installed.parent,
        env=os.environ | {"PYTHONPATH": str(installed)},
    )


def test_both_packages_come_from_the_wheel_with_all_their_files(installed: Path) -> None:
    for folder, package in (("edge", "oahega_edge"), ("build", "oahega_build")):
        tracked = subprocess.run(
            ["git", "-C", str(ROOT / folder), "ls-files", package], capture_output=True, text=True, check=True
        ).stdout.split()

        assert {name for name in tracked if not (installed / name).is_file()} == set()


def test_the_trainer_explains_itself_without_tensorflow(installed: Path) -> None:
    done = python(installed, "-c", WITHOUT_TENSORFLOW, "--help")
    where = python(installed, "-c", "import oahega_build; print(oahega_build.__file__)")

    assert done.returncode == 0, done.stderr
    assert "train-emotion" in done.stdout
    assert Path(where.stdout.strip()).is_relative_to(installed)


def test_every_verb_of_the_trainer_explains_itself_without_tensorflow(installed: Path) -> None:
    script = (
        "import sys; sys.modules |= {'tensorflow': None, 'keras': None}\n"
        "from typer.main import get_command\n"
        "from oahega_build.cli import app\n"
        "group = get_command(app)\n"
        "for name in sorted(group.commands):\n"
        "    group.main([name, '--help'], standalone_mode=False)\n"
        "print(len(group.commands), 'verbs')\n"
    )

    done = python(installed, "-c", script)

    assert done.returncode == 0, done.stderr
    assert re.search(r"^\d\d verbs$", done.stdout, re.MULTILINE)


def test_the_installed_trainer_writes_a_report(installed: Path, tmp_path: Path) -> None:
    run = tmp_path / "artifacts" / "collect" / "a"
    run.mkdir(parents=True)
    figures = {"frames": 1, "faces": {"happy": 3}, "groups": 1, "left_out": {}}
    made = {"started": "2026-01-02T03:04:05Z", "commit": "0", "python": "3", "machine": "", "cores": 1}
    (run / "metrics.json").write_text(json.dumps(figures))
    (run / "environment.json").write_text(json.dumps(made | {"packages": {}}))
    page = tmp_path / "report.html"

    done = python(
        installed, "-m", "oahega_build", "report", "--artifacts", tmp_path / "artifacts", "--out", page
    )

    assert done.returncode == 0, done.stderr
    assert "Collected faces" in page.read_text()


def test_the_installed_device_checks_its_embedded_bundle(installed: Path) -> None:
    words = ["check", "--no-camera", "--set", "deployment.context=development"]

    done = python(installed, "-m", "oahega_edge", *words)

    assert done.returncode == 0, done.stderr
    assert "emotions: " in done.stderr


def test_the_installed_reader_reads_a_picture_in_five_lines(installed: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (five, *_) = re.findall(r"^```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    picture = tmp_path / "team.jpg"
    cv2.imwrite(str(picture), cv2.cvtColor(np.asarray(data.astronaut()), cv2.COLOR_RGB2BGR))

    done = python(installed, "-c", five.replace("team.jpg", str(picture)))

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("happy 0.")


def test_type_checkers_of_others_find_the_types(installed: Path) -> None:
    assert (installed / "oahega_edge" / "py.typed").is_file()


def test_the_extra_for_the_trainer_brings_all_that_the_trainer_imports(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if n.endswith(".dist-info/METADATA"))
        metadata = archive.read(name).decode()
    required = re.findall(r"^Requires-Dist: (.*)$", metadata, re.MULTILINE)
    owners = importlib.metadata.packages_distributions()
    needed = {
        min(plain(owner) for owner in owners[module])
        for module in imported_by(ROOT / "build" / "oahega_build")
        if module in owners and not module.startswith("oahega")
    }

    assert needed >= {"jinja2", "tensorflow", "cryptography"}
    assert needed - brought_by(required, "build") == set()


def imported_by(package: Path) -> set[str]:
    """Top-level names of every import."""
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names)


def brought_by(required: list[str], extra: str) -> set[str]:
    """Distributions that `oahega-edge[extra]` installs, what they require in turn included."""
    found: set[str] = set()
    todo = list(applying(required, {"", extra}))
    while todo:
        requirement = todo.pop()
        name = plain(requirement.name)
        if name == "oahega-edge":  # one extra names others
            todo += applying(required, requirement.extras)
        elif name not in found:
            found.add(name)
            if is_installed(name):
                own = importlib.metadata.requires(name) or []
                todo += applying(own, {"", *requirement.extras})
    return found


def applying(required: list[str], extras: set[str]) -> Iterator[Requirement]:
    """The requirements that hold here with one of these extras."""
    for text in required:
        requirement = Requirement(text)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement


def is_installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def plain(name: str) -> str:
    """As the index compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_signed_bundles_without_cryptography_name_the_extra(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules |= {'cryptography': None}\n"
        "from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle\n"
        "load_bundle(DEFAULT_BUNDLE)\n"
        "load_bundle(DEFAULT_BUNDLE, ['A' * 44])\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path)

    assert "SettingsError: bundle.public_keys asks for signed bundles" in done.stderr
    assert "oahega-edge[signed]" in done.stderr


@pytest.mark.parametrize(
    ("says", "code", "ends_with", "sentence"),
    [
        ("No known vulnerabilities found", 0, 0, ""),
        ("Found 2 known vulnerabilities in 1 package", 1, 1, "audit: known weaknesses in requirements/"),
        (
            "ERROR: Dependency not found on PyPI and could not be audited",
            1,
            2,
            "audit: NOT AUDITED: requirem",
        ),
        ("Max retries exceeded: Name or service not known", 1, 2, "audit: NOT AUDITED: requirements/"),
        ("", 127, 2, "audit: NOT AUDITED: requirements/"),
    ],
)
def test_an_audit_that_could_not_ask_is_no_audit(
    says: str, code: int, ends_with: int, sentence: str, tmp_path: Path
) -> None:
    asks = tmp_path / "pip-audit"
    asks.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    asks.chmod(0o755)

    done = subprocess.run(
        [ROOT / ".ci/audit"], env=os.environ | {"PIP_AUDIT": str(asks)}, capture_output=True, text=True
    )

    assert done.returncode == ends_with
    assert done.stderr.startswith(sentence)
    assert done.stderr.count("\n") == bool(sentence)

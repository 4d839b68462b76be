"""Run folders: `artifacts/<stage>/<run>/` holds a finished result and what made it, or does not exist."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from oahega_build.errors import RunError
from oahega_build.runs.output import LOG, logged
from oahega_build.runs.reading import LARGEST_ARRAYS, LARGEST_DOCUMENT
from oahega_edge.files import open_file
from oahega_edge.text import read_text

UNFINISHED = ".unfinished"
"""Suffix of a run's folder while it is made; the same command finds and resumes it."""
_PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python-headless", "ai-edge-litert", "pydantic", "optuna")


@dataclass(frozen=True, slots=True)
class Run:
    """A run in progress."""

    folder: Path
    """The folder until the run is finished; write everything here."""
    finished: Path
    """The folder to which `open_run` moves it when the run is finished."""

    @property
    def checkpoints(self) -> Path:
        """The folder for what resuming needs; deleted when the run is finished."""
        return self.folder / "checkpoints"

    def write_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Write the measured figures to `metrics.json`."""
        write_json(self.folder / "metrics.json", metrics)


@contextmanager
def open_run(artifacts: Path, stage: str, name: str, recipe: Any) -> Iterator[Run]:
    """A run whose folder `<artifacts>/<stage>/<name>` appears when the block ends without an error.

    After an error or an interrupt the folder keeps its temporary name, and the next `open_run` with the same
    recipe continues in it. Raises RunError when the run is already finished, or when an unfinished one has
    another recipe.
    """
    finished = artifacts / stage / name
    folder = finished.with_name(name + UNFINISHED)
    if finished.exists():
        raise RunError(f"run {finished} is finished already; give another --run name, or delete it")
    described = as_plain(recipe)
    _refuse_other_recipe(folder, described)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "recipe.json", described)
    write_json(folder / "environment.json", environment())
    run = Run(folder, finished)
    run.checkpoints.mkdir(exist_ok=True)
    with logged(folder / LOG):
        yield run
    shutil.rmtree(run.checkpoints)
    folder.rename(finished)


def _refuse_other_recipe(folder: Path, described: Any) -> None:
    before = folder / "recipe.json"
    if before.is_file() and json.loads(read_text(before, LARGEST_DOCUMENT)) != described:
        raise RunError(
            f"unfinished run {folder} was started with another recipe; give another --run name, or delete it"
        )


def environment() -> dict[str, Any]:
    """Commit, packages and machine of this process."""
    packages = {}
    for package in _PACKAGES:
        try:
            packages[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            packages[package] = "absent"
    return {
        "started": now(),
        "commit": commit(),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "packages": packages,
    }


def commit() -> str:
    """The commit of the checkout, with `+changes` when tracked files differ; `unknown` outside of git."""
    here = Path(__file__).resolve().parents[1]
    try:
        head = _git(here, "rev-parse", "--short=12", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no", "--", "..", "../../edge")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{head}+changes" if changed else head


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def now() -> str:
    """The time in UTC (RFC 3339, whole seconds), or the one in SOURCE_DATE_EPOCH (reproducible-builds.org).

    With that variable two builds of the same bundle are equal byte by byte.
    """
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    moment = datetime.now(UTC) if fixed is None else datetime.fromtimestamp(int(fixed), UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open_file(path, LARGEST_ARRAYS) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON in one step: the file is complete or absent."""
    write_bytes(path, (json.dumps(as_plain(value), indent=2, ensure_ascii=False) + "\n").encode())


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file in one step: it is complete or absent."""
    temporary = path.with_name(path.name + ".writing")
    temporary.write_bytes(data)
    temporary.replace(path)


def as_plain(value: Any) -> Any:
    """The value in the types of JSON: dataclasses become objects, tuples arrays, paths strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):  # the manifest's values
        value = value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {str(key): as_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [as_plain(item) for item in items]
    if isinstance(value, Path):
        return str(value)
    return value.item() if hasattr(value, "item") else value


def log_look(log: Path, data: str, model: str, figures: Mapping[str, Any]) -> None:
    """Append an evaluation on pictures that choose nothing: date, commit, data, model and figures."""
    line = {"date": now(), "commit": commit(), "data": data, "model": model, **figures}
    with log.open("a") as file:
        file.write(json.dumps(line) + "\n")

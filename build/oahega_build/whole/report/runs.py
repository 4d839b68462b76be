"""What a page is made of: the folders of finished runs, and times measured on devices."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oahega_build.errors import RunError
from oahega_build.runs.artifacts import UNFINISHED
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.text import read_text


@dataclass(frozen=True, slots=True)
class Run:
    """The folder of a finished run."""

    folder: Path

    @property
    def stage(self) -> str:
        """Name of the stage that made it."""
        return self.folder.parent.name

    @property
    def name(self) -> str:
        """`stage/run`, as the page cites it."""
        return f"{self.stage}/{self.folder.name}"

    @property
    def title(self) -> str:
        """With the recipe's name where the model card has it; several runs may share a recipe."""
        if self.has("entry.json"):
            return f"{self.read('entry.json')['card']['recipe']} ({self.name})"
        return self.name

    @property
    def metrics(self) -> Any:
        """The figures of `metrics.json`."""
        return self.read("metrics.json")

    @property
    def environment(self) -> Any:
        """What the run was made with; None where no stage of ours made it."""
        return self.read("environment.json") if self.has("environment.json") else None

    def has(self, file: str) -> bool:
        """Whether the run left this file."""
        return (self.folder / file).is_file()

    def read(self, file: str) -> Any:
        """A JSON file of the run. Raises RunError when it is missing or broken."""
        return self._parsed(file, json.loads)

    def read_lines(self, file: str) -> list[Any]:
        """A file with a JSON value per line. Raises RunError when it is missing or broken."""
        return list(self._parsed(file, lambda text: [json.loads(line) for line in text.splitlines()]))

    def _parsed(self, file: str, parse: Any) -> Any:
        path = self.folder / file
        try:
            return parse(read_text(path, LARGEST_DOCUMENT))
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read ({error}); make the run again") from error


@dataclass(frozen=True, slots=True)
class Runs:
    """All runs of a page, oldest first."""

    every: Sequence[Run]
    times: Sequence[Path] = ()
    """Files of `oahega-edge bench --models`, from devices."""

    def of(self, *stages: str) -> list[Run]:
        """The runs that these stages made."""
        return [run for run in self.every if run.stage in stages]


def find_runs(artifacts: Path) -> list[Path]:
    """Every finished run below an artifacts folder, oldest first."""
    found = [path.parent for path in artifacts.glob("*/*/environment.json")]
    finished = [path for path in found if not path.name.endswith(UNFINISHED)]
    return sorted(finished, key=lambda path: ((path / "environment.json").stat().st_mtime, path.name))

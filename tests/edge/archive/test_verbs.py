"""The verbs on a store answer people in a sentence and programs in a line of JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from oahega_edge.archive.address import connect
from oahega_edge.archive.store import Store
from oahega_edge.cli import app
from terminals import on_a_terminal

pytest.importorskip("duckdb")


@pytest.fixture
def store(tmp_path: Path) -> str:
    address = f"duckdb:{tmp_path / 'archive.duckdb'}"
    Store(connect(address)).close()
    return address


@pytest.mark.parametrize(
    ("words", "sentence", "figures"),
    [
        (("place", "STORE", "kiosk", "hall"), "kiosk stands at hall", {"device": "kiosk", "site": "hall"}),
        (("forget", "STORE", "kiosk"), "nothing of kiosk is in the store", {"device": "kiosk", "events": 0}),
        (
            ("retain", "STORE", "--days", "9"),
            "0 events older than 9 days are deleted",
            {"days": 9, "events": 0},
        ),
        (("insight", "STORE", "--out", "OUT"), "wrote OUT/index.html", {"page": "OUT/index.html"}),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_a_pipe_gets_one_object_and_people_a_sentence(
    words: tuple[str, ...], sentence: str, figures: dict[str, Any], store: str, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    given = [word.replace("STORE", store).replace("OUT", out) for word in words]

    done = CliRunner().invoke(app, given, catch_exceptions=False)

    assert done.exit_code == 0
    assert done.stderr.strip() == sentence.replace("OUT", out)
    assert json.loads(done.stdout.replace(out, "OUT")) == figures
    assert done.stdout.count("\n") == 1


@pytest.mark.parametrize("days", ["0", "-1", "36501", "999999", "99999999999"])
def test_days_that_no_calendar_has_are_refused(days: str, store: str) -> None:
    done = CliRunner().invoke(app, ["retain", store, "--days", days])

    assert done.exit_code == 2
    assert "Invalid value for '--days'" in done.output


@pytest.mark.parametrize("name", ["", "Trial", "a/b", "+", "#", "x" * 41])
def test_a_name_that_fits_no_topic_is_refused(name: str, store: str) -> None:
    done = CliRunner().invoke(app, ["archive", "localhost", "--to", store, "--name", name])

    assert done.exit_code == 2
    assert "small letters, digits and hyphens" in " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_a_terminal_gets_json_only_when_asked_for(more: tuple[str, ...], store: str) -> None:
    done = on_a_terminal([sys.executable, "-m", "oahega_edge", "place", store, "kiosk", "hall", *more])

    assert done.returncode == 0
    assert done.stderr.strip() == "kiosk stands at hall"
    assert done.stdout.strip() == ('{"device": "kiosk", "site": "hall"}' if more else "")

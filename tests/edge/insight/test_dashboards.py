"""Dashboards as code: what is committed is what the code makes, and every question can be answered."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from edge.mqtt_samples import summary
from oahega_edge.archive.address import connect
from oahega_edge.archive.records import read_record
from oahega_edge.archive.store import Batch, Store
from postgres import Postgres, postgres

__all__ = ["postgres"]

DASHBOARDS = Path(__file__).resolve().parents[3] / "docs/dashboards"


def made_by(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_dashboard", DASHBOARDS / name / "make.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def grafana() -> ModuleType:
    pytest.importorskip("grafana_foundation_sdk")
    return made_by("grafana")


@pytest.fixture(scope="module")
def superset() -> ModuleType:
    return made_by("superset")


@pytest.fixture(scope="module")
def store(postgres: Postgres) -> Iterator[Store]:
    """With a summary, so that questions have answers."""
    from edge.mqtt_samples import BASE, NOON

    with contextlib.closing(Store(connect(postgres.fresh("dashboards")))) as opened:
        kept = read_record("oahega/v1", f"{BASE}/summary", summary().to_json().encode(), NOON)
        opened.write(Batch([kept]))
        yield opened


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for each in dashboard["panels"]:
        yield from each.get("panels") or [each]


def test_the_committed_grafana_dashboard_is_what_its_code_makes(grafana: ModuleType) -> None:
    assert (DASHBOARDS / "grafana/oahega.json").read_text("utf-8") == grafana.text()


def test_the_grafana_dashboard_fits_grafanas_schema(grafana: ModuleType) -> None:
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    content = json.loads(grafana.text())

    known = json.loads(json.dumps(Dashboard.from_json(content), cls=JSONEncoder))

    known_panels, own_panels = list(panels(known)), list(panels(content))
    assert len(own_panels) > 8
    for ours, theirs in zip(own_panels, known_panels, strict=True):
        without_queries = {key: value for key, value in ours.items() if key != "targets"}
        assert {key: theirs.get(key) for key in without_queries} == without_queries


def test_each_question_of_grafana_has_an_answer(grafana: ModuleType, store: Store) -> None:
    questions = [
        target["rawSql"]
        for panel in panels(json.loads(grafana.text()))
        for target in panel.get("targets", [])
    ]

    assert len(questions) >= 8
    for sql in questions:
        plain = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 BETWEEN '2026-11-01' AND '2026-12-01'", sql)
        plain = plain.replace("${site:sqlstring}", "'kiosk-1'")
        assert "$" not in plain
        rows = store._database.execute(plain)
        assert rows or "uptime" in sql, sql


def test_the_committed_superset_export_is_what_its_code_makes(superset: ModuleType) -> None:
    folder = DASHBOARDS / "superset/oahega"
    committed = {str(path.relative_to(folder)): path.read_text("utf-8") for path in folder.rglob("*.yaml")}

    assert committed == superset.texts()


def test_superset_knows_each_view_as_it_is(superset: ModuleType, store: Store) -> None:
    for view, columns in superset.COLUMNS.items():
        there = store._database.execute(
            "SELECT column_name, upper(data_type) FROM information_schema.columns WHERE table_name = ?",
            [view],
        )
        assert columns == {name: kind.removesuffix(" WITHOUT TIME ZONE") for name, kind in there}, view


def test_the_parts_of_the_superset_export_belong_together(superset: ModuleType) -> None:
    files = {path: yaml.safe_load(text) for path, text in superset.texts().items()}
    made = {each["uuid"] for each in files.values() if "uuid" in each}

    assert len(made) == len(files) - 1
    for content in files.values():
        assert {content[key] for key in ("dataset_uuid", "database_uuid") if key in content} <= made
    placed = {
        place["meta"]["uuid"]
        for place in files["dashboards/oahega.yaml"]["position"].values()
        if isinstance(place, dict) and place["type"] == "CHART"
    }
    assert placed == {each["uuid"] for path, each in files.items() if path.startswith("charts/")}

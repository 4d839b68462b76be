"""`all` as it is without a recipe: the embedded emotion model is taught the pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drawn_faces import OAHEGA_CLASSES, draw_dataset
from oahega_build.runs.recipes import load_recipe
from oahega_build.whole.everything import everything, make_plan
from oahega_build.whole.options import Options
from oahega_build.whole.recipe import EverythingRecipe
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("data") / "six", per_class=12)


def test_the_default_trains_nothing_from_nothing(six: Path, tmp_path: Path) -> None:
    from typer.main import get_command

    from oahega_build.cli import app

    verb = get_command(app).commands["all"]  # type: ignore[attr-defined]
    (default,) = (parameter.default for parameter in verb.params if parameter.name == "recipe")

    plan = make_plan(load_recipe(default, EverythingRecipe), Options(tmp_path, dataset=six))

    assert [step.stage for step in plan.steps] == [
        "split", "overview", "teach", "evaluate-emotion", "detector", "bundle", "bench", "deliver", "report",
    ]  # fmt: skip


def test_another_base_or_another_way_makes_only_what_follows_stale(six: Path, tmp_path: Path) -> None:
    plans = [
        make_plan(load_recipe("taught", EverythingRecipe, changes), Options(tmp_path, dataset=six))
        for changes in ((), ("head_only=true",))
    ]

    same = {a.stage for a, b in zip(*(plan.steps for plan in plans), strict=True) if a.hash == b.hash}

    assert {"split", "overview", "detector"} == same


@pytest.mark.lengthy
def test_the_embedded_trunk_learns_six_classes(six: Path, tmp_path: Path) -> None:
    recipe = load_recipe("taught", EverythingRecipe, ("head_only=true",))

    everything(recipe, Options(tmp_path / "out", dataset=six))

    bundle = load_bundle(tmp_path / "out/bundle").manifest
    base = load_bundle(DEFAULT_BUNDLE).manifest
    (run,) = (tmp_path / "out/artifacts/teach").iterdir()
    figures = json.loads((run / "metrics.json").read_text())
    assert bundle.emotion.labels == OAHEGA_CLASSES
    assert bundle.emotion.card.metrics["learned"] == "last layer"
    assert "valid_accuracy" in bundle.emotion.card.metrics
    assert bundle.detector.cpu.sha256 == base.detector.cpu.sha256
    assert [row["way"] for row in figures["rows"]] == ["last layer"]
    assert "last layer" in (tmp_path / "out/report.html").read_text()

"""The embedded models on real pictures: what `replay` and `run` make of the clips beside the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from oahega_edge.bundles.load import DEFAULT_BUNDLE, EMBEDDED, load_bundle, self_test
from oahega_edge.runtimes import open_model

pytestmark = [pytest.mark.shared, pytest.mark.lengthy]

TIMES = 4
"""How often a photograph is shown in a row; each time it is a track of its own."""
CHANGING = {"id", "time", "boot_id", "latency_ms"}
"""What two replays of one clip may differ in: ids and wall-clock times."""
SINGLE_FACE = ("walk.mkv", "head-pose-face-detection-male.gif")


@dataclass(frozen=True)
class Replay:
    events: list[dict[str, Any]]
    frames: int
    with_face: int
    tracks: int


def replay(source: Path, *settings: str) -> Replay:
    done = subprocess.run(
        [sys.executable, "-m", "oahega_edge", "replay", str(source), *(f"--set={s}" for s in settings)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | {"NO_COLOR": "1"},
    )
    summary = done.stderr.splitlines()[-1].split()
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return Replay(events, int(summary[0]), int(summary[5]), int(summary[9]))


@pytest.fixture(scope="module")
def intel(shared: Path) -> Path:
    return shared / "data/media/intel"


@pytest.fixture(scope="module")
def walk(intel: Path) -> Replay:
    return replay(intel / "walk.mkv")


def test_a_man_who_walks_up_is_one_track_seen_nearly_always(walk: Replay) -> None:
    assert walk.events
    assert walk.tracks == 1
    assert walk.with_face >= 0.9 * walk.frames


def test_every_event_fits_the_published_schema(walk: Replay) -> None:
    schema = json.loads((resources.files("oahega_edge") / "contract/schemas/event.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )

    assert [error.message for event in walk.events for error in validator.iter_errors(event)] == []


def test_two_replays_decide_alike(walk: Replay, intel: Path) -> None:
    again = replay(intel / "walk.mkv")

    def decisions(run: Replay) -> list[dict[str, Any]]:
        return [{key: value for key, value in e.items() if key not in CHANGING} for e in run.events]

    assert decisions(again) == decisions(walk)


def test_a_woman_and_a_man_are_two_tracks(intel: Path) -> None:
    assert replay(intel / "head-pose-face-detection-female-and-male.gif").tracks == 2


def test_a_turning_head_stays_one_track(intel: Path) -> None:
    assert replay(intel / "head-pose-face-detection-male.gif").tracks == 1


def test_of_sixty_pictures_without_people_at_most_one_gives_events(shared: Path, tmp_path: Path) -> None:
    """Each is shown long enough to be believed; the embedded detector sees a face on a dog in clothes."""
    folder = tmp_path / "animals"
    folder.mkdir()
    pictures = sorted((shared / "data/detection/animals/valid").glob("*.jpg"))
    for picture in pictures:
        for again in range(TIMES):
            (folder / f"{picture.stem}-{again}.jpg").symlink_to(picture)

    assert len(pictures) == 60
    assert len({event["track"] for event in replay(folder).events}) <= TIMES


@pytest.mark.parametrize("folder", [DEFAULT_BUNDLE, EMBEDDED / "far"], ids=["default", "far"])
def test_an_embedded_bundle_is_small_and_passes_its_self_test(folder: Path) -> None:
    bundle = load_bundle(folder)

    for entry in (bundle.manifest.detector, bundle.manifest.emotion):
        model = open_model(bundle.file(entry.cpu), entry.outputs, entry.input)
        assert self_test(entry, model) <= 1
        model.close()
    assert sum(file.stat().st_size for file in folder.glob("*.tflite")) <= 2.5e6

"""docs/your-own-expression.md, typed as it stands: from clips to a running device that reacts.

The computer has the extra `teach` and no TensorFlow. The device is a daemon beside it with a real broker; its
state folder stands for /var/lib/oahega-edge, `ssh` and `scp` reach its folders, and `sudo` asks nobody.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from jsonschema import Draft202012Validator

from brokers import Ear, Mosquitto, mosquitto, needs_mosquitto
from drawn_faces import LOOKS, draw_person
from kiosk import started
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle
from oahega_edge.contract.schema_files import FOLDER
from processes import environment
from waiting import wait_until

pytestmark = [pytest.mark.training, pytest.mark.lengthy, pytest.mark.broker, needs_mosquitto]
PAGE = (Path(__file__).parents[3] / "docs/your-own-expression.md").read_text(encoding="utf-8")
SHOWN = {"wink": "angry", "tongue-out": "happy", "neutral": "neutral"}
"""Label -> look of the drawn people."""
PEOPLE = ("anna", "ben", "cem", "dora", "eva")
PROGRAMS = {
    "python": 'exec {python} "$@"',
    "oahega-edge": 'exec {python} -m oahega_edge "$@"',
    "sudo": 'exec "$@"',
    "ssh": 'shift; cd "$OAHEGA_HOME" && exec "$@"',
    "scp": 'exec cp -r "$2" "$OAHEGA_HOME/"',
}


def commands(heading: str) -> list[str]:
    """The lines of a chapter's shell blocks."""
    chapter = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return "".join(re.findall(r"^```sh\n(.*?)^```$", chapter, re.DOTALL | re.MULTILINE)).splitlines()


def film(path: Path, look: str, seed: int, empty: int = 0) -> Path:
    """Three seconds of a person before a wall, then `empty` seconds of the wall."""
    rng = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    clip = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (640, 480))
    for number in range(30 + 10 * empty):
        frame = np.full((480, 640, 3), 120, np.uint8)
        if number < 30:
            frame = draw_person(frame, LOOKS[look], 230, 110, 180, rng)
        clip.write(np.ascontiguousarray(frame[..., ::-1]))
    clip.release()
    return path


@dataclass(frozen=True)
class Bench:
    """A computer with clips, and a device whose state lies below it."""

    folder: Path
    port: int

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def typed(self, line: str) -> subprocess.CompletedProcess[str]:
        line = line.replace("/var/lib/oahega-edge", str(self.state)).replace("1883", str(self.port))
        told = environment(
            PATH=f"{self.folder / 'bin'}:{os.environ['PATH']}",
            OAHEGA_HOME=str(self.folder / "home"),
            RUNTIME_DIRECTORY=str(self.state),
            XDG_RUNTIME_DIR=str(self.folder),
        )
        told["PYTHONPATH"] = f"{self.folder / 'bin'}:{told['PYTHONPATH']}"
        done = subprocess.run(["bash", "-c", line], cwd=self.folder, env=told, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done


@pytest.fixture
def bench(tmp_path: Path, mosquitto: Mosquitto) -> Iterator[Bench]:
    for label, look in SHOWN.items():
        for number, person in enumerate(PEOPLE):
            film(tmp_path / "clips" / label / f"{person}.mp4", look, 10 * number + len(label))
    for name in ("bin", "home", "state/bundles"):
        (tmp_path / name).mkdir(parents=True)
    for name, text in PROGRAMS.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{text.format(python=sys.executable)}\n")
        program.chmod(0o755)
    (tmp_path / "bin/sitecustomize.py").write_text("import sys; sys.modules['tensorflow'] = None\n")
    bundles = tmp_path / "state/bundles"
    shutil.copytree(DEFAULT_BUNDLE, bundles / "default")
    (bundles / "current").symlink_to("default")
    (path,) = re.findall(r"^path = \"/var/lib/oahega-edge/(.*)\"$", PAGE, re.MULTILINE)
    bench = Bench(tmp_path, mosquitto.port)
    somebody_comes_and_goes = film(tmp_path / "camera.mp4", SHOWN["tongue-out"], 99, empty=3)
    with started(bench.state, somebody_comes_and_goes, mosquitto, bundle__path=str(bench.state / path)):
        yield bench


__all__ = ["mosquitto"]  # a fixture


def fits(text: str, kind: str) -> dict:  # type: ignore[type-arg]
    schema = json.loads((FOLDER / f"{kind}.schema.json").read_text(encoding="utf-8"))
    said = json.loads(text)
    Draft202012Validator(schema).validate(said)
    return dict(said)


def test_every_command_of_the_page_leads_from_clips_to_a_device_that_reacts(
    bench: Bench, mosquitto: Mosquitto
) -> None:
    labels = sorted(SHOWN)
    with Ear(mosquitto.port) as ear:
        wait_until(lambda: ear.on("/info"))

        (teach,) = commands("2. Teach")
        taught = bench.typed(teach).stdout
        check, replay = (bench.typed(line) for line in commands("3. Try it"))
        *to_the_device, status = commands("4. Onto the device")
        for line in to_the_device:
            bench.typed(line)
        new = load_bundle(bench.folder / "bundles/winks-1")
        wait_until(lambda: json.loads(ear.on("/info")[-1].text)["bundle"]["sha256"] == new.sha256)
        running = bench.typed(status).stdout
        info, event = (bench.typed(line).stdout for line in commands("5. React"))
        discovery = ear.on("homeassistant/device/kiosk/config")[-1].text

    said = re.match(r"balanced accuracy (\S+) \[", taught)
    assert said is not None
    assert float(said[1]) >= 0.90
    assert "TensorFlow is not installed" in taught
    assert f"emotions: {', '.join(labels)}" in check.stderr
    assert {e["model"]["version"] for e in map(json.loads, replay.stdout.splitlines())} == {"1"}
    assert json.loads(running)["bundle"] | {"name": "winks", "version": "1"} == json.loads(running)["bundle"]
    assert fits(info, "info")["labels"] == labels
    assert sorted(fits(event, "event")["scores"]) == labels
    assert all(f'"{label}"' in discovery for label in labels)


def test_the_pages_commands_are_all_typed_by_this_test() -> None:
    chapters = ("2. Teach", "3. Try it", "4. Onto the device", "5. React")

    assert sum(len(commands(chapter)) for chapter in chapters) == len(
        "".join(re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)).splitlines()
    )

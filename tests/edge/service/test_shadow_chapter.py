"""The chapter of docs/learning.md on the shadow, typed beside a real daemon."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from documents import blocks
from edge.samples.device import portrait_clip
from mini_bundle import make_bundle
from oahega_edge.control.client import NobodyListens, ask
from oahega_edge.tools.status import as_lines
from waiting import PATIENCE, wait_until

pytestmark = pytest.mark.lengthy

PAGE, CHAPTER = "docs/learning.md", "Roll out with proof"


def test_the_commands_put_a_bundle_into_the_shadow_and_say_how_it_does(tmp_path: Path) -> None:
    (settings,), (on_the_device, _) = blocks(PAGE, CHAPTER, "toml"), blocks(PAGE, CHAPTER)
    make_bundle(tmp_path / "bundles/site-1")
    make_bundle(tmp_path / "bundles/site-2", version="2")
    (tmp_path / "bundles/current").symlink_to("site-1")
    (tmp_path / "edge.toml").write_text(
        settings + f'path = "{tmp_path}/bundles/current"\n[deployment]\ncontext = "development"\n'
        f'[camera]\nsource = "loop:{portrait_clip(tmp_path / "face.avi")}"\n'
    )
    environment = os.environ | {"RUNTIME_DIRECTORY": str(tmp_path), "STATE_DIRECTORY": str(tmp_path)}
    program = tmp_path / "oahega-edge"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m oahega_edge "$@"\n')
    program.chmod(0o755)
    environment["PATH"] = f"{tmp_path}:{environment['PATH']}"
    daemon = subprocess.Popen(
        [program, "run", "--config", tmp_path / "edge.toml"], env=environment, stdout=subprocess.DEVNULL
    )

    def shadow() -> object:
        try:
            return ask(tmp_path / "control.sock", "status")["health"]["shadow"]
        except NobodyListens:
            return None

    def typed() -> dict[str, Any]:
        done = subprocess.run(
            ["sh", "-ec", on_the_device], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    try:
        wait_until(lambda: (tmp_path / "control.sock").exists())
        typed()
        wait_until(shadow)
        said = typed()
    finally:
        daemon.terminate()
        daemon.wait(PATIENCE)

    (line,) = [line for line in as_lines(said) if line.startswith("shadow ")]
    assert " 2 running until " in line
    (documented,) = blocks(PAGE, CHAPTER, "text")
    assert re.sub(r"[0-9]+", "0", documented.split(",")[0]).startswith("shadow    site 0 running until 0-0-0")

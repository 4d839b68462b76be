"""Visitors give pictures at the canary; the operator fetches, opens and reviews them (in the long form)."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge.samples.device import needles, portrait_clip
from fleet import HEALTH_S, Fleet
from fleet_hosts import Host, wait_for
from oahega_edge.bundles.load import DEFAULT_BUNDLE
from oahega_edge.samples.codes import hash_of
from training.samples.reviewing import reviewing_with

pytestmark = [pytest.mark.fleet, pytest.mark.long]

STATE = "/var/lib/oahega-edge"
PROGRAM = "/opt/oahega-edge/current/bin/oahega-edge"
BROWSER = """
import http.client, sys
page = http.client.HTTPConnection("127.0.0.1", 8321, timeout=60)
page.request("POST", sys.argv[1], sys.argv[2], {"Origin": "http://127.0.0.1:8321"})
print(page.getresponse().read().decode())
"""
"""Runs on the device, as the browser on its screen does."""
WRITTEN_TO = ("etc", "home", "root", "run", "tmp", "var")
"""Folders of the device in which a picture might be left."""


@dataclass(frozen=True)
class Given:
    """A picture that a visitor gave, and the code that they got."""

    png: bytes
    label: str
    code: str

    @property
    def name(self) -> str:
        return hash_of(self.code).hex()


@dataclass
class Site:
    """The canary with its visitors, and the operator's folders."""

    fleet: Fleet
    device: Host
    folder: Path

    @property
    def fetched(self) -> Path:
        return self.fleet.inventory / "samples"

    @property
    def opened(self) -> Path:
        return self.folder / "opened"

    def press(self, path: str, body: object) -> dict[str, Any]:
        """Post to the page of the device."""
        text = self.device.inside("python3", "-c", BROWSER, path, json.dumps(body), check=False)
        return dict(json.loads(text)) if text.startswith("{") else {}

    def give(self, label: str) -> Given:
        """A visitor looks into the camera, presses, names the expression and agrees."""
        offer = wait_for(lambda: (said := self.press("/sample", {})).get("token") and said, "a face alone")
        kept = self.press("/sample/keep", {"token": offer["token"], "label": label})
        return Given(base64.b64decode(offer["picture"]), label, kept["code"])

    def fetch_and_open(self) -> str:
        """What `open-samples` says."""
        fetched = self.fleet.play("playbooks/samples.yml")
        assert fetched.code == 0, fetched.text[-6000:]
        assert "WARNING" not in fetched.text
        return operator("open-samples", self.fetched, f"--key={self.folder / 'key'}", f"--out={self.opened}")

    def on_the_device(self) -> dict[str, str]:
        """Files of samples on the whole device: mode, owner and size, by name."""
        elsewhere = ("(", "-path", "/proc", "-o", "-path", "/sys", ")", "-prune", "-o")
        named = ("(", "-path", f"{STATE}/samples/*", "-o", "-name", "*.sample", ")")
        listed = self.device.inside("find", "/", *elsewhere, *named, "-printf", "%p %m %u %s\n", check=False)
        lines = [line.split(" ", 1) for line in listed.splitlines()]
        assert all(path.startswith(f"{STATE}/samples/") for path, _ in lines), listed
        return {path.rpartition("/")[2]: about for path, about in lines}


def operator(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "oahega_build", *map(str, words)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(fresh_fleet: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The canary has one face before it and a page that asks visitors."""
    folder = tmp_path_factory.mktemp("operator")
    recipient = operator("sample-key", folder / "key").strip()
    fresh_fleet.install_where_absent()
    portrait_clip(fresh_fleet.devices[0].root / "srv/visitor.avi", fps=3)
    settings = {
        "camera": {"source": "loop:/srv/visitor.avi", "fps": 3},
        "health": {"interval_s": HEALTH_S},
        "samples": {"consent": "asked-at-the-device", "recipient": recipient},
    }
    with fresh_fleet.canary_with(oahega_edge_page=True, oahega_edge_settings=settings) as canary:
        yield Site(fresh_fleet, canary, folder)


def test_what_visitors_gave_is_fetched_opened_and_shown_for_review(site: Site) -> None:
    given = [site.give("happy"), site.give("neutral")]

    said = site.fetch_and_open()

    assert "opened 2 samples" in said
    for one in given:
        assert (site.opened / one.label / f"{one.name}.png").read_bytes() == one.png
    with reviewing_with(DEFAULT_BUNDLE, site.opened) as page:
        page.enter()
        listed = json.loads(page.request("GET", "/samples")[2])["samples"]
        assert {row["name"] for row in listed} >= {one.name for one in given}
        assert page.request("GET", f"/picture/{given[0].name}")[2] == given[0].png


def test_the_device_keeps_a_fetched_sample_sealed_and_nothing_else_of_it(site: Site) -> None:
    given = site.give("happy")
    site.fetch_and_open()

    everything = ("tar", "--create", "--ignore-failed-read", f"--exclude=.{STATE}/bundles", "--directory=/")
    command = site.device.entering(*everything, *(f"./{folder}" for folder in WRITTEN_TO))
    written = subprocess.run(command, capture_output=True).stdout

    assert f"{given.name}.sample".encode() in written
    specific = [needle for needle in needles(given.png) if len(needle) > 8]
    assert [needle for needle in [*specific, given.code.encode()] if needle in written] == []
    mode, owner, size = site.on_the_device()[f"{given.name}.sample"].split()
    assert (mode, owner) == ("600", "oahega-edge")
    assert int(size) > len(given.png)


def test_what_is_withdrawn_on_the_device_goes_there_at_once_and_from_the_operator_with_the_next_fetch(
    site: Site,
) -> None:
    withdrawn, kept = site.give("happy"), site.give("neutral")
    site.fetch_and_open()

    site.device.inside(PROGRAM, "samples", "--withdraw", withdrawn.code)
    there = site.on_the_device()
    said = site.fetch_and_open()

    assert f"{withdrawn.name}.sample" not in there
    assert there[f"{withdrawn.name}.withdrawn"].endswith(" 0")
    assert "deleted 1 that were withdrawn" in said
    assert not list(site.opened.rglob(f"{withdrawn.name}*"))
    assert not list(site.fetched.rglob(f"{withdrawn.name}.sample"))
    assert (site.opened / "neutral" / f"{kept.name}.png").read_bytes() == kept.png


def test_after_the_verb_to_forget_no_sample_is_on_the_device_and_the_operator_keeps_what_was_fetched(
    site: Site,
) -> None:
    given = site.give("happy")
    site.fetch_and_open()

    site.device.inside(PROGRAM, "samples", "--forget")
    site.fetch_and_open()

    assert [name for name in site.on_the_device() if not name.endswith(".withdrawn")] == []
    assert (site.opened / "happy" / f"{given.name}.png").read_bytes() == given.png

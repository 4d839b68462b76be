"""The whole service against a real mosquitto: `oahega-edge run` as a process, read by a subscriber."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from brokers import Ear, Mosquitto, needs_mosquitto
from kiosk import started
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle
from oahega_edge.contract.events import Event
from oahega_edge.contract.messages import Health, Info, State
from oahega_edge.tools.demo_clip import write_demo_clip
from waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.broker, needs_mosquitto]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_clip(tmp_path_factory.mktemp("clip") / "demo.mp4", seconds=4.0)


@pytest.fixture
def daemon(tmp_path: Path, clip: Path, mosquitto: Mosquitto) -> Iterator[subprocess.Popen[bytes]]:
    with started(tmp_path, clip, mosquitto) as process:
        yield process


def test_a_subscriber_gets_the_whole_contract(daemon: subprocess.Popen[bytes], mosquitto: Mosquitto) -> None:
    bundle = load_bundle(DEFAULT_BUNDLE)
    with Ear(mosquitto.port) as ear:

        def payloads(topic: str) -> list[str]:
            return [heard.text for heard in ear.on(topic)]

        events = wait_until(
            lambda: (
                (found := payloads("/event")) and len({json.loads(e)["track"] for e in found}) >= 2 and found
            ),
        )
        healths = wait_until(lambda: payloads("/health"))
        ear.say("oahega/v1/kiosk/cmd/set", b'{"trigger.threshold": 0.9, "transaction": "7"}')
        response = json.loads(wait_until(lambda: payloads("/response/set"))[-1])
        ear.say("oahega/v1/kiosk/cmd/mute")
        muted = wait_until(lambda: [s for s in payloads("/state") if json.loads(s)["muted"]])
        daemon.send_signal(signal.SIGTERM)
        wait_until(lambda: payloads("/availability")[-1:] == ["offline"])

        infos = [Info.model_validate_json(text) for text in payloads("/info")]
        discovery = [heard.topic for heard in ear.on("/config")]

    assert daemon.wait(PATIENCE) == 0
    first = [Event.model_validate_json(text) for text in events]
    assert {e.model.sha256 for e in first} == {bundle.sha256}
    assert {e.emotion for e in first} <= {*bundle.manifest.emotion.labels, "uncertain"}
    assert infos[0].labels == bundle.manifest.emotion.labels
    assert infos[0].context == "development"
    assert infos[-1].volatile == ("trigger.threshold",)
    assert (response["status"], response["transaction"]) == ("ok", "7")
    assert Health.model_validate_json(healths[-1]).bundle_sha256 == bundle.sha256
    assert State.model_validate_json(muted[-1]).camera == "muted"
    assert discovery[0] == "homeassistant/device/kiosk/config"


def cut_off(bundle: Path) -> None:
    (bundle / "detector.tflite").write_bytes((bundle / "detector.tflite").read_bytes()[:5000])


def without_manifest(bundle: Path) -> None:
    (bundle / "manifest.json").unlink()


def gone(bundle: Path) -> None:
    shutil.rmtree(bundle)


def a_link_to_itself(bundle: Path) -> None:
    shutil.rmtree(bundle)
    bundle.symlink_to(bundle)


@pytest.mark.parametrize("spoil", [cut_off, without_manifest, gone, a_link_to_itself])
def test_a_device_with_a_good_bundle_starts_whatever_becomes_of_it(
    tmp_path: Path, clip: Path, mosquitto: Mosquitto, spoil: Callable[[Path], None]
) -> None:
    """Its folder is spoiled in place between two starts, as by a copy that was cut off with the power."""
    bundle = Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle"))
    sha256 = load_bundle(bundle).sha256
    with Ear(mosquitto.port) as ear:
        with started(tmp_path, clip, mosquitto, bundle__path=str(bundle)):
            wait_until(lambda: ear.on("/health"))
        spoil(bundle)
        ear.heard.clear()

        with started(tmp_path, clip, mosquitto, bundle__path=str(bundle)):
            wait_until(lambda: ear.on("/event"))
            health = Health.model_validate_json(wait_until(lambda: ear.on("/health"))[-1].text)
            info = Info.model_validate_json(wait_until(lambda: ear.on("/info"))[-1].text)

    assert health.bundle_sha256 == info.bundle.sha256 == sha256
    assert health.bundle_problem == info.bundle_problem
    assert str(bundle) in str(info.bundle_problem)

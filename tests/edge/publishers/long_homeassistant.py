"""A real Home Assistant with a real mosquitto and a running daemon: entities, states, and what fires when.

`make homeassistant-test` installs Home Assistant into a Debian tree of its own (tests/homeassistant).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from websockets.sync.client import ClientConnection, connect

from brokers import Mosquitto, free_port
from kiosk import started
from mqtt_samples import event
from oahega_edge.tools.demo_clip import write_demo_clip
from waiting import wait_until

pytestmark = [pytest.mark.long, pytest.mark.broker]

ROOT = Path(__file__).resolve().parents[3]
TREE = ROOT / ".cache/homeassistant/tree"
HASS = os.environ.get("OAHEGA_HASS", str(ROOT / "tests/homeassistant/hass"))
STARTS_WITHIN = 900.0
"""Seconds: at its first start Home Assistant installs packages of its integrations."""
QUIET_S = 3.0
"""After which what has not fired does not fire; a message that follows fires within."""
OWNER = {"name": "test", "username": "test", "password": "a test", "language": "en"}
ENTITIES = {
    "sensor.kiosk_expression",
    "sensor.kiosk_confidence",
    "sensor.kiosk_faces",
    "sensor.kiosk_people",
    "sensor.kiosk_visits_today",
    "sensor.kiosk_smiles_today",
    "event.kiosk_decision",
    "sensor.kiosk_frame_rate",
    "sensor.kiosk_processor_temperature",
    "binary_sensor.kiosk_connected",
    "binary_sensor.kiosk_degraded",
    "binary_sensor.kiosk_drift",
    "number.kiosk_frames_averaged",
    "number.kiosk_threshold",
    "switch.kiosk_mute",
    "button.kiosk_restart",
}


class HomeAssistant:
    """One that was just installed, at a port of the loopback."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._token = ""
        folder.mkdir()
        (folder / "configuration.yaml").write_text(
            f"http:\n  server_host: 127.0.0.1\n  server_port: {self.port}\napi:\nwebsocket_api:\nconfig:\n"
        )
        self._folder = folder

    def run(self) -> contextlib.AbstractContextManager[HomeAssistant]:
        return contextlib.contextmanager(self._run)()

    def _run(self) -> Iterator[HomeAssistant]:
        with (self._folder / "console.log").open("wb") as log:
            process = subprocess.Popen([HASS, "-c", self._folder], stdout=log, stderr=log)
        try:
            wait_until(lambda: self._answers(process), STARTS_WITHIN)
            self._become_owner()
            yield self
        finally:
            process.terminate()
            process.wait(60)

    def _answers(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, (self._folder / "console.log").read_text()[-3000:]
        try:
            return bool(self.ask("/api/onboarding"))
        except OSError:
            return False

    def _become_owner(self) -> None:
        """As the first page that a browser shows."""
        client = f"http://127.0.0.1:{self.port}/"
        code = self.ask("/api/onboarding/users", {**OWNER, "client_id": client})["auth_code"]
        form = {"grant_type": "authorization_code", "code": code, "client_id": client}
        self._token = self.ask("/auth/token", urllib.parse.urlencode(form).encode())["access_token"]

    def add_mqtt(self, broker: Mosquitto) -> None:
        """As in Settings, Devices & services."""
        flow = self.ask("/api/config/config_entries/flow", {"handler": "mqtt"})
        answer = {"broker": broker.host, "port": broker.port}
        done = self.ask(f"/api/config/config_entries/flow/{flow['flow_id']}", answer)
        assert done["type"] == "create_entry", done

    def ask(self, path: str, body: dict[str, Any] | bytes | None = None) -> Any:
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if isinstance(body, dict):
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read().decode()[:500]}") from error

    def states(self) -> dict[str, dict[str, Any]]:
        return {each["entity_id"]: each for each in self.ask("/api/states")}

    def state(self, entity: str) -> str:
        return str(self.states().get(entity, {}).get("state"))

    def call(self, service: str, entity: str, **data: Any) -> None:
        self.ask(f"/api/services/{service.replace('.', '/')}", {"entity_id": entity, **data})

    @contextlib.contextmanager
    def socket(self) -> Iterator[Socket]:
        with connect(f"ws://127.0.0.1:{self.port}/api/websocket", max_size=None) as connection:
            connection.recv(60)
            connection.send(json.dumps({"type": "auth", "access_token": self._token}))
            assert json.loads(connection.recv(60))["type"] == "auth_ok"
            yield Socket(connection)


class Socket:
    """Home Assistant's own way to ask and to listen."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._heard: list[dict[str, Any]] = []

    def ask(self, kind: str, **more: Any) -> Any:
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "type": kind, **more}))
        while True:
            answer = json.loads(self._connection.recv(60))
            if answer["type"] == "result" and answer["id"] == number:
                assert answer["success"], answer
                return answer["result"] if answer["result"] is not None else number
            self._heard.append(answer)

    def heard(self, seconds: float = QUIET_S) -> list[dict[str, Any]]:
        """What comes until nothing does for so long, and what came meanwhile."""
        with contextlib.suppress(TimeoutError):
            while True:
                self._heard.append(json.loads(self._connection.recv(seconds)))
        heard, self._heard = self._heard, []
        return [each for each in heard if each["type"] == "event"]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as mosquitto:
        yield mosquitto


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, broker: Mosquitto) -> Iterator[HomeAssistant]:
    if "OAHEGA_HASS" not in os.environ and not TREE.is_dir():
        pytest.skip(f"no Home Assistant in {TREE}; `make homeassistant-test` installs it")
    with HomeAssistant(tmp_path_factory.mktemp("home") / "config").run() as running:
        running.add_mqtt(broker)
        yield running


@pytest.fixture(scope="module")
def daemon(
    tmp_path_factory: pytest.TempPathFactory, home: HomeAssistant, broker: Mosquitto
) -> Iterator[subprocess.Popen[bytes]]:
    folder = tmp_path_factory.mktemp("kiosk")
    clip = write_demo_clip(folder / "clip.mp4", fps=5)
    with started(folder, clip, broker, camera__fps="5") as process:
        wait_until(lambda: set(home.states()) >= ENTITIES)
        yield process


def test_the_entities_are_there_and_show_what_the_daemon_says(
    home: HomeAssistant, daemon: subprocess.Popen[bytes]
) -> None:
    def lives() -> bool:
        states = home.states()
        return (
            float_of(states["sensor.kiosk_frame_rate"]["state"]) > 0
            and states["event.kiosk_decision"]["attributes"].get("event_type") is not None
            and states["sensor.kiosk_confidence"]["state"] not in ("unknown", "unavailable")
        )

    wait_until(lives, STARTS_WITHIN)
    states = {name: state for name, state in home.states().items() if ".kiosk" in name}

    print("\nentity                               state                   of")
    for name, state in sorted(states.items()):
        attributes = state["attributes"]
        kind = attributes.get("device_class") or attributes.get("unit_of_measurement") or ""
        print(f"{name:<36} {state['state'][:22]:<23} {kind}")
    assert set(states) == ENTITIES
    expression = states["sensor.kiosk_expression"]
    assert expression["state"] in expression["attributes"]["options"]
    assert states["binary_sensor.kiosk_connected"]["state"] == "on"
    assert states["binary_sensor.kiosk_degraded"]["state"] == "off"
    assert states["binary_sensor.kiosk_drift"]["state"] == "off"
    assert states["switch.kiosk_mute"]["state"] == "off"
    assert 0 < float(states["number.kiosk_threshold"]["state"]) < 1


def float_of(state: str) -> float:
    try:
        return float(state)
    except ValueError:
        return 0.0


def test_numbers_and_the_switch_change_the_daemon(
    home: HomeAssistant, daemon: subprocess.Popen[bytes]
) -> None:
    home.call("number.set_value", "number.kiosk_frames_averaged", value=7)
    wait_until(lambda: float_of(home.state("number.kiosk_frames_averaged")) == 7)
    home.call("number.set_value", "number.kiosk_threshold", value=0.61)
    wait_until(lambda: float_of(home.state("number.kiosk_threshold")) == 0.61)

    home.call("switch.turn_on", "switch.kiosk_mute")
    wait_until(lambda: home.state("switch.kiosk_mute") == "on")
    wait_until(lambda: home.state("sensor.kiosk_faces") == "0")


def test_each_expression_is_a_device_trigger_and_only_news_fire(
    home: HomeAssistant, daemon: subprocess.Popen[bytes], broker: Mosquitto
) -> None:
    """The daemon is muted by the test before, so that what it sees does not mix in."""
    home.call("switch.turn_on", "switch.kiosk_mute")
    wait_until(lambda: home.state("switch.kiosk_mute") == "on")
    fresh = json.loads(event(emotion="happy").to_json()) | {"changed": True, "delayed": False, "phase": "new"}
    kinds = {
        "fresh": fresh,
        "heartbeat": fresh | {"phase": "update", "changed": False},
        "end": fresh | {"phase": "end", "changed": False},
        "delayed": fresh | {"delayed": True, "age_ms": 60000},
        "changed": fresh | {"phase": "update"},
    }
    with home.socket() as socket, publishing(broker) as publish:
        devices = socket.ask("config/device_registry/list")
        (device,) = [each for each in devices if each["name"] == "kiosk"]
        triggers = socket.ask("device_automation/trigger/list", device_id=device["id"])
        ours = [each for each in triggers if each["domain"] == "mqtt"]
        for each in ours:
            socket.ask("subscribe_trigger", trigger={**each, "platform": "device"})
        entity = {"platform": "state", "entity_id": "event.kiosk_decision"}
        socket.ask("subscribe_trigger", trigger=entity)
        socket.heard()
        fired = {}
        for name, content in kinds.items():
            publish(content)
            platforms = [each["event"]["variables"]["trigger"]["platform"] for each in socket.heard()]
            fired[name] = sorted(platforms)

    print("\nevent        fires")
    for name, platforms in fired.items():
        print(f"{name:<12} {', '.join(platforms) or 'nothing'}")
    assert {each["subtype"] for each in ours} == {"angry", "happy", "neutral", "sad", "surprise"}
    assert fired["fresh"] == fired["changed"] == ["mqtt", "state"]
    assert fired["heartbeat"] == fired["end"] == fired["delayed"] == []


@contextlib.contextmanager
def publishing(broker: Mosquitto) -> Iterator[Any]:
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        yield lambda content: client.publish(
            "oahega/v1/kiosk/event", json.dumps(content), 1
        ).wait_for_publish(60)
    finally:
        client.loop_stop()
        client.disconnect()


def test_a_device_that_is_gone_is_unavailable_and_said_to_be_disconnected(
    home: HomeAssistant, daemon: subprocess.Popen[bytes]
) -> None:
    daemon.kill()

    wait_until(lambda: home.state("binary_sensor.kiosk_connected") == "off")
    assert home.state("sensor.kiosk_expression") == "unavailable"

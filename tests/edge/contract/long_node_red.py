"""The flow of docs/subscribing.md in a real Node-RED, at the mosquitto of the same page.

`make node-red-test` installs Node-RED from npm into `.cache/node-red`.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from websockets.sync.client import ClientConnection, connect

from brokers import HOST, free_port
from documented_broker import DocumentedBroker
from documents import ROOT, SUBSCRIBING, blocks
from kiosk import started
from mqtt_samples import event
from node_packages import node
from oahega_edge.tools.demo_clip import write_demo_clip
from waiting import PATIENCE, wait_until

pytestmark = [pytest.mark.long, pytest.mark.broker]

PROGRAM = ROOT / ".cache/node-red/node_modules/node-red/red.js"
ACCOUNTS = {"kiosk-1": "a device", "dashboard": "a reader"}
SETTINGS = "module.exports = { uiHost: '127.0.0.1', telemetry: { enabled: false } };\n"
CHANGES = 3
"""Changed expressions that must arrive before the lists are compared."""


class NodeRed:
    """One that was just installed, with a listener at what its editor shows."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "settings.js").write_text(SETTINGS)
        self._folder, self._port = folder, free_port()

    def __enter__(self) -> Self:
        options = ["--userDir", self._folder, "--settings", self._folder / "settings.js"]
        with (self._folder / "console.log").open("wb") as log:
            command = [node(), PROGRAM, *options, "--port", str(self._port)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            wait_until(self._runs)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(PATIENCE)

    def _runs(self) -> bool:
        assert self._process.poll() is None, self.console()
        return "Started flows" in self.console()

    def console(self) -> str:
        return (self._folder / "console.log").read_text()

    def ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{HOST}:{self._port}/{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as response:
                return json.loads(response.read() or "null")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{path}: {error.code} {error.read().decode()}") from error

    @contextlib.contextmanager
    def imported(self, flow: list[dict[str, Any]]) -> Iterator[Sidebar]:
        """The flow on a tab of its own, deployed; taken away at the end."""
        settings = [each for each in flow if "x" not in each]
        nodes = [each for each in flow if "x" in each]
        with connect(f"ws://{HOST}:{self._port}/comms") as connection:
            connection.send(json.dumps({"subscribe": "status/#"}))
            tab = self.ask("POST", "flow", {"label": "oahega", "nodes": nodes, "configs": settings})
            try:
                yield Sidebar(connection)
            finally:
                self.ask("DELETE", f"flow/{tab['id']}")


class Sidebar:
    """What people see in the editor: debug messages of the node `emotion`, and the newest status of nodes."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self.shown: list[str] = []
        self.status: dict[str, str] = {}

    def look(self) -> Self:
        with contextlib.suppress(TimeoutError):
            while True:
                heard = json.loads(self._connection.recv(0.2))
                for each in heard if isinstance(heard, list) else [heard]:
                    self._take(each.get("topic", ""), each.get("data"))
        return self

    def is_connected(self) -> bool:
        return self.look().status.get("oahega-in", "").endswith(".connected")

    def _take(self, topic: str, data: Any) -> None:
        if topic == "debug" and data.get("name") == "emotion":
            self.shown.append(data["msg"])
        if topic.startswith("status/"):
            self.status[topic.removeprefix("status/")] = data.get("text", "")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentedBroker]:
    with DocumentedBroker(tmp_path_factory.mktemp("broker"), ACCOUNTS) as mosquitto:
        yield mosquitto


@pytest.fixture(scope="module")
def node_red(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NodeRed]:
    if not PROGRAM.exists():
        pytest.skip(f"no {PROGRAM}; `make node-red-test` installs it")
    with NodeRed(tmp_path_factory.mktemp("node-red") / "home") as running:
        yield running


def documented_flow(broker: DocumentedBroker, password: str = ACCOUNTS["dashboard"]) -> list[dict[str, Any]]:
    """As the document has it; server, account and certificate are typed into the settings of its broker."""
    (text,) = blocks(SUBSCRIBING, "Node-RED", "json")
    flow: list[dict[str, Any]] = json.loads(text)
    (server,) = [each for each in flow if each["type"] == "mqtt-broker"]
    server |= {"broker": broker.host, "port": str(broker.port), "usetls": True, "tls": "ca"}
    server["credentials"] = {"user": "dashboard", "password": password}
    files = {"ca": broker.ca_file, "cert": "", "key": ""}
    return [*flow, {"id": "ca", "type": "tls-config", "verifyservercert": True, **files}]


@contextlib.contextmanager
def mosquitto_sub(broker: DocumentedBroker, folder: Path) -> Iterator[Path]:
    """The shell's example with account and TLS as the document's table has them; yields what it prints."""
    (command,) = blocks(SUBSCRIBING, "Shell")
    there = command.replace("localhost -p 1883", f"{broker.host} -p {broker.port}").split()
    account = ["-u", "dashboard", "-P", ACCOUNTS["dashboard"], "--cafile", broker.ca_file]
    said = folder / "events.jsonl"
    with said.open("wb") as out:
        words = [word.strip("'") for word in there]
        listening = subprocess.Popen([*words, *account], stdout=out)
    try:
        yield said
    finally:
        listening.kill()
        listening.wait()


def news(said: Path) -> list[str]:
    """The expressions of the events that are fresh changes."""
    lines = said.read_text().splitlines(keepends=True)
    events = [json.loads(line) for line in lines if line.endswith("\n")]
    return [each["emotion"] for each in events if each["changed"] and not each["delayed"]]


def test_the_documents_flow_shows_what_a_running_device_publishes(
    tmp_path: Path, broker: DocumentedBroker, node_red: NodeRed
) -> None:
    clip = write_demo_clip(tmp_path / "clip.mp4", fps=5)
    (tmp_path / "password").write_text(ACCOUNTS["kiosk-1"])
    account = {
        "device__name": "kiosk-1",
        "mqtt__username": "kiosk-1",
        "mqtt__password_file": tmp_path / "password",
        "mqtt__tls": "on",
        "mqtt__ca_file": broker.ca_file,
    }
    with (
        node_red.imported(documented_flow(broker)) as sidebar,
        mosquitto_sub(broker, tmp_path) as said,
    ):
        wait_until(sidebar.is_connected)
        with started(tmp_path, clip, broker, camera__fps=5, mqtt__discovery="false", **account):
            wait_until(lambda: len(news(said)) >= CHANGES and len(sidebar.look().shown) >= CHANGES)
        wait_until(lambda: len(sidebar.look().shown) >= len(news(said)))

    print(f"\nmosquitto_sub: {', '.join(news(said))}\nNode-RED:      {', '.join(sidebar.shown)}")
    assert sidebar.shown == news(said)


def test_only_fresh_changes_pass(broker: DocumentedBroker, node_red: NodeRed) -> None:
    fresh = json.loads(event(emotion="happy").to_json()) | {"changed": True, "delayed": False}
    sent = [
        fresh | {"emotion": "sad", "delayed": True, "age_ms": 60000},
        fresh | {"emotion": "neutral", "changed": False},
        fresh | {"emotion": "uncertain", "changed": False, "phase": "end"},
        fresh,
    ]
    with node_red.imported(documented_flow(broker)) as sidebar:
        wait_until(sidebar.is_connected)
        for content in sent:
            publish(broker, content)
        wait_until(lambda: sidebar.look().shown)

    assert sidebar.shown == ["happy"]


def publish(broker: DocumentedBroker, content: dict[str, Any]) -> None:
    command = ["mosquitto_pub", "-h", broker.host, "-p", str(broker.port), "--cafile", broker.ca_file]
    account = ["-u", "kiosk-1", "-P", ACCOUNTS["kiosk-1"], "-q", "1", "-t", "oahega/v1/kiosk-1/event"]
    subprocess.run([*command, *account, "-m", json.dumps(content)], check=True)


def test_a_wrong_password_shows_at_the_node_and_in_the_log(
    broker: DocumentedBroker, node_red: NodeRed
) -> None:
    with node_red.imported(documented_flow(broker, password="another")) as sidebar:
        wait_until(lambda: "Connection failed" in node_red.console())
        wait_until(lambda: sidebar.look().status.get("oahega-in"))

        assert not sidebar.is_connected()

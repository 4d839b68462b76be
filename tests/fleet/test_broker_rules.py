"""What an account may do at a real mosquitto with the configuration that the role `mosquitto` writes."""

from __future__ import annotations

import getpass
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from brokers import HOST, Mosquitto, free_port
from certificates import Authority, Certificate
from waiting import PATIENCE, wait_until

ROLE = Path(__file__).resolve().parents[2] / "ansible/roles/mosquitto"
DEVICE, OTHER, SUBSCRIBER, OPERATOR = "edge-1", "edge-2", "dashboard", "fleet-operator"
ACCOUNTS = (DEVICE, OTHER, f"{DEVICE}-2", SUBSCRIBER, OPERATOR)
ROOT = f"oahega/v1/{DEVICE}"

pytestmark = pytest.mark.broker


@dataclass
class Rules:
    """A running broker, and its accounts, whose passwords are their names."""

    broker: Mosquitto
    authority: str
    port: int
    operator_port: int

    def client(self, program: str, account: str, *words: str) -> list[str]:
        login = ["-u", account, "-P", account, "-V", "mqttv5"]
        return [program, "-h", HOST, "-p", str(self.port), "--cafile", self.authority, *login, *words]

    def publish(self, account: str, topic: str, text: str) -> str:
        """What the client says when it is refused."""
        words = self.client("mosquitto_pub", account, "-q", "1", "-t", topic, "-m", text)
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
        return done.stdout + done.stderr

    def listen(self, account: str, topic: str = "#", *words: str) -> Listener:
        return Listener(self.client("mosquitto_sub", account, "-t", topic, "-F", "%t %p", *words))


class Listener:
    """A `mosquitto_sub` and the lines of topic and text that it has printed."""

    def __init__(self, command: list[str]) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._collect)
        self._thread.start()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *ignored: object) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()

    def is_connected(self) -> bool:
        return self._process.poll() is None

    def _collect(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            self.lines.extend(iter(output.readline, ""))


def rendered(name: str, variables: dict[str, Any]) -> str:
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"), trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    return templates.get_template(f"{name}.j2").render(variables)


def variables(folder: Path) -> dict[str, Any]:
    """The role's defaults, with what a fleet of two devices and a dashboard adds."""
    defaults: dict[str, Any] = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    return defaults | {
        "_mosquitto_folder": folder,
        "_mosquitto_accounts": {name: name for name in ACCOUNTS},
        "mosquitto_port": free_port(),
        "mosquitto_operator_port": free_port(),
        "mosquitto_devices": {name: name for name in ACCOUNTS[:3]},
        "mosquitto_subscribers": {
            SUBSCRIBER: {"read": ["#"], "write": ["oahega/v1/+/cmd/+", "homeassistant/status"]}
        },
    }


class Configured(Mosquitto):
    """Mosquitto as the role configures it, but for the folders and the user of the test."""

    def __init__(self, folder: Path, certificate: Certificate, given: dict[str, Any]) -> None:
        text = rendered("mosquitto.conf", given)
        for line in ("user mosquitto", "pid_file /run/mosquitto/mosquitto.pid", "log_dest syslog"):
            assert line in text
            text = text.replace(line, "")
        text = text.replace("/var/lib/mosquitto/", f"{folder}/")
        (folder / "acl").write_text(rendered("acl", given))
        (folder / "passwords").write_text(rendered("passwords", given))
        (folder / "broker.pem").write_text(Path(certificate.cert_file).read_text())
        (folder / "broker.key").write_text(Path(certificate.key_file).read_text())
        subprocess.run(["mosquitto_passwd", "-U", folder / "passwords"], check=True)
        super().__init__(folder, port=given["mosquitto_port"])
        self._config.write_text(f"user {getpass.getuser()}\n{text}")


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rules]:
    folder = tmp_path_factory.mktemp("broker")
    authority = Authority(folder, "authority")
    given = variables(folder)
    with Configured(folder, authority.issue("server"), given) as broker:
        yield Rules(broker, authority.file, given["mosquitto_port"], given["mosquitto_operator_port"])


def heard(rules: Rules, listener: str, sent: list[tuple[str, str]]) -> list[str]:
    """Topics that an account receives when each (account, topic) is published. It may read the last one."""
    with rules.listen(listener) as ear:
        reach(rules, ear, *sent[-1], "begin")
        for account, topic in sent[:-1]:
            rules.publish(account, topic, "text")
        reach(rules, ear, *sent[-1], "end")
        return [line.split()[0] for line in ear.lines if line.endswith(" text\n")]


def reach(rules: Rules, ear: Listener, account: str, topic: str, text: str) -> None:
    """Publish until it arrives: `mosquitto_sub` does not say when it has subscribed."""

    def arrived() -> bool:
        assert ear.is_connected()
        rules.publish(account, topic, text)
        return f"{topic} {text}\n" in ear.lines

    wait_until(arrived)


def test_a_device_writes_its_own_topics_and_no_others(rules: Rules) -> None:
    own = [f"{ROOT}/event", f"{ROOT}/availability", f"homeassistant/device/{DEVICE}/config"]
    foreign = [
        *(f"oahega/v1/{OTHER}/{name}" for name in ("event", "health", "cmd/restart", "response/mute")),
        *(f"oahega/v1/{DEVICE}-2/health", "oahega/v1/+/event", "oahega/v1/health"),
        *(f"homeassistant/device/{OTHER}/config", "homeassistant/status", "homeassistant/sensor/x/config"),
    ]

    told = heard(rules, SUBSCRIBER, [(DEVICE, topic) for topic in [*foreign, *own, f"{ROOT}/state"]])

    assert told == own


def test_a_device_reads_its_own_commands_and_no_others(rules: Rules) -> None:
    own = [f"{ROOT}/cmd/mute"]
    foreign = [
        *((OTHER, f"oahega/v1/{OTHER}/{name}") for name in ("event", "state", "health", "info")),
        (SUBSCRIBER, f"oahega/v1/{OTHER}/cmd/mute"),
        (OTHER, f"homeassistant/device/{OTHER}/config"),
    ]
    allowed = [(SUBSCRIBER, topic) for topic in [*own, "homeassistant/status"]]

    assert heard(rules, DEVICE, [*foreign, *allowed]) == own


def test_the_operator_reads_health_and_writes_nothing(rules: Rules) -> None:
    seen = [f"{ROOT}/{name}" for name in ("event", "state", "info", "cmd/mute", "health", "availability")]

    assert heard(rules, OPERATOR, [(DEVICE, topic) for topic in seen]) == [f"{ROOT}/health"]
    assert heard(rules, SUBSCRIBER, [(OPERATOR, f"{ROOT}/cmd/mute"), (DEVICE, f"{ROOT}/state")]) == []


def test_a_stranger_and_a_wrong_password_are_refused(rules: Rules) -> None:
    for login in (["-u", "stranger", "-P", "stranger"], ["-u", DEVICE, "-P", "wrong"], []):
        words = ["-h", HOST, "-p", str(rules.port), "--cafile", rules.authority, "-t", "x", "-m", "x"]
        done = subprocess.run(["mosquitto_pub", *words, *login], capture_output=True, text=True)
        assert "not authori" in (done.stdout + done.stderr).lower()


@pytest.mark.parametrize("stolen", [DEVICE, f"oahega-{DEVICE}"], ids=["account", "client id"])
def test_a_device_cannot_take_over_the_connection_of_another(rules: Rules, stolen: str) -> None:
    """It has a password of its own, and connects with the client id of the other again and again."""
    with rules.listen(DEVICE, "homeassistant/status", "-i", f"oahega-{DEVICE}") as device:
        reach(rules, device, SUBSCRIBER, "homeassistant/status", "online")
        before = len(rules.broker.log())
        attack = rules.client(
            "mosquitto_pub", OTHER, "-i", stolen, "-t", f"oahega/v1/{OTHER}/state", "-m", "x"
        )
        for _ in range(10):
            subprocess.run(attack, check=True, timeout=PATIENCE)

        reach(rules, device, SUBSCRIBER, "homeassistant/status", "again")
        later = rules.broker.log()[before:]

    assert later.count("New client connected") > 10
    assert f" as {DEVICE} " not in later
    assert f"Client {DEVICE} " not in later


def test_the_operator_reads_from_the_brokers_own_host_several_times_at_once(rules: Rules) -> None:
    """As the playbooks do; the options are those that the role writes."""
    given = {"mosquitto_operator_port": rules.operator_port, "mosquitto_operator": OPERATOR}
    options = rendered("mosquitto_sub", given | {"mosquitto_operator_password": OPERATOR}).split()
    command = ["mosquitto_sub", *options, "-t", f"{ROOT}/health", "-F", "%t %p"]

    with Listener(command) as one, Listener(command) as two, Listener(command) as three:
        for listener in (one, two, three):
            reach(rules, listener, DEVICE, f"{ROOT}/health", "text")
        assert all(listener.is_connected() for listener in (one, two, three))

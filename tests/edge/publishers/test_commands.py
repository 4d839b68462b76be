"""Commands over a real broker: obeyed, refused or ignored as documented."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from brokers import Ear, Gate, Mosquitto
from edge.mqtt_samples import BASE, QUICK, info, options
from oahega_edge.contract.topics import Topics
from oahega_edge.publishers.commands import LARGEST_PAYLOAD, MOST_COMMANDS, Refused, read_command
from oahega_edge.publishers.mqtt import MqttPublisher
from oahega_edge.publishers.port import Command
from oahega_edge.publishers.wire import Incoming
from oahega_edge.service.assembly import mqtt_options
from oahega_edge.service.settings import PACKAGED, read_layers
from processes import environment
from waiting import PATIENCE, wait_until

TOPICS = Topics("oahega/v1", "kiosk-1")


def incoming(name: str, payload: bytes = b"", **changes: Any) -> Incoming:
    given = {"topic": f"{BASE}/cmd/{name}", "payload": payload, "retained": False, **changes}
    return Incoming(**given)


def read(name: str, payload: bytes = b"", **changes: Any) -> Command | Refused | None:
    return read_command(incoming(name, payload, **changes), TOPICS)


def refusal(name: str, payload: bytes = b"", **changes: Any) -> str:
    found = read(name, payload, **changes)
    assert isinstance(found, Refused)
    assert found.response.status == "error"
    return str(found.response.error)


@pytest.mark.parametrize("name", ["mute", "unmute", "snapshot-state", "restart"])
@pytest.mark.parametrize("payload", [b"", b"{}", b'{"transaction": "7"}'])
def test_a_simple_command_may_be_empty_or_carry_a_transaction(name: str, payload: bytes) -> None:
    found = read(name, payload)

    assert isinstance(found, Command)
    assert found.name == name
    assert found.transaction == ("7" if b"7" in payload else None)
    assert found.reply_to == f"{BASE}/response/{name}"


@pytest.mark.parametrize(
    ("name", "payload", "transaction"),
    [
        ("set", b'{"trigger.threshold": 7, "transaction": "a-1"}', "a-1"),
        ("set", b'{"transaction": "a-2"}', "a-2"),
        ("mute", b'{"muted": "yes", "transaction": "a-3"}', "a-3"),
        ("fly", b'{"transaction": "a-4"}', "a-4"),
        ("set", b'{"transaction": 5}', None),
        ("set", b"[1]", None),
        ("set", b"{", None),
        ("set", b"[" * 4000, None),
    ],
)
def test_a_refusal_goes_where_its_sender_waits(name: str, payload: bytes, transaction: str | None) -> None:
    topic = f"{BASE}/response/set/node-red"

    found = read(name, payload, reply_to=topic, correlation=b"42")

    assert isinstance(found, Refused)
    assert (found.reply_to, found.correlation) == (topic, b"42")
    assert found.response.transaction == transaction


def test_a_refusal_is_not_sent_elsewhere_than_to_our_own_answers() -> None:
    found = read("mute", b"", reply_to="somebody/else", correlation=b"42")

    assert isinstance(found, Refused)
    assert found.reply_to == f"{BASE}/response/mute"


def test_set_takes_the_two_settings_and_no_other() -> None:
    both = read("set", b'{"smoothing.frames": 12, "trigger.threshold": 0.75}')

    assert isinstance(both, Command)
    assert both.settings == {"smoothing.frames": 12, "trigger.threshold": 0.75}
    assert refusal("set", b'{"camera.source": "/etc/passwd"}') == (
        "there is no field camera.source; set takes smoothing.frames, trigger.threshold, transaction"
    )


def test_a_switch_can_mute_and_unmute_on_one_topic() -> None:
    on, off = read("mute", b'{"muted": true}'), read("mute", b'{"muted": false}')

    assert isinstance(on, Command)
    assert isinstance(off, Command)
    assert (on.name, off.name) == ("mute", "unmute")
    assert off.reply_to == f"{BASE}/response/mute"


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"{}", "names no setting"),
        (b"", "names no setting"),
        (b'{"smoothing.frames": 0}', "smoothing.frames must be at least 1, not 0; set takes"),
        (b'{"smoothing.frames": 1001}', "smoothing.frames must be at most 1000, not 1001"),
        (b'{"smoothing.frames": 8.5}', "smoothing.frames must be a whole number, not 8.5"),
        (b'{"smoothing.frames": "8"}', 'smoothing.frames must be a whole number, not "8"'),
        (b'{"smoothing.frames": true}', "smoothing.frames must be a whole number, not true"),
        (b'{"trigger.threshold": 1.01}', "trigger.threshold must be at most 1.0, not 1.01"),
        (b'{"trigger.threshold": NaN}', "trigger.threshold must be a"),
        (b'{"trigger.threshold": 0.5, "x": 1}', "there is no field x; set takes"),
        (b'{"\\r\\u2028": null}', r"there is no field \r\u2028; set takes"),
        (b"[]", "the payload must be an object of JSON, not []"),
        (b"\xff\xfe\x00", "the payload is no JSON: "),
        (b"[" * 4000, "the payload is no JSON: "),
        (b'{"transaction": "' + b"x" * 200 + b'"}', "transaction must have at most 128 characters, not"),
        (b" " * (LARGEST_PAYLOAD + 1), "at most 4096 are read"),
    ],
)
def test_a_bad_set_is_refused_with_the_reason(payload: bytes, said: str) -> None:
    sentence = refusal("set", payload)

    assert said in sentence
    assert not re.search(r"Input should|Extra inputs|further information|pydantic|\n", sentence)


@pytest.mark.parametrize(
    ("name", "payload", "said"),
    [
        (
            "mute",
            b'{"muted": "yes"}',
            'muted must be true or false, not "yes"; mute takes muted, transaction',
        ),
        ("mute", b'{"muted": 1}', "muted must be true or false, not 1; mute takes muted, transaction"),
        ("restart", b'{"now": true}', "there is no field now; restart takes transaction"),
        (
            "snapshot-state",
            b'"now"',
            'the payload must be an object of JSON, not "now"; snapshot-state takes',
        ),
        (
            "unmute",
            b"{",
            "the payload is no JSON: EOF while parsing an object at line 1 column 1; unmute takes",
        ),
    ],
)
def test_every_command_says_in_a_sentence_what_is_wrong(name: str, payload: bytes, said: str) -> None:
    assert refusal(name, payload).startswith(said)


def test_an_unknown_command_is_told_which_there_are() -> None:
    assert "there are set, mute, unmute, snapshot-state, restart" in refusal("reboot")


@pytest.mark.parametrize(
    "topic",
    [
        f"{BASE}/event",
        f"{BASE}/state",
        "oahega/v1/kiosk-2/response/set",
        f"{BASE}/response/",
        f"{BASE}/response",
        f"{BASE}/response/#",
        f"{BASE}/response/a/+",
        f"{BASE}/response/" + "x" * 129,
        "homeassistant/status",
        "$SYS/x",
        "",
    ],
)
def test_an_answer_goes_nowhere_but_below_our_response_topic(topic: str) -> None:
    assert "must lie below oahega/v1/kiosk-1/response/" in refusal("mute", reply_to=topic)


def test_a_response_topic_below_ours_is_honoured_with_its_correlation_data() -> None:
    found = read("mute", reply_to=f"{BASE}/response/panel/7", correlation=b"\x00\x01")

    assert isinstance(found, Command)
    assert (found.reply_to, found.correlation) == (f"{BASE}/response/panel/7", b"\x00\x01")


def test_correlation_data_without_end_is_refused() -> None:
    assert "longer than 1024 bytes" in refusal("mute", correlation=bytes(1025))


@pytest.mark.parametrize("name", ["", "a/b", "Mute", "mute!", "x" * 40, "ä", "-"])
def test_a_topic_that_names_no_word_is_ignored(name: str) -> None:
    assert read(name) is None


def test_a_retained_command_is_ignored() -> None:
    assert read("restart", retained=True) is None


@pytest.fixture
def ear(mosquitto: Mosquitto) -> Iterator[Ear]:
    with Ear(mosquitto.port) as subscriber:
        yield subscriber


@pytest.fixture
def publisher(mosquitto: Mosquitto, ear: Ear) -> Iterator[MqttPublisher]:
    with MqttPublisher(options(mosquitto.port, commands=True), pauses=QUICK) as opened:
        opened.info(info())
        wait_until(lambda: opened.connected and ear.on("/info"))
        yield opened


@pytest.mark.broker
def test_a_command_reaches_the_daemon_and_its_answer_the_sender(publisher: MqttPublisher, ear: Ear) -> None:
    ear.say(
        f"{BASE}/cmd/set",
        b'{"smoothing.frames": 4, "transaction": "a"}',
        ResponseTopic=f"{BASE}/response/panel",
        CorrelationData=b"\x01\x02",
    )
    command = wait_until(publisher.commands)[0]

    publisher.respond(command, command.done({"smoothing.frames": 4}))

    answer = wait_until(lambda: ear.on("/response/panel"))[0]
    assert command.settings == {"smoothing.frames": 4}
    assert answer.properties["CorrelationData"] == "0102"
    assert not answer.retain
    assert json.loads(answer.text) == {
        "schema": "urn:oahega:response:1",
        "command": "set",
        "status": "ok",
        "error": None,
        "data": {"smoothing.frames": 4},
        "transaction": "a",
    }


@pytest.mark.broker
def test_a_bad_command_is_answered_without_the_daemon(publisher: MqttPublisher, ear: Ear) -> None:
    ear.say(f"{BASE}/cmd/set", b"nonsense", CorrelationData=b"\x07")

    answer = wait_until(lambda: ear.on("/response/set"))[0]

    assert json.loads(answer.text)["status"] == "error"
    assert answer.properties["CorrelationData"] == "07"
    assert publisher.commands() == []


@pytest.mark.broker
def test_a_retained_command_fires_neither_now_nor_at_the_next_connect(
    mosquitto: Mosquitto, ear: Ear, publisher: MqttPublisher
) -> None:
    ear.say(f"{BASE}/cmd/restart", b"", retain=True)
    ear.say(f"{BASE}/cmd/restart", b"{}", retain=True)
    wait_until(lambda: publisher.statistics().ignored_commands == 2)

    with MqttPublisher(options(mosquitto.port, device="kiosk-1", client_id="other", commands=True)) as later:
        wait_until(lambda: later.statistics().ignored_commands == 1)
        assert later.commands() == []

    assert publisher.commands() == []


@pytest.mark.broker
def test_commands_are_off_unless_enabled(mosquitto: Mosquitto, ear: Ear) -> None:
    with MqttPublisher(options(mosquitto.port)) as publisher:
        wait_until(lambda: publisher.connected)
        ear.say(f"{BASE}/cmd/mute")
        publisher.info(info())
        wait_until(lambda: ear.on("/info"))

        assert publisher.commands() == []
        assert ear.on("/response/mute") == []
        assert publisher.statistics().ignored_commands == 0


@pytest.mark.broker
def test_more_commands_than_can_wait_are_told_so(publisher: MqttPublisher, ear: Ear) -> None:
    for _ in range(MOST_COMMANDS + 3):
        ear.say(f"{BASE}/cmd/snapshot-state")

    busy = wait_until(lambda: ear.on("/response/snapshot-state")[2:])

    assert "try again later" in json.loads(busy[0].text)["error"]
    assert len(publisher.commands()) == MOST_COMMANDS


@pytest.mark.broker
@pytest.mark.parametrize(("session_s", "obeyed"), [(60, ["mute", "restart"]), (0, ["restart"])])
def test_a_command_waits_for_an_absent_device_as_long_as_the_session_is_set_to_last(
    mosquitto: Mosquitto, session_s: int, obeyed: list[str]
) -> None:
    got: list[str] = []
    with Gate(mosquitto.port) as gate, Ear(mosquitto.port) as ear:

        def said(word: str) -> int:
            return [each.text for each in ear.on("/availability")].count(word)

        gate.open()
        given = options(gate.port, commands=True, session_expiry_s=session_s)
        with MqttPublisher(given, pauses=QUICK) as publisher:
            wait_until(lambda: said("online"))  # sent after the subscription
            gate.close()
            wait_until(lambda: said("offline"))
            ear.say(f"{BASE}/cmd/mute")
            gate.open()
            wait_until(lambda: said("online") >= 2)
            ear.say(f"{BASE}/cmd/restart")

            while "restart" not in got:
                got += [command.name for command in wait_until(publisher.commands)]

    assert got == obeyed


@pytest.mark.parametrize(("said", "given"), [([], 60), (["mqtt.session_expiry_s=7"], 7)])
def test_the_sessions_length_is_a_setting(said: list[str], given: int) -> None:
    suggested = {
        "detection.face_score": 0.5,
        "detection.person_score": 0.5,
        "detection.nms_iou": 0.5,
        "smoothing.frames": 4,
        "trigger.threshold": 0.5,
        "deployment.context": "development",
    }
    assignments = [f"{key}={value}" for key, value in suggested.items()]
    settings = read_layers(PACKAGED, {}, [*assignments, *said]).resolve()

    assert mqtt_options(settings, {}).session_expiry_s == given


@pytest.mark.broker
def test_commands_are_obeyed_again_after_a_broker_restart(
    mosquitto: Mosquitto, ear: Ear, publisher: MqttPublisher
) -> None:
    ear.heard.clear()
    mosquitto.restart()
    # When it says so, the broker has worked off what it sent before: its subscription.
    wait_until(lambda: "online" in [each.text for each in ear.on("/availability")])

    ear.say(f"{BASE}/cmd/mute")

    assert [command.name for command in wait_until(publisher.commands)] == ["mute"]


def malformed(seed: int) -> tuple[str, bytes, dict[str, Any]]:
    """One bad command: topic's tail, payload, properties."""
    chance = random.Random(seed)
    name = chance.choice(
        ["set", "mute", "unmute", "restart", "snapshot-state", "x" * 30, "Ü", "a b", "-", "7"]
    )
    size = chance.choice([1, 1, 7, 60, 4000, 4097, 50_000, 70_000]) if chance.random() < 0.97 else 1_000_000
    payload = chance.choice(
        [
            chance.randbytes(size),
            b'{"smoothing.frames": ' + str(chance.choice([0, -1, 10**30, 1e308, "x"])).encode() + b"}",
            b'{"trigger.threshold": ' + str(chance.uniform(1.001, 1e9)).encode() + b"}",
            b'{"set": {"camera.source": "x"}}',
            b"[" * size,
            b'{"a":' * size,
            b"\xf0\x28\x8c\x28" * (size // 4 + 1),
            b"null",
        ]
    )
    properties: dict[str, Any] = {}
    if chance.random() < 0.3:
        properties["ResponseTopic"] = chance.choice(
            [f"{BASE}/event", f"{BASE}/response/ok", "x", "homeassistant/y"]
        )
    if chance.random() < 0.3:
        properties["CorrelationData"] = chance.randbytes(chance.choice([0, 1, 2000]))
    return name, payload, properties


def storm(ear: Ear, count: int, first_seed: int = 0) -> None:
    for seed in range(first_seed, first_seed + count):
        name, payload, properties = malformed(seed)
        ear.say(f"{BASE}/cmd/{name}", payload, retain=seed % 17 == 0, **properties)


def check_topics_and_answers(ear: Ear) -> None:
    """Nothing was written elsewhere, and whatever was answered was an error."""
    allowed = ("availability", "info", "response/", "cmd/")
    heard = [each for each in ear.heard if not each.topic.removeprefix(f"{BASE}/").startswith(allowed)]
    assert [each.topic for each in heard] == []
    statuses = {json.loads(each.text)["status"] for each in ear.heard if "/response/" in each.topic}
    assert statuses == {"error"}


@pytest.mark.broker
def test_a_storm_of_malformed_commands_changes_nothing(publisher: MqttPublisher, ear: Ear) -> None:
    storm(ear, 300)

    check_topics_and_answers(ear)
    assert publisher.commands() == []
    assert publisher.statistics().ignored_commands > 0
    ear.say(f"{BASE}/cmd/mute", b"{}")
    assert [command.name for command in wait_until(publisher.commands)] == ["mute"]


OBEYING = """
import sys, time
from edge.mqtt_samples import info, options
from oahega_edge.publishers.mqtt import MqttPublisher

with MqttPublisher(options(int(sys.argv[1]), commands=True)) as publisher:
    publisher.info(info())
    while True:
        for command in publisher.commands():
            print(command.name, flush=True)
        time.sleep(0.05)
"""


@pytest.mark.broker
@pytest.mark.long
def test_ten_thousand_malformed_commands_change_nothing_and_leave_memory_flat(mosquitto: Mosquitto) -> None:
    """The device is a process of its own: its memory is looked at, not this test's."""
    where_answers_could_go = (f"{BASE}/+", f"{BASE}/response/#", "homeassistant/#", "x")
    process = subprocess.Popen(
        [sys.executable, "-c", OBEYING, str(mosquitto.port)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert process.stdout is not None
    with Ear(mosquitto.port, topics=where_answers_could_go) as ear:
        wait_until(lambda: ear.on("/info"))
        storm(ear, 1000)
        before = psutil.Process(process.pid).memory_info().rss

        storm(ear, 9000, first_seed=1000)

        grown = (psutil.Process(process.pid).memory_info().rss - before) / 1e6
        print(f"memory grew by {grown:.1f} MB over 9,000 malformed commands, {len(ear.heard)} answers")
        assert grown < 5
        check_topics_and_answers(ear)
        ear.say(f"{BASE}/cmd/mute", b"{}")
        assert process.stdout.readline() == "mute\n"
    process.terminate()
    process.wait(PATIENCE)
    process.stdout.close()


def test_an_echo_that_comes_late_takes_the_complaint_about_commands_back() -> None:
    """As of a device that had no time for two seconds."""
    publisher = MqttPublisher(options(1, commands=True))

    publisher._know_whether_commands_arrive(False)
    before = publisher.statistics().problem
    publisher._know_whether_commands_arrive(True)

    assert "no command can arrive" in str(before)
    assert publisher.statistics().problem is None


def test_an_info_that_is_told_while_the_connection_comes_up_arrives(
    mosquitto: Mosquitto, ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_all = MqttPublisher._publish_all

    def interrupted(self: MqttPublisher) -> None:
        publish_all(self)
        self.info(info())

    monkeypatch.setattr(MqttPublisher, "_publish_all", interrupted)

    with MqttPublisher(options(mosquitto.port), pauses=QUICK):
        wait_until(lambda: ear.on("/info"))

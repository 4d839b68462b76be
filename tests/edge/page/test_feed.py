"""The daemon's local feed: everybody who listens hears it, and nobody can make the daemon wait."""

from __future__ import annotations

import base64
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from descriptors import descriptors, descriptors_free
from edge.mqtt_samples import event, info, state
from oahega_edge.chain.decider import TrackedFace
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.pipeline import Step
from oahega_edge.feed.mounting import Mounting, picture
from oahega_edge.feed.publisher import FedPublisher
from oahega_edge.feed.socket import MOST_SUBSCRIBERS, FeedSocket
from oahega_edge.publishers.port import Command
from oahega_edge.publishers.recording import RecordingPublisher
from oahega_edge.service.health import utc_now
from waiting import PATIENCE, patiently, wait_until

BOTH = {"smoothing.frames": 7, "trigger.threshold": 1.0}
LAST = {"smoothing.frames": 3}


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[FeedSocket]:
    with FeedSocket(tmp_path / "feed.sock") as opened:
        yield opened


def subscribe(tmp_path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.setblocking(False)
    wait_until(lambda: listener.connect_ex(str(tmp_path / "feed.sock")) == 0)  # EAGAIN while many wait
    listener.settimeout(PATIENCE)
    return listener


def heard(listener: socket.socket) -> dict[str, Any]:
    return dict(json.loads(listener.recv(1 << 18)))


def test_a_subscriber_hears_first_what_holds_and_then_what_happens(feed: FeedSocket, tmp_path: Path) -> None:
    feed.send("state", '{"emotion":"happy"}')
    feed.send("event", '{"seq":0}')
    with subscribe(tmp_path) as listener:
        first = heard(listener)
        feed.send("event", '{"seq":1}')
        second = heard(listener)

    assert first == {"kind": "state", "data": {"emotion": "happy"}}
    assert second == {"kind": "event", "data": {"seq": 1}}


def test_who_comes_while_no_descriptor_is_free_waits_and_hears_afterwards(
    feed: FeedSocket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    feed.send("state", '{"emotion":"happy"}')
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        with descriptors_free(0):
            listener.connect(str(tmp_path / "feed.sock"))
            wait_until(lambda: "have to wait" in caplog.text)
        listener.settimeout(PATIENCE)

        assert heard(listener) == {"kind": "state", "data": {"emotion": "happy"}}
    assert caplog.text.count("have to wait") == 1


@pytest.mark.parametrize("count", [0, 1])
def test_a_daemon_that_finds_no_descriptor_for_its_feed_goes_on_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, count: int
) -> None:
    """One is for the socket itself, one for waiting on it."""
    feed, before = FeedSocket(tmp_path / "feed.sock"), descriptors()
    with descriptors_free(count), feed:
        feed.send("state", '{"emotion":"happy"}')

    assert "no feed at" in caplog.text
    assert descriptors() < before


def test_a_subscriber_that_does_not_read_is_dropped_and_the_others_hear_all(
    feed: FeedSocket, tmp_path: Path
) -> None:
    with subscribe(tmp_path) as lazy, subscribe(tmp_path) as keen:
        wait_until(lambda: len(feed._subscribers) == 2)
        received = 0
        for _ in patiently():
            if len(feed._subscribers) < 2:
                break
            feed.send("event", json.dumps({"seq": received, "padding": "x" * 1000}))
            assert heard(keen)["data"]["seq"] == received
            received += 1

        feed.send("event", '{"seq":-1}')

        assert received > 10
        assert heard(keen)["data"] == {"seq": -1}
        waiting = 0
        while lazy.recv(1 << 18):
            waiting += 1
        assert 0 < waiting < received + 1


def test_one_subscriber_too_many_is_refused(feed: FeedSocket, tmp_path: Path) -> None:
    listeners = [subscribe(tmp_path) for _ in range(MOST_SUBSCRIBERS)]
    wait_until(lambda: len(feed._subscribers) == MOST_SUBSCRIBERS)

    with subscribe(tmp_path) as another:
        assert another.recv(10) == b""

    listeners[0].close()
    wait_until(lambda: len(feed._subscribers) == MOST_SUBSCRIBERS - 1)
    for listener in listeners:
        listener.close()


def test_a_feed_that_cannot_be_opened_is_no_reason_to_stop(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with FeedSocket(tmp_path / "file" / "feed.sock") as feed:
        feed.send("event", "{}")

        assert not feed.is_heard


class Mutes:
    """How often the device was muted, and the time."""

    def __init__(self) -> None:
        self.count = 0
        self.now = 0.0


@pytest.fixture
def mutes() -> Mutes:
    return Mutes()


@pytest.fixture
def mounting(mutes: Mutes) -> Mounting:
    return Mounting(lambda: mutes.now, lambda: mutes.count)


@pytest.fixture
def fed(tmp_path: Path, mounting: Mounting) -> Iterator[FedPublisher]:
    now = iter(range(1000))
    feed = FeedSocket(tmp_path / "feed.sock")
    with FedPublisher(
        RecordingPublisher(), feed, mounting=mounting, least_px=28, clock=lambda: float(next(now))
    ) as opened:
        yield opened


def test_what_is_published_is_fed_and_published(fed: FedPublisher, tmp_path: Path) -> None:
    fed.info(info())
    with subscribe(tmp_path) as listener:
        assert heard(listener)["kind"] == "info"
        fed.publish(event())
        fed.state(state())

        assert heard(listener) == {"kind": "event", "data": json.loads(event().to_json())}
        assert heard(listener)["kind"] == "state"
    assert fed.statistics().published == 1


@pytest.mark.parametrize(
    ("request_", "settings"),
    [
        ({"set": {"trigger.threshold": 0.6}}, {"trigger.threshold": 0.6}),
        ({"set": BOTH}, BOTH),
        ({"set": {"trigger.threshold": 7}}, None),
        ({"set": {"camera.source": "0"}}, None),
        ({"set": {}}, None),
        ({"set": None}, None),
        ({"mute": True}, None),
        ([1, 2], None),
    ],
)
def test_only_the_two_settings_can_be_asked_for(
    request_: object, settings: dict[str, float] | None, fed: FedPublisher, tmp_path: Path
) -> None:
    with subscribe(tmp_path) as listener:
        listener.send(b"nonsense")
        listener.send(json.dumps(request_).encode())
        listener.send(json.dumps({"set": LAST}).encode())
        commands: list[Command] = []
        wait_until(
            lambda: (
                commands.extend(fed.commands())
                or any(c.settings == {"smoothing.frames": 3} for c in commands)
            )
        )

    assert [dict(command.settings) for command in commands[:-1]] == ([] if settings is None else [settings])


def test_an_answer_to_the_feed_is_not_published(fed: FedPublisher, tmp_path: Path) -> None:
    with subscribe(tmp_path) as listener:
        listener.send(b'{"set": {"smoothing.frames": 3}}')
        (command,) = wait_until(fed.commands)

    fed.respond(command, command.done())
    remote = Command("set", {"smoothing.frames": 3})
    fed.respond(remote, remote.done())

    assert len(fed._inner.responses) == 1


def test_the_mounter_sees_boxes_and_advice_and_no_picture(fed: FedPublisher, tmp_path: Path) -> None:
    frame = Frame(np.full((100, 200, 3), 10, np.uint8), 0.0, utc_now(), 0)
    face = TrackedFace(1, Box(0.1, 0.2, 0.2, 0.4), 0.9, None, "uncertain")
    with subscribe(tmp_path) as listener:
        wait_until(lambda: fed._feed.is_heard)
        fed.saw(frame, Step((face,), 1, ()))
        sight = heard(listener)

    assert sight["kind"] == "sight"
    assert sight["data"]["faces"] == [{"box": [0.1, 0.2, 0.1, 0.2], "height_px": 20, "emotion": "uncertain"}]
    assert sight["data"]["advice"] == ["dark", "blurred", "far"]
    assert sight["data"].pop("picture") is False
    assert set(sight["data"]) == {"width", "height", "faces", "people", "brightness", "sharpness", "advice"}


def test_while_the_camera_is_mounted_the_picture_is_fed(
    fed: FedPublisher, mounting: Mounting, mutes: Mutes, tmp_path: Path
) -> None:
    frame = Frame(np.full((100, 200, 3), 99, np.uint8), 0.0, utc_now(), 0)
    mounting.open(5)
    with subscribe(tmp_path) as listener:
        wait_until(lambda: fed._feed.is_heard)
        fed.saw(frame, Step((), 0, ()))
        first, second = heard(listener), heard(listener)
        mutes.count += 1
        fed.saw(frame, Step((), 0, ()))
        third = heard(listener)

    assert base64.b64decode(first["data"])[:2] == b"\xff\xd8"
    assert [first["kind"], second["kind"], third["kind"]] == ["picture", "sight", "sight"]
    assert [second["data"]["picture"], third["data"]["picture"]] == [True, False]


def test_mounting_ends_with_its_minutes_with_0_and_for_good_with_a_mute(
    mounting: Mounting, mutes: Mutes
) -> None:
    assert not mounting.is_open
    mounting.open(0.5)
    mutes.now = 29
    assert mounting.is_open
    mutes.now = 30
    assert not mounting.is_open

    mounting.open(60)
    mounting.open(0)
    assert not mounting.is_open

    mounting.open(5)
    mutes.count += 1
    assert not mounting.is_open
    mounting.open(5)
    assert mounting.is_open


@pytest.mark.parametrize("minutes", [-1, 61, float("nan"), float("inf"), "5", None, True, [5]])
def test_other_minutes_are_refused_and_open_nothing(minutes: object, mounting: Mounting) -> None:
    with pytest.raises(ValueError, match="expected a number from 0 to 60"):
        mounting.open(minutes)

    assert not mounting.is_open


@pytest.mark.parametrize("size", [(1, 1), (1080, 1920), (3000, 10), (480, 640)])
def test_the_picture_is_small_and_black_where_it_is_masked(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(7).integers(1, 256, (*size, 3), np.uint8)
    text = picture(Frame(noise, 0.0, utc_now(), 0), [Box(0, 0, 0.5, 1)])

    assert text is not None
    seen = cv2.imdecode(np.frombuffer(base64.b64decode(text), np.uint8), cv2.IMREAD_COLOR)
    assert max(seen.shape) <= 640
    assert seen[:, : max(0, seen.shape[1] // 2 - 16)].max(initial=0) < 8

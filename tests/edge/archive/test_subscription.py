"""The archive's side of MQTT 5 against a broker that plays what real ones seldom do."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator

import mqtt5
import pytest

from oahega_edge.archive import subscription
from oahega_edge.archive.subscription import (
    LARGEST_PACKET,
    MOST_UNACKNOWLEDGED_AT_ONCE,
    Delivery,
    Subscription,
)
from oahega_edge.publishers.broker import BrokerOptions
from waiting import PATIENCE, await_end, beside, wait_until

WELCOME = mqtt5.ConnAckPacket().write()
Scene = Callable[[socket.socket], None]


def publish(payload: bytes, mid: int, topic: str = "oahega/v1/kiosk-1/event") -> bytes:
    return mqtt5.PublishPacket(topic, payload, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=mid).write()


class Broker:
    """Plays one scene for each connection, then waits until it ends; keeps all that it was told."""

    def __init__(self, *scenes: Scene) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._scenes = scenes
        self.port: int = self._listening.getsockname()[1]
        self.told: list[bytes] = []
        self._thread = threading.Thread(target=self._play, daemon=True)

    def __enter__(self) -> Broker:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # of scenes for which nobody came
        await_end(self._thread)
        self._listening.close()

    def _play(self) -> None:
        for scene in self._scenes:
            try:
                link, _ = self._listening.accept()
            except OSError:
                return
            link.settimeout(PATIENCE)
            with link, contextlib.suppress(OSError):
                self.told.append(link.recv(1 << 16))
                scene(link)
                while data := link.recv(1 << 16):
                    self.told[-1] += data


def packets(data: bytes) -> list[mqtt5.Packet]:
    found = []
    while data:
        packet, length = mqtt5.read(memoryview(data))
        found.append(packet)
        data = data[length:]
    return found


@contextlib.contextmanager
def subscribed(broker: Broker, **changes: object) -> Iterator[Subscription]:
    options = BrokerOptions(host="127.0.0.1", port=broker.port, client_id="archive", **changes)  # type: ignore[arg-type]
    with Subscription(options, "oahega/v1", retained=True) as opened:
        yield opened


def arrived(source: Subscription, count: int) -> list[Delivery]:
    found: list[Delivery] = []

    def enough() -> bool:
        found.extend(source.fetch(count, 0.05))
        return len(found) >= count

    wait_until(enough)
    return found


def test_packets_may_be_cut_anywhere() -> None:
    stream = WELCOME + publish(b"one", 1) + publish(b"x" * 20_000, 2) + publish(b"three", 3)

    def in_pieces(link: socket.socket) -> None:
        for start in range(60):
            link.sendall(stream[start : start + 1])
        link.sendall(stream[60:])

    with Broker(in_pieces) as broker, subscribed(broker) as source:
        found = arrived(source, 3)

    assert [(len(each.payload), each.mid) for each in found] == [(3, 1), (20_000, 2), (5, 3)]


@pytest.mark.parametrize("topic", [b"\xff\xfe", b"oahega/v1/\xc3/event", b"\xed\xa0\x80"])
def test_a_topic_that_is_not_utf_8_is_handed_on_to_be_kept_apart(topic: bytes) -> None:
    good = publish(b"{}", 9, "o" * len(topic))
    stream = WELCOME + good.replace(b"o" * len(topic), topic) + publish(b"next", 10)

    with Broker(lambda link: link.sendall(stream)) as broker, subscribed(broker) as source:
        found = arrived(source, 2)
        source.acknowledge(found)
        wait_until(lambda: broker.told[0].endswith(b"@\x02\x00\x09@\x02\x00\x0a"))

    assert [(each.topic, each.mid) for each in found] == [("not UTF-8", 9), ("oahega/v1/kiosk-1/event", 10)]


def test_what_an_earlier_connection_brought_is_not_acknowledged_on_the_next() -> None:
    go_on = threading.Event()

    def first(link: socket.socket) -> None:
        link.sendall(WELCOME + publish(b"once", 5))
        go_on.wait(60)
        link.shutdown(socket.SHUT_RDWR)

    def second(link: socket.socket) -> None:
        link.sendall(WELCOME + publish(b"again", 6))

    with Broker(first, second) as broker, subscribed(broker) as source:
        old = arrived(source, 1)
        go_on.set()
        new = arrived(source, 1)
        source.acknowledge(old + new)
        wait_until(lambda: b"@\x02\x00\x06" in broker.told[-1])

    acknowledged = [
        each.packet_id for each in packets(broker.told[1]) if isinstance(each, mqtt5.PubAckPacket)
    ]
    assert acknowledged == [6]


def test_the_session_is_asked_for_and_left_in_order() -> None:
    with Broker(lambda link: link.sendall(WELCOME)) as broker, subscribed(broker, username="a") as source:
        wait_until(lambda: len(broker.told) == 1 and b"summary" in broker.told[0])
        source.acknowledge([])

    connect, subscribe, *_, goodbye = packets(broker.told[0])
    assert isinstance(connect, mqtt5.ConnectPacket)
    assert not connect.clean_start
    assert connect.session_expiry_interval == 7 * 86_400
    assert connect.receive_max == 10_000
    assert connect.max_packet_size == LARGEST_PACKET
    assert isinstance(subscribe, mqtt5.SubscribePacket)
    assert [each.pattern for each in subscribe.topic_filters] == [
        "$share/archive/oahega/v1/+/event",
        "$share/archive/oahega/v1/+/summary",
        "oahega/v1/+/health",
        "oahega/v1/+/availability",
    ]
    assert isinstance(goodbye, mqtt5.DisconnectPacket)


@pytest.mark.parametrize(
    ("scene", "reason"),
    [
        (mqtt5.ConnAckPacket(reason_code=mqtt5.ConnAckReasonCode.NOT_AUTHORIZED).write(), "not authorized"),
        (WELCOME + mqtt5.DisconnectPacket(
            reason_code=mqtt5.DisconnectReasonCode.SESSION_TAKEN_OVER).write(), "session taken over"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ""),
        (b"\x20\xff\xff\xff\xff\xff", "valid length"),
    ],
)  # fmt: skip
def test_what_the_broker_says_is_said_and_it_is_tried_again(
    scene: bytes, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    def unkind(link: socket.socket) -> None:
        link.sendall(scene)
        link.shutdown(socket.SHUT_WR)

    with (
        caplog.at_level(logging.WARNING),
        Broker(unkind, lambda link: link.sendall(WELCOME + publish(b"well", 1))) as broker,
        subscribed(broker) as source,
    ):
        assert arrived(source, 1)[0].payload == b"well"

    said = [each.getMessage() for each in caplog.records]
    assert len(said) == 1
    assert reason in said[0]


def test_a_silent_broker_is_asked_and_then_left() -> None:
    silent, well = WELCOME, WELCOME + publish(b"well", 1)
    # A busy machine may be silent for as long, and be left again.
    scenes = [silent, *[well] * 20]
    with (
        Broker(*[lambda link, said=said: link.sendall(said) for said in scenes]) as broker,
        subscribed(broker, keepalive_s=1) as source,
    ):
        assert arrived(source, 1)[0].payload == b"well"

    assert any(isinstance(each, mqtt5.PingReqPacket) for each in packets(broker.told[0]))
    assert len(broker.told) > 1


def test_a_session_is_given_up_when_the_broker_has_nothing_left_and_all_is_acknowledged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(subscription, "QUIET_S", 0.01)
    pinged = threading.Event()
    done = mqtt5.UnsubAckPacket(1, [mqtt5.UnsubAckReasonCode.SUCCESS] * 4).write()

    def slow(link: socket.socket) -> None:
        link.sendall(WELCOME + publish(b"one", 1) + done)
        heard = b""
        while b"\xc0\x00" not in heard:
            heard += link.recv(1 << 16)
        pinged.set()
        # What comes before the answer is not all that there was.
        link.sendall(publish(b"two", 2) + mqtt5.PingRespPacket().write())
        while b"\xc0\x00" not in (more := link.recv(1 << 16)):
            heard += more
        link.sendall(mqtt5.PingRespPacket().write())
        broker.told[-1] += heard + more

    with Broker(slow) as broker:
        options = BrokerOptions(host="127.0.0.1", port=broker.port, client_id="archive")
        with Subscription(options, "oahega/v1", retained=True, gives_up=True) as source:
            first = arrived(source, 1)
            asked_too_early = pinged.wait(0.2)
            source.acknowledge(first)
            source.acknowledge(arrived(source, 1))
            wait_until(lambda: source.is_over)
            assert source.fetch(1, 0) == []

    connect, unsubscribe, *rest, goodbye = packets(broker.told[0])
    assert not asked_too_early
    assert isinstance(connect, mqtt5.ConnectPacket)
    assert connect.session_expiry_interval == 7 * 86_400  # one that is killed meanwhile has lost nothing
    assert isinstance(unsubscribe, mqtt5.UnsubscribePacket)
    assert len(unsubscribe.patterns) == 4
    assert [each.packet_id for each in rest if isinstance(each, mqtt5.PubAckPacket)] == [1, 2]
    assert isinstance(goodbye, mqtt5.DisconnectPacket)
    assert goodbye.session_expiry_interval == 0


def test_health_that_comes_faster_than_it_is_kept_is_left_out_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    one = Delivery("oahega/v1/kiosk-1/health", b"{}", 0, 0, 1)
    with Broker(lambda link: None) as broker, subscribed(broker) as source:
        for _ in range(MOST_UNACKNOWLEDGED_AT_ONCE + 11):
            source._take(one)
        source._take(Delivery("oahega/v1/kiosk-1/event", b"{}", 1, 1, 1))

        kept = source.fetch(10**6, 0)
        source._take(one)

    assert len(kept) == MOST_UNACKNOWLEDGED_AT_ONCE + 2
    assert kept[-1].qos == 1
    assert source.left_out == 10
    assert [each.getMessage() for each in caplog.records if "QoS 0" in each.getMessage()] == [
        "Messages of QoS 0 come faster than they are kept; some are left out.",
        "Messages of QoS 0 are kept again; 10 were left out since the start.",
    ]


def test_a_name_server_that_never_answers_does_not_keep_the_archive_from_ending(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked, answer = threading.Event(), threading.Event()

    def hangs(*_: object, **__: object) -> list[object]:
        asked.set()
        answer.wait(2 * PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "nobody answered")

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    monkeypatch.setattr(subscription, "NETWORK_PATIENCE_S", 0.01)

    def come_and_go() -> None:
        options = BrokerOptions(host="broker.example.org", port=1883, client_id="archive")
        with Subscription(options, "oahega/v1", retained=True):
            assert asked.wait(PATIENCE)

    before = set(threading.enumerate())
    await_end(beside(come_and_go))
    (left,) = {thread for thread in threading.enumerate() if thread.name == "subscription"} - before
    answer.set()
    await_end(left)

    assert "is away" not in caplog.text

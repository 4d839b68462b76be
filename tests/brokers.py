"""Real brokers for tests: mosquitto as a process, configured by the test; amqtt where it is wanted."""

from __future__ import annotations

import contextlib
import getpass
import os
import random
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from waiting import PATIENCE, wait_until

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
HOST = "127.0.0.1"

needs_mosquitto = pytest.mark.skipif(MOSQUITTO is None, reason="no mosquitto on this machine")


_GIVEN: set[int] = set()
"""Ports that this process was given: whoever has one may not listen yet, or may come back to it."""


def free_port() -> int:
    """A port that nobody else takes before it is used, and that no second call gives.

    It lies below the range of outgoing connections, in a part of its own for each process of pytest-xdist.
    """
    choose = random.SystemRandom()  # pytest-randomly seeds `random` alike in every process
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = 20_000 // workers
    while True:
        port = 10_000 + worker * share + choose.randrange(share)
        with contextlib.suppress(OSError), socket.socket() as sock:
            if port not in _GIVEN:
                sock.bind((HOST, port))
                _GIVEN.add(port)
                return port


class Mosquitto:
    """Started and stopped at will, on one port; more listeners through `extra`."""

    def __init__(self, folder: Path, extra: str = "allow_anonymous true", port: int | None = None) -> None:
        if MOSQUITTO is None:
            pytest.skip("no mosquitto on this machine")
        self.host = HOST
        self.port = port or free_port()
        self._config = folder / f"mosquitto-{self.port}.conf"
        user = getpass.getuser()  # else it gives up root and cannot read the test's files
        self._config.write_text(f"user {user}\nlistener {self.port} {HOST}\n{extra}\n")
        self._log = folder / f"mosquitto-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        assert MOSQUITTO is not None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [MOSQUITTO, "-c", str(self._config)], stdout=log, stderr=subprocess.STDOUT
            )

        # One listener is there a moment before the next.
        ports = re.findall(r"^listener ([1-9]\d*)", self._config.read_text(), re.MULTILINE)

        def listens() -> bool:
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()
            with contextlib.suppress(OSError):
                for port in ports:
                    socket.create_connection((self.host, int(port)), 1.0).close()
                return True
            return False

        try:
            wait_until(listens)
        except BaseException:
            self.stop(kill=True)  # nobody else would: the test has not begun
            raise

    def stop(self, kill: bool = False) -> None:
        if self._process is not None:
            self._process.kill() if kill else self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None

    def restart(self) -> None:
        self.stop()
        self.start()

    def log(self) -> str:
        return self._log.read_text()


class Gate:
    """A TCP forwarder on a port of its own: closed, it is a network without the broker."""

    def __init__(self, target: int) -> None:
        self.port = free_port()
        self._target = target
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None
        self._open: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        with self._lock:
            self._listener = socket.create_server((HOST, self.port))
            threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        with self._lock:
            if self._listener is not None:
                self._shut(self._listener)
                self._listener = None
            while self._open:
                self._shut(self._open.pop())

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                self._connect(listener, near)

    def _connect(self, listener: socket.socket, near: socket.socket) -> None:
        """No connection outlives the closing of the gate that it came through."""
        with self._lock:
            try:
                if listener is not self._listener:
                    raise ConnectionAbortedError
                far = socket.create_connection((HOST, self._target))
            except OSError:  # closed meanwhile, or the broker is away
                self._shut(near)
                return
            self._open += [near, far]
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        self._shut(source)
        self._shut(sink)

    @staticmethod
    def _shut(sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
        sock.close()


@dataclass(frozen=True)
class Heard:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    properties: dict[str, Any]

    @property
    def text(self) -> str:
        return self.payload.decode()


@dataclass
class Ear:
    """A plain subscriber and publisher that has nothing to do with our code; comes back after a restart."""

    port: int
    topics: tuple[str, ...] = ("#",)
    protocol: int = paho.MQTTv5
    host: str = HOST
    login: tuple[str, str] | None = None
    heard: list[Heard] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._subscribed = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=self.protocol)  # type: ignore[arg-type]
        if self.login is not None:
            self.client.username_pw_set(*self.login)
        self.client.reconnect_delay_set(0.05, 0.2)  # type: ignore[arg-type]
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message
        self.client.on_subscribe = lambda *ignored: self._subscribed.set()
        self.client.connect_async(self.host, self.port)
        self.client.loop_start()
        assert self._subscribed.wait(PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        # The client closes its last sockets as it is freed, which its callbacks would put off.
        self.client.on_connect = self.client.on_message = self.client.on_subscribe = None

    def on(self, tail: str) -> list[Heard]:
        """What was heard on topics that end so."""
        return [each for each in list(self.heard) if each.topic.endswith(tail)]

    def say(self, topic: str, payload: bytes | str = b"", retain: bool = False, **properties: Any) -> None:
        given = None
        if self.protocol == paho.MQTTv5:
            given = Properties(PacketTypes.PUBLISH)
            for name, value in properties.items():
                setattr(given, name, value)
        self.client.publish(topic, payload, 1, retain, properties=given).wait_for_publish(PATIENCE)

    def _on_connect(self, *ignored: Any) -> None:
        if self.protocol == paho.MQTTv5:
            options = SubscribeOptions(qos=1, retainAsPublished=True)
            self.client.subscribe([(topic, options) for topic in self.topics])
        else:
            self.client.subscribe([(topic, 1) for topic in self.topics])

    def _on_message(self, client: Any, userdata: Any, message: paho.MQTTMessage) -> None:
        properties = message.properties.json() if message.properties is not None else {}
        self.heard.append(
            Heard(message.topic, bytes(message.payload), message.qos, message.retain, properties)
        )


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as broker:
        yield broker

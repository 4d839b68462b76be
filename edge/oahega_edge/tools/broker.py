"""A small MQTT broker for the demo: amqtt in a process of its own, for this machine only.

A process, because it ends with the demo whatever happens, and keeps asyncio and its warnings out of ours.
It speaks MQTT 3.1.1 only, without passwords: it is not meant for a deployment.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import random
import socket
import subprocess
import sys
import time
from types import TracebackType
from typing import Any, Self

from oahega_edge.errors import EdgeError

HOST = "127.0.0.1"
START_S = 60.0
"""A hang is noticed, not a slow start."""


class BrokerError(EdgeError):
    """The embedded broker cannot be started."""


class EmbeddedBroker:
    """Runs while the context lasts."""

    def __init__(self, port: int = 0, websocket_port: int | None = None) -> None:
        """Port 0: a free one, chosen on entering. With a websocket port browsers can connect as well."""
        self.host = HOST
        self.port = port
        self.websocket_port = websocket_port
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        if importlib.util.find_spec("amqtt") is None:
            raise BrokerError(
                "The embedded broker needs the package amqtt: install oahega-edge[demo] or name a broker."
            )
        self.port = self.port or free_port()
        command = [sys.executable, "-m", "oahega_edge.tools.broker", str(self.port)]
        if self.websocket_port is not None:
            self.websocket_port = self.websocket_port or free_port()
            command += ["--websocket", str(self.websocket_port)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self._wait_until_it_listens(self._process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.communicate(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    def _wait_until_it_listens(self, process: subprocess.Popen[str]) -> None:
        until = time.monotonic() + START_S
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1.0):
                return
            time.sleep(0.05)
        process.kill()
        said = process.communicate()[0].strip().splitlines()
        raise BrokerError(
            f"The embedded broker did not start on port {self.port} ({said[-1] if said else 'no word'}); "
            "choose another port or name a broker."
        )


def free_port() -> int:
    """A free port below those of outgoing connections: one of these would take it, or reach itself there."""
    choose = random.SystemRandom()
    while True:
        port = choose.randrange(10_000, 30_000)
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind((HOST, port))
            return port


async def _serve(port: int, websocket_port: int | None) -> None:
    """Until standard input ends, which it does with the process that started us."""
    from amqtt.broker import Broker

    listeners: dict[str, dict[str, Any]] = {"default": {"type": "tcp", "bind": f"{HOST}:{port}"}}
    if websocket_port is not None:
        listeners["browser"] = {"type": "ws", "bind": f"{HOST}:{websocket_port}"}
    access = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    broker = Broker({"listeners": listeners, "plugins": access})
    await broker.start()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await broker.shutdown()


def main() -> None:
    """Entry of the broker's process."""
    parser = argparse.ArgumentParser(prog="python -m oahega_edge.tools.broker", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--websocket", type=int)
    arguments = parser.parse_args()
    asyncio.run(_serve(arguments.port, arguments.websocket))


if __name__ == "__main__":
    main()

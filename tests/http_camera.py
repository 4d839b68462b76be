"""A network camera of the standard library: an MJPEG stream over HTTP that can stall, die, come back."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

BOUNDARY = "frame"


class HttpCamera:
    """Serves the pictures that `scene(i)` draws (height x width x 3 RGB), `fps` of them per second."""

    def __init__(self, scene: Callable[[int], NDArray[np.uint8]], *, fps: float = 50.0) -> None:
        self._scene = scene
        self._pause = 1 / fps
        self._server: _Server | None = None
        self._port = 0
        self._flowing = threading.Event()
        self._flowing.set()

    @property
    def url(self) -> str:
        """The same after `die` and `come_back`."""
        return f"http://127.0.0.1:{self._port}/stream.mjpg"

    def __enter__(self) -> Self:
        self.come_back()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.die()

    def come_back(self) -> None:
        """Listen, at the same port as before."""
        self._flowing.set()
        self._server = _Server(("127.0.0.1", self._port), self._scene, self._pause, self._flowing)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def die(self) -> None:
        """Power off: no listener, every connection cut."""
        if self._server is not None:
            self._server.cut_off()
            self._server = None

    def stall(self) -> None:
        """Stay connected and send nothing more."""
        self._flowing.clear()

    def go_on(self) -> None:
        """The end of a stall."""
        self._flowing.set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        address: tuple[str, int],
        scene: Callable[[int], NDArray[np.uint8]],
        pause: float,
        flowing: threading.Event,
    ) -> None:
        self.scene, self.pause, self.flowing = scene, pause, flowing
        self.off = threading.Event()
        self.connections: list[socket.socket] = []
        super().__init__(address, _Handler)

    def cut_off(self) -> None:
        self.off.set()
        self.flowing.set()
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            connection.close()


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.connections.append(self.connection)
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.end_headers()
        i = 0
        while not self.server.off.wait(self.server.pause):
            self.server.flowing.wait()
            jpeg = _jpeg(self.server.scene(i))
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            except OSError:  # the reader went away
                return
            i += 1

    def log_message(self, *args: object) -> None:
        """Silence: this is a camera."""


def _jpeg(rgb: NDArray[np.uint8]) -> bytes:
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
    assert ok
    return data.tobytes()

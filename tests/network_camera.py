"""Network cameras of the standard library: MJPEG over HTTP and RTSP, that stall, die and come back."""

from __future__ import annotations

import itertools
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from socketserver import StreamRequestHandler, ThreadingTCPServer
from types import TracebackType
from typing import ClassVar, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from brokers import free_port

Scene = Callable[[int], NDArray[np.uint8]]
"""Frame number -> height x width x 3 RGB; for RTSP both sides multiples of 8."""


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[StreamRequestHandler],
        scene: Scene,
        pause: float,
        flowing: threading.Event,
    ) -> None:
        self._scene, self._pause, self._flowing = scene, pause, flowing
        self._off = threading.Event()
        self.connections: list[socket.socket] = []
        super().__init__(address, handler)

    def pictures(self) -> Iterator[bytes]:
        """JPEGs at the camera's pace until it is switched off."""
        for i in itertools.count():
            if self._off.wait(self._pause):
                return
            self._flowing.wait()
            ok, data = cv2.imencode(".jpg", cv2.cvtColor(self._scene(i), cv2.COLOR_RGB2BGR))
            assert ok
            yield data.tobytes()

    def cut_off(self) -> None:
        self._off.set()
        self._flowing.set()
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            connection.close()


class NetworkCamera:
    """Serves the pictures that `scene(i)` draws, `fps` of them per second."""

    handler: ClassVar[type[StreamRequestHandler]]
    url_form: ClassVar[str]

    def __init__(self, scene: Scene, *, fps: float = 50.0) -> None:
        self._scene = scene
        self._pause = 1 / fps
        self._server: _Server | None = None
        self._port = free_port()
        self._flowing = threading.Event()

    @property
    def url(self) -> str:
        """The same after `die` and `come_back`."""
        return self.url_form.format(self._port)

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
        address = ("127.0.0.1", self._port)
        self._server = _Server(address, self.handler, self._scene, self._pause, self._flowing)
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


class _Mjpeg(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        self.server.connections.append(self.connection)
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        for jpeg in self.server.pictures():
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            try:
                self.wfile.write(head.encode() + jpeg + b"\r\n")
            except OSError:  # the reader went away
                return

    def log_message(self, *args: object) -> None:
        """Silence: this is a camera."""


class HttpCamera(NetworkCamera):
    """An MJPEG stream as most cheap network cameras have it."""

    handler = _Mjpeg
    url_form = "http://127.0.0.1:{}/stream.mjpg"


class _Rtsp(StreamRequestHandler):
    """RTSP (RFC 2326) with JPEG in RTP (RFC 2435), interleaved in the one TCP connection; no UDP."""

    server: _Server

    def handle(self) -> None:
        self.server.connections.append(self.connection)
        try:
            while method := self._answer():
                if method == "PLAY":
                    self._play()
                    return
        except OSError:  # the reader went away
            return

    def _answer(self) -> str:
        """Read one request and answer it; its method, or nothing when the connection ended."""
        method = self.rfile.readline().decode().partition(" ")[0]
        headers = {}
        while line := self.rfile.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        status, extra, body = "200 OK", "", ""
        if method == "DESCRIBE":
            body = (
                "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nc=IN IP4 0.0.0.0\r\n"
                "m=video 0 RTP/AVP 26\r\na=control:track1\r\n"
            )
            extra = "Content-Type: application/sdp\r\n"
        elif method == "SETUP" and "TCP" not in headers.get("transport", ""):
            status = "461 Unsupported Transport"
        elif method == "SETUP":
            extra = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"
        elif method == "OPTIONS":
            extra = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        self.wfile.write(
            f"RTSP/1.0 {status}\r\nCSeq: {headers.get('cseq', 0)}\r\nSession: 1\r\n{extra}"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        return method

    def _play(self) -> None:
        packet_number = 0
        for i, jpeg in enumerate(self.server.pictures()):
            for packet in _rtp_packets(jpeg, time=i * 1800, first_number=packet_number):
                self.wfile.write(b"$\0" + struct.pack(">H", len(packet)) + packet)
                packet_number += 1


def _rtp_packets(jpeg: bytes, *, time: int, first_number: int) -> Iterator[bytes]:
    tables, scan, width, height = _parts(jpeg)
    pieces = [scan[at : at + 1200] for at in range(0, len(scan), 1200)]
    offset = 0
    for i, piece in enumerate(pieces):
        marker = 0x80 if i == len(pieces) - 1 else 0
        rtp = struct.pack(">BBHII", 0x80, marker | 26, (first_number + i) & 0xFFFF, time, 1)
        # Type 1 is 4:2:0; quality 255 means that the tables follow.
        head = struct.pack(">IBBBB", offset, 1, 255, width // 8, height // 8)
        quantization = struct.pack(">BBH", 0, 0, len(tables)) + tables if offset == 0 else b""
        yield rtp + head + quantization + piece
        offset += len(piece)


def _parts(jpeg: bytes) -> tuple[bytes, bytes, int, int]:
    """Quantization tables, entropy-coded data, width, height of a baseline JPEG."""
    tables, width, height, at = b"", 0, 0, 2
    while True:
        marker, length = struct.unpack(">HH", jpeg[at : at + 4])
        segment = jpeg[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == 0xFFDB:
            tables += b"".join(segment[i + 1 : i + 65] for i in range(0, len(segment), 65))
        elif marker == 0xFFC0:
            height, width = struct.unpack(">HH", segment[1:5])
        elif marker == 0xFFDA:
            return tables, jpeg[at:-2], width, height


class RtspCamera(NetworkCamera):
    """As surveillance cameras have it."""

    handler = _Rtsp
    url_form = "rtsp://me:secret@127.0.0.1:{}/live"

"""The door for programs in Python; docs/python.md shows it.

Nothing heavy is imported before a Reader is made, so that `from oahega_edge import Reader` is quick.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from oahega_edge.errors import EdgeError

if TYPE_CHECKING:
    from oahega_edge.cameras.port import Camera
    from oahega_edge.chain.frame import Pixels
    from oahega_edge.contract.events import Event
    from oahega_edge.reading.stills import Face, StillReader
    from oahega_edge.service.setup import Setup


class Reader:
    """Reads faces of pictures and follows faces of videos and cameras.

    Use it in a `with` block, and from one thread at a time.
    """

    def __init__(self, bundle: str | Path = "", *, settings: Mapping[str, Any] | None = None) -> None:
        """`bundle`: the path of a model bundle; empty for the embedded one. `settings`: keys of
        default.toml and their values, e.g. `{"trigger.threshold": 0.7}`. The device's own settings file and
        environment are not read.

        Raises EdgeError, which says what to do, when the bundle or a setting cannot be used.
        """
        self._setup = _setup(bundle, settings or {})
        self._stills: StillReader | None = None
        self._is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def labels(self) -> tuple[str, ...]:
        """Expressions that a face may have, besides `uncertain`."""
        from oahega_edge.chain.disclosure import published_labels

        emotion, trigger = self._setup.bundle.manifest.emotion, self._setup.settings.trigger
        return published_labels(emotion.labels, trigger.labels)

    def close(self) -> None:
        """Close the models; may be called twice."""
        self._is_open = False
        if self._stills is not None:
            self._stills.close()
            self._stills = None

    def read(self, picture: str | Path | bytes | Pixels) -> list[Face]:
        """The faces of one picture, from left to right.

        `picture`: a file's path, an encoded picture (JPEG, PNG, ...) as bytes, or an RGB array
        (height, width, 3) uint8. Raises EdgeError for a file that cannot be read,
        ValueError for another array.
        """
        from oahega_edge.reading.pictures import decode, read_file

        self._check_open()
        match picture:
            case str() | Path():
                pixels = read_file(Path(picture).expanduser())
            case bytes():
                pixels = decode(picture, "of these bytes")
            case _:
                pixels = picture
        if self._stills is None:
            from oahega_edge.reading.stills import StillReader

            self._stills = StillReader(self._setup)
        return self._stills.read(pixels)

    def follow(self, source: str | Path | int) -> Generator[Event, None, None]:
        """The events of a video, an animated GIF, a folder of numbered frames, a stream or a camera (0).

        Faces are tracked and averaged as by the daemon, and events are what it publishes; faces of separate
        photographs are judged each by itself. A file ends, a
        camera does not; close the iterator to close the camera. Raises EdgeError when it cannot be read.
        """
        from oahega_edge.service.assembly import lasting_camera

        self._check_open()
        return self._events(lasting_camera(self._setup.settings, str(source)), str(source))

    def _events(self, camera: Camera, source: str) -> Generator[Event, None, None]:
        from oahega_edge.reading.following import Follower
        from oahega_edge.reading.separate import judging, why_apart
        from oahega_edge.service.engine import Engine
        from oahega_edge.stopwatch import Stopwatch

        apart = why_apart(source)
        with Engine(judging(self._setup, source, apart), Stopwatch()) as engine, camera:
            yield from Follower(self._setup.settings, engine, apart=bool(apart)).events(camera)

    def _check_open(self) -> None:
        if not self._is_open:
            raise EdgeError("this Reader is closed; make another, or stay inside its `with` block")


def _setup(bundle: str | Path, settings: Mapping[str, Any]) -> Setup:
    from oahega_edge.service.settings import layers_of
    from oahega_edge.service.setup import read_setup

    own = {"deployment.context": "development", "bundle.path": str(bundle)}
    return read_setup(layers_of({**own, **settings}, "Reader"))

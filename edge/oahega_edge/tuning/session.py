"""Tuning while the daemon runs: somebody asks people for expressions, the loop shows frames here.

For each expression the face of a person alone in view is read for some seconds, as the bundle reads it
without any tuning. Its logits and the asked name are kept, as `oahega-edge tune` keeps them; no picture.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oahega_edge.asking.alone import Muting, obstacle
from oahega_edge.asking.refusals import Refusal
from oahega_edge.bundles.load import Bundle
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.pipeline import Step
from oahega_edge.errors import EdgeError
from oahega_edge.tuning.faces import (
    LEAST_FRAMES,
    face_of,
    forget_faces,
    keep_faces,
    read_faces,
)
from oahega_edge.tuning.fitting import TooFew, fitted
from oahega_edge.tuning.overlay import Overlay, is_read, remove_overlay, write_overlay
from oahega_edge.tuning.shift import LEAST_FACES

_log = logging.getLogger(__name__)

REQUESTS = ("tune", "tune-face", "tune-stop", "tune-fit", "tune-undo", "tune-forget")
SHOW_S = 3.0
"""Seconds for which a person shows an expression."""

Read = Callable[[Pixels, Box, bool], NDArray[np.float64]]
"""Probabilities (labels,) of the face at a box of a full frame by the second crop or the first, not tuned."""


class Judge(Protocol):
    """Is told how well asked expressions are read."""

    def asked(self, label: str, *, right: bool) -> None:
        """Count one face."""
        ...


class Tuning(Protocol):
    """Is shown every frame that may be seen."""

    def use(self, bundle: Bundle, overlay: Overlay | None, read: Read) -> None:
        """From now on, faces are read with this."""
        ...

    def saw(self, frame: Frame, step: Step) -> None:
        """Must return at once."""
        ...

    def due(self) -> None:
        """Do what is due besides frames."""
        ...


class NoTuning:
    """Used where nobody is asked."""

    def use(self, bundle: Bundle, overlay: Overlay | None, read: Read) -> None:
        """Ignored."""

    def saw(self, frame: Frame, step: Step) -> None:
        """Ignored."""

    def due(self) -> None:
        """Nothing ever is."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What faces are read with."""

    bundle: Bundle
    """Not tuned."""
    overlay: Overlay | None
    """The tuning in use."""
    read: Read

    @property
    def labels(self) -> tuple[str, ...]:
        return self.bundle.manifest.emotion.labels


@dataclass(slots=True)
class _Turn:
    """One expression that a person shows now."""

    mutes: int
    reading: _Reading
    looks: list[NDArray[np.float64]] = field(default_factory=list)
    obstacle: str = "nobody"
    """What stood in the way last: a word of refusals.SENTENCES."""
    ended_by: str | None = None
    """Another such word, if something ended it before its time."""


class TuningSession:
    """One camera's. `use`, `saw` and `due` are called by the loop, `answer` by any thread."""

    def __init__(
        self,
        folder: Path | None,
        mute: Muting,
        *,
        least_px: float,
        in_groups: bool,
        now: Callable[[], str],
        judge: Judge,
        retune: Callable[[], None],
        seconds: float = SHOW_S,
    ) -> None:
        """`folder`: the state folder; `least_px`: height from which a face is read; `in_groups`: single faces
        are not looked at; `now`: the time, as text; `retune`: makes the daemon use what the folder says.
        """
        self._folder = folder
        self._mute = mute
        self._least_px = least_px
        self._in_groups = in_groups
        self._now = now
        self._judge = judge
        self._retune = retune
        self._seconds = seconds
        self._changed = threading.Condition()
        self._files = threading.Lock()
        self._reading: _Reading | None = None
        self._turn: _Turn | None = None

    @property
    def turn_is_on(self) -> bool:
        """Whether a person shows an expression now."""
        return self._turn is not None

    def use(self, bundle: Bundle, overlay: Overlay | None, read: Read) -> None:
        """From now on, faces are read with this; a turn that began with another one ends."""
        self._reading = _Reading(bundle, overlay, read)
        self._stop("stopped")

    def saw(self, frame: Frame, step: Step) -> None:
        """Read the face of the person who shows an expression, if they are alone in view."""
        turn = self._turn
        if turn is None:
            return
        found = obstacle(frame, step.faces, self._least_px)
        if found is not None:
            turn.obstacle = found
            return
        try:
            second = len(turn.looks) % 2 == 1  # as the chain reads its frames
            turn.looks.append(turn.reading.read(frame.pixels, step.faces[0].box, second))
        except (EdgeError, ValueError) as error:  # the chain itself finds out what to do about it
            _log.debug("a face was not read: %s", error)

    def due(self) -> None:
        """End a turn when the device is muted."""
        if self._turn is not None and self._is_muted_since(self._turn.mutes):
            self._stop("muted")

    def answer(self, request: str, value: Any) -> Mapping[str, Any]:
        """The answer to one of REQUESTS; a Refusal becomes an error with its word as the reason."""
        try:
            return self._answer(request, value if isinstance(value, dict) else {})
        except Refusal as refusal:
            return {"error": str(refusal), "reason": refusal.word}
        except TooFew as error:
            return {"error": str(error), "reason": "few"}
        except OSError as error:
            return {"error": f"the state folder cannot be used ({error.strerror})", "reason": "disk"}

    def _answer(self, request: str, given: dict[str, Any]) -> Mapping[str, Any]:
        folder, reading = self._open()
        match request:
            case "tune-face":
                return {"kept": True, "frames": self._show(folder, reading, given.get("label"))}
            case "tune-stop":
                self._stop("stopped")
                return {"done": True}
            case "tune-fit":
                return self._fit(folder, reading)
            case "tune-undo":
                return {"undone": self._undo(folder)}
            case "tune-forget":
                with self._files:
                    forget_faces(folder)
                _log.info("the faces that were kept for tuning are deleted")
                return {"done": True}
            case _:
                return self._figures(folder, reading)

    def _open(self) -> tuple[Path, _Reading]:
        """Refusal where nobody is asked."""
        if self._in_groups:
            raise Refusal("group")
        if self._folder is None or self._reading is None:
            raise Refusal("no_state")
        return self._folder, self._reading

    def _show(self, folder: Path, reading: _Reading, label: object) -> int:
        """Look at a person for some seconds and keep the face: the number of frames. Raises Refusal."""
        turn = _Turn(self._mute.times, reading)  # before it is known that nothing is muted
        if self._mute.muted:
            raise Refusal("muted")
        if label not in reading.labels:
            raise Refusal("no_label", ", ".join(reading.labels))
        self._take(turn)
        if self._is_muted_since(turn.mutes):
            raise Refusal("muted")
        if turn.ended_by is not None:
            raise Refusal(turn.ended_by)
        if len(turn.looks) < LEAST_FRAMES:
            raise Refusal(turn.obstacle)
        face = face_of(turn.looks, reading.bundle, str(label))
        try:
            with self._files:
                keep_faces(folder, [face])
        except OSError as error:
            raise Refusal("disk", error.strerror or "") from error
        self._judge.asked(face.label, right=is_read(face, reading.bundle, reading.overlay))
        _log.info("a face that showed %s on request was kept for tuning", face.label)
        return len(turn.looks)

    def _take(self, turn: _Turn) -> None:
        """Let the loop read faces until the time is over, or something ends the turn."""
        with self._changed:
            self._end("replaced")
            self._turn = turn
            self._changed.wait_for(lambda: self._turn is not turn, self._seconds)
            if self._turn is turn:
                self._turn = None

    def _stop(self, word: str) -> None:
        with self._changed:
            self._end(word)

    def _end(self, word: str) -> None:
        """End the turn of this moment, if there is one; called with the lock."""
        if self._turn is not None:
            self._turn.ended_by, self._turn = word, None
            self._changed.notify_all()

    def _is_muted_since(self, mutes: int) -> bool:
        return self._mute.muted or self._mute.times != mutes

    def _fit(self, folder: Path, reading: _Reading) -> Mapping[str, Any]:
        with self._files:
            found = fitted(read_faces(folder, reading.bundle), reading.bundle, self._now())
            proof = found.proof
            if proof.holds:
                write_overlay(folder, found.overlay)
        if proof.holds:
            _log.info("tuned with %d faces: %s", proof.faces, found.overlay.tuned(reading.bundle).identity)
            self._retune()
        return {
            "tuned": proof.holds,
            "faces": proof.faces,
            "before": round(proof.before, 4),
            "after": round(proof.after, 4),
            "interval": [round(end, 4) for end in proof.interval],
        }

    def _undo(self, folder: Path) -> bool:
        with self._files:
            undone = remove_overlay(folder)
        if undone:
            _log.info("the tuning was undone")
            self._retune()
        return undone

    def _figures(self, folder: Path, reading: _Reading) -> Mapping[str, Any]:
        counts = Counter(face.label for face in read_faces(folder, reading.bundle))
        overlay = reading.overlay
        return {
            "labels": {label: counts[label] for label in reading.labels},
            "faces": counts.total(),
            "least": LEAST_FACES,
            "seconds": self._seconds,
            "tuned": None if overlay is None else {"faces": overlay.faces, "created": overlay.created},
        }

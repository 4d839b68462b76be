"""`tune`: labelled faces of this place, from people who are asked or from pictures, and what they bring."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oahega_edge.bundles.load import Bundle
from oahega_edge.cameras.port import Camera
from oahega_edge.control.folders import claimed, own_folder
from oahega_edge.drift.asked import AskedRecord
from oahega_edge.errors import CameraError, EdgeError, EndOfSource
from oahega_edge.reading.pictures import pictures_of, read_file
from oahega_edge.reading.stills import Face, StillReader
from oahega_edge.service.assembly import make_camera, state_of
from oahega_edge.service.health import monotonic, utc_now
from oahega_edge.service.mute import MuteSwitch
from oahega_edge.service.settings import Layers
from oahega_edge.service.setup import Setup, read_setup
from oahega_edge.tuning.faces import (
    LEAST_FRAMES,
    LabelledFace,
    face_of,
    forget_faces,
    keep_faces,
    read_faces,
)
from oahega_edge.tuning.fitting import fitted
from oahega_edge.tuning.overlay import is_read, remove_overlay, write_overlay
from oahega_edge.tuning.shift import Proof

READ_TIMEOUT_S = 5.0

Say = Callable[[str], None]
Ask = Callable[[str], str]

CONSENT = (
    "For each expression that you show, this device keeps its name and one number per expression, no\n"
    "picture, to fit its answers to this place. `oahega-edge tune --forget` deletes them.\n"
    "Do you agree? [y/N] "
)


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks people in front of the camera for expressions."""

    reader: StillReader
    bundle: Bundle
    seconds: float
    """How long each expression is to be shown."""
    ask: Ask
    say: Say
    clock: Callable[[], float]

    def faces(self, camera: Camera, order: random.Random) -> Iterator[LabelledFace]:
        """One face per showing, until somebody types q."""
        while self.ask(CONSENT).strip().lower() in ("y", "yes"):
            labels = list(self.bundle.manifest.emotion.labels)
            order.shuffle(labels)
            for label in labels:
                answer = self.ask(f"Show: {label}. Enter when ready, s to skip, q to end: ").strip().lower()
                if answer == "q":
                    return
                if answer != "s":
                    yield from self._shown(camera, label)

    def _shown(self, camera: Camera, label: str) -> Iterator[LabelledFace]:
        until = self.clock() + self.seconds
        looks = []
        with camera:
            while self.clock() < until:
                faces = self.reader.read(camera.read(READ_TIMEOUT_S).pixels)
                readable = [face for face in faces if face.scores]
                if len(readable) == 1:
                    looks.append(_shares(readable[0], self.bundle))
        if len(looks) < LEAST_FRAMES:
            self.say(
                f"{len(looks)} frames showed one face alone: not kept; come closer, one person at a time"
            )
            return
        yield face_of(looks, self.bundle, label)


@dataclass(frozen=True, slots=True)
class TuneWish:
    """What the command line asks for."""

    pictures: Path | None
    seconds: float
    anyway: bool
    undo: bool
    forget: bool


def run_tune(
    wish: TuneWish,
    layers: Layers,
    state: Path | None,
    environment: Mapping[str, str],
    instance: str | None,
    ask: Ask,
    say: Say,
) -> dict[str, Any]:
    """The verb; what it did, for programs. Raises EdgeError for what it refuses."""
    folder = state or state_of(layers, environment)
    if folder is None or not folder.is_dir():
        raise EdgeError(f"the state folder {folder or ''} does not exist; name it with --state")
    try:
        if wish.undo or wish.forget:
            return _take_back(wish, folder, say)
        return _fitted(wish, layers, folder, environment, instance, ask, say)
    except EdgeError:
        raise
    except OSError as error:
        raise EdgeError(
            f"the state folder {folder} cannot be used ({error.strerror}); run `tune` as its owner or root"
        ) from error


def _fitted(
    wish: TuneWish,
    layers: Layers,
    folder: Path,
    environment: Mapping[str, str],
    instance: str | None,
    ask: Ask,
    say: Say,
) -> dict[str, Any]:
    setup = read_setup(layers)
    faces: Iterable[LabelledFace]
    with StillReader(setup) as reader:
        if wish.pictures is not None:
            faces = faces_of_pictures(wish.pictures, reader, setup.bundle, say)
        else:
            faces = _asked(setup, reader, wish.seconds, folder, environment, instance, ask, say)
        keep_faces(folder, faces)
    kept = read_faces(folder, setup.bundle)
    return tune(kept, setup.bundle, folder, utc_now().isoformat(), wish.anyway, say)


def _take_back(wish: TuneWish, folder: Path, say: Say) -> dict[str, Any]:
    undone = wish.undo and remove_overlay(folder)
    if wish.undo:
        say("the bundle's own answers again; restart the device" if undone else "nothing was tuned")
    if wish.forget:
        forget_faces(folder)
        say("the kept faces are deleted")
    return {"undone": undone, "faces_deleted": wish.forget}


def _asked(
    setup: Setup,
    reader: StillReader,
    seconds: float,
    folder: Path,
    environment: Mapping[str, str],
    instance: str | None,
    ask: Ask,
    say: Say,
) -> Iterator[LabelledFace]:
    runtime = own_folder(environment, instance or setup.settings.device.name)
    if MuteSwitch(folder, runtime).muted:
        raise EdgeError("the device is muted; unmute it before you ask people to show their faces")
    with claimed([folder]):  # no daemon has the camera
        asker = Asker(reader, setup.bundle, seconds, ask, say, monotonic)
        record = AskedRecord(folder, lambda: utc_now().astimezone().date())
        overlay = replace(setup, state=folder).retuned().overlay
        for face in asker.faces(make_camera(setup.settings), random.Random()):
            record.add(face.label, right=is_read(face, setup.bundle, overlay))
            yield face


def faces_of_pictures(folder: Path, reader: StillReader, bundle: Bundle, say: Say) -> list[LabelledFace]:
    """One face of each picture in `folder/<expression>/`; what is left out is named."""
    labels = bundle.manifest.emotion.labels
    if not folder.is_dir():
        raise EdgeError(f"{folder} is no folder; give one that holds a folder of pictures per expression")
    faces = []
    for place in sorted(path for path in folder.iterdir() if path.is_dir()):
        if place.name not in labels:
            say(f"{place}: the bundle does not tell {place.name}; it tells {', '.join(labels)}")
            continue
        for picture in sorted(pictures_of(place)):
            if (face := _only_face(picture, reader, say)) is not None:
                faces.append(face_of([_shares(face, bundle)], bundle, place.name))
    return faces


def tune(
    faces: Sequence[LabelledFace], bundle: Bundle, folder: Path, created: str, anyway: bool, say: Say
) -> dict[str, Any]:
    """Fit, prove, write the overlay into the state folder; the figures, for programs.

    EdgeError for too few faces, and for a shift that does not hold on faces that were held back.
    """
    labels = bundle.manifest.emotion.labels
    counts = Counter(face.label for face in faces)
    say(f"{len(faces)} faces: " + ", ".join(f"{label} {counts[label]}" for label in labels))
    found = fitted(faces, bundle, created)
    proof, overlay = found.proof, found.overlay
    say(said_of(proof))
    if not proof.holds and not anyway:
        raise EdgeError(
            "the shift does not hold on faces that were held back, so nothing was changed; ask more "
            "people, or use --anyway"
        )
    write_overlay(folder, overlay)
    say(", ".join(f"{label} {offset:+.2f}" for label, offset in zip(labels, overlay.offsets, strict=True)))
    identity = overlay.tuned(bundle).identity
    say(f"tuned: {identity}; restart the device to use it, undo with --undo")
    return {
        "bundle": identity,
        "faces": dict(counts),
        "balanced_accuracy_before": round(proof.before, 4),
        "balanced_accuracy_after": round(proof.after, 4),
        "gain_interval": [round(end, 4) for end in proof.interval],
        "offsets": {label: round(o, 4) for label, o in zip(labels, overlay.offsets, strict=True)},
    }


def said_of(proof: Proof) -> str:
    """For people."""
    low, high = proof.interval
    return (
        f"balanced accuracy on faces held back: {proof.before:.3f} before, {proof.after:.3f} after "
        f"({100 * proof.gain:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f})"
    )


def _only_face(picture: Path, reader: StillReader, say: Say) -> Face | None:
    try:
        faces = [face for face in reader.read(read_file(picture)) if face.scores]
    except (CameraError, EndOfSource) as error:
        say(f"{picture}: {error}")
        return None
    if len(faces) != 1:
        say(f"{picture}: {len(faces)} faces, one is needed; left out")
        return None
    return faces[0]


def _shares(face: Face, bundle: Bundle) -> NDArray[np.float64]:
    return np.array([face.scores[label] for label in bundle.manifest.emotion.labels])

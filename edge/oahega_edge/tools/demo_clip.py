"""The demo's clip, drawn on the fly: two portraits in one scene, panned, zoomed and dimmed.

Both portraits are in the public domain and come inside packages of the extra `demo`: Eileen Collins
(NASA; scikit-image's `astronaut`) and Grace Hopper (US Navy; a sample picture of matplotlib).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.frame import Pixels
from oahega_edge.errors import EdgeError

WIDTH, HEIGHT = 640, 480
FPS = 15.0
SECONDS = 12.0
FEATHER = 12
"""Pixels over which a portrait's edge fades into the wall."""

Keys = Sequence[tuple[float, float]]
"""Moments in seconds with their values; in between values ease from one to the next."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """A picture and the face in it, both in pixels of the picture."""

    pixels: Pixels
    face_x: float
    """Middle of the face."""
    face_y: float
    face_height: float
    """Chin to hairline, as a face detector boxes it."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a face is in the scene over time."""

    x: Keys
    """Pixels of the scene, the face's middle."""
    y: Keys
    face_height: Keys
    """Pixels of the scene."""


ASTRONAUT_WALK = Walk(
    x=[(0, 165), (4, 190), (8, 150), (12, 170)],
    y=[(0, 190), (6, 215), (12, 185)],
    face_height=[(0, 110), (5, 165), (9, 100), (12, 130)],
)
HOPPER_WALK = Walk(  # leaves to the right and comes back
    x=[(0, 480), (3.5, 455), (5.5, 900), (7.3, 900), (9.3, 470), (12, 490)],
    y=[(0, 250), (3, 235), (9, 255), (12, 235)],
    face_height=[(0, 95), (3.5, 125), (9, 110), (12, 145)],
)
LIGHT: Keys = [(0, 1.0), (3, 1.0), (6, 0.55), (8, 0.55), (10, 1.0)]
PAN: Keys = [(0, -12), (4, 12), (8, -12), (12, 12)]
ZOOM: Keys = [(0, 1.0), (6, 1.06), (12, 1.0)]


def write_demo_clip(path: Path, *, seconds: float = SECONDS, fps: float = FPS) -> Path:
    """Write the clip as MPEG-4 (or as MJPG where `path` ends in .avi) and return `path`.

    Raises EdgeError when the packages with the portraits are absent or the file cannot be written.
    """
    astronaut, hopper = load_portraits()
    draft = path.with_name(f".unfinished-{path.name}")
    codec = "MJPG" if path.suffix.lower() == ".avi" else "mp4v"
    writer = cv2.VideoWriter(str(draft), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), fps, (WIDTH, HEIGHT))
    if not writer.isOpened():
        raise EdgeError(
            f"the demo's clip cannot be written to {path}; name a .mp4 or .avi in a folder that you may write"
        )
    try:
        for frame in draw_scene(astronaut, hopper, seconds=seconds, fps=fps):
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        writer.release()
        draft.replace(path)
    finally:
        writer.release()
        draft.unlink(missing_ok=True)
    return path


def load_portraits() -> tuple[Portrait, Portrait]:
    """The two portraits from their packages. Raises EdgeError when these are not installed."""
    try:
        import matplotlib
        from skimage.data import astronaut

        pilot: Pixels = np.asarray(astronaut(), np.uint8)  # type: ignore[no-untyped-call]
        hopper_file = Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg"
        hopper = cv2.imread(str(hopper_file))
    except ImportError as error:
        raise EdgeError(
            f"the demo's clip needs two portraits that come with scikit-image and matplotlib ({error}); "
            "pip install 'oahega-edge[demo]'"
        ) from error
    if hopper is None:
        raise EdgeError(
            f"the portrait {hopper_file} is missing from matplotlib; "
            "pip install --force-reinstall 'oahega-edge[demo]'"
        )
    return (
        Portrait(pilot[:400, 70:390], 154.0, 121.0, 111.0),
        Portrait(np.asarray(cv2.cvtColor(hopper, cv2.COLOR_BGR2RGB), np.uint8), 262.0, 230.0, 212.0),
    )


def draw_scene(astronaut: Portrait, hopper: Portrait, *, seconds: float, fps: float) -> Iterator[Pixels]:
    """Every frame of the clip; the same bytes each time."""
    random = np.random.default_rng(2026)
    wall = _wall(random)
    grain = random.normal(0, 2, (HEIGHT + 64, WIDTH + 64, 1)).round().astype(np.int16).repeat(3, axis=2)
    for number in range(round(seconds * fps)):
        time = number / fps
        scene = wall.copy()
        for portrait, walk in ((astronaut, ASTRONAUT_WALK), (hopper, HOPPER_WALK)):
            _hang(scene, portrait, walk, time)
        top, left = random.integers(0, 64, 2)
        yield _as_camera_sees(scene, time, grain[top : top + HEIGHT, left : left + WIDTH])


def at(keys: Keys, time: float) -> float:
    """The value of `keys` at `time`, eased: slow at both ends of each stretch."""
    if time <= keys[0][0]:
        return keys[0][1]
    for (begin, before), (end, after) in itertools.pairwise(keys):
        if time < end:
            share = (time - begin) / (end - begin)
            return before + (after - before) * (1 - math.cos(math.pi * share)) / 2
    return keys[-1][1]


def _wall(random: np.random.Generator) -> Pixels:
    """A plastered wall in soft light: no flat colour anywhere, nothing that looks like a face."""
    light = np.linspace(150, 105, WIDTH)[None, :, None] + np.linspace(12, -12, HEIGHT)[:, None, None]
    plaster = cv2.GaussianBlur(random.normal(0, 30, (HEIGHT, WIDTH)).astype(np.float32), (0, 0), 3)
    tint = np.array([1.0, 0.98, 0.93])
    wall: Pixels = np.clip((light + plaster[:, :, None]) * tint, 0, 255).astype(np.uint8)
    return wall


def _hang(scene: Pixels, portrait: Portrait, walk: Walk, time: float) -> None:
    """Put the portrait so that its face is where `walk` has it, edges faded into the wall."""
    scale = at(walk.face_height, time) / portrait.face_height
    left = at(walk.x, time) - portrait.face_x * scale
    top = at(walk.y, time) - portrait.face_y * scale
    place = np.array([[scale, 0, left], [0, scale, top]], np.float64)
    pixels = portrait.pixels
    if scale < 0.8:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), 0.4 / scale), np.uint8)  # else it would alias
    picture = cv2.warpAffine(pixels, place, (WIDTH, HEIGHT))
    mask = cv2.warpAffine(_faded(pixels.shape, FEATHER / scale), place, (WIDTH, HEIGHT))
    scene[:] = cv2.blendLinear(scene, picture, 1 - mask, mask)


def _faded(shape: tuple[int, ...], border: float) -> NDArray[np.float32]:
    """1 inside, falling to 0 at the edge within `border` pixels."""
    rows, columns = (
        np.clip(np.minimum(np.arange(n), n - 1 - np.arange(n)) / border, 0, 1) for n in shape[:2]
    )
    return np.asarray(rows[:, None] * columns[None, :], np.float32)


def _as_camera_sees(scene: Pixels, time: float, noise: NDArray[np.int16]) -> Pixels:
    """Panned, zoomed, dimmed, with a sensor's noise."""
    zoom = at(ZOOM, time)
    shift_x = WIDTH / 2 * (1 - zoom) + at(PAN, time)
    shift_y = HEIGHT / 2 * (1 - zoom)
    view = np.array([[zoom, 0, shift_x], [0, zoom, shift_y]], np.float64)
    seen = cv2.warpAffine(scene, view, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    dimmed = cv2.convertScaleAbs(seen, alpha=at(LIGHT, time))
    return np.asarray(cv2.add(dimmed, noise, dtype=cv2.CV_8U), np.uint8)

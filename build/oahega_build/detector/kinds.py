"""Which faces an exported detector finds: by height on its input, behind masks, by lightness of the skin.

At its suggested scores, as a device uses them. Intervals come from a bootstrap over pictures, as the faces of
one picture are found and missed together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import DataError
from oahega_build.labelling.teachers import Finding, Teacher
from oahega_build.pictures.dataset import read_picture
from oahega_build.pictures.problems import Problems
from oahega_build.pictures.readers import read_text_folder
from oahega_build.runs.output import say
from oahega_edge.chain.detection import FACE, Detection
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import fit_picture
from oahega_edge.manifest import DetectorEntry

MASKED = "masked_face"
KINDS = (FACE, MASKED)
"""Names of the kinds of faces in hand-made annotations."""
SAME = 0.5
"""IoU from which a detection is the face."""
HEIGHTS = ((0, 8), (8, 12), (12, 20), (20, 40), (40, 10_000))
"""Classes of heights on the network's input, pixels."""
LEAST_HEIGHT = 12
"""Of a face that a detector of this input can be asked for."""
LIGHTNESS = {
    "dark": (-91, 10),
    "tan": (10, 28),
    "intermediate": (28, 41),
    "light": (41, 55),
    "very light": (55, 91),
}
"""Classes of the individual typology angle, degrees (Chardon et al. 1991; brown and dark are one class)."""
SURE = 0.7
"""Score from which the reference's faces count."""
LEAST_SKIN = 40
"""Height of a face on the input whose cheeks are measured."""
ROUNDS = 1000


@dataclass(frozen=True, slots=True)
class Face:
    """A face that is there."""

    picture: int
    kind: str
    height: float
    """On the network's input, pixels."""
    found: bool


@dataclass(frozen=True, slots=True, eq=False)
class Boxed:
    """A picture whose faces people boxed."""

    pixels: Pixels
    faces: Sequence[tuple[str, Box]]
    """Kind and box."""


def read_boxed(folder: Path) -> list[Boxed]:
    """Pictures with a text file of `face` and `masked_face` boxes each. Raises DataError without any."""
    problems = Problems()
    found = list(read_text_folder(folder, folder.name, frozenset(), problems, {kind: kind for kind in KINDS}))
    for sentence in problems.sentences():
        say(sentence)
    boxed = [
        Boxed(pixels, [(box.label, box.box) for box in picture.boxes])
        for picture in found
        if (pixels := read_picture(picture.path, "rgb")) is not None
    ]
    if not any(picture.faces for picture in boxed):
        raise DataError(
            f"{folder} has no boxed faces; give a folder of pictures with `face cx cy w h` beside each"
        )
    return boxed


def measure(
    boxed: Sequence[Boxed],
    plain: Iterable[Pixels],
    find: Callable[[Pixels], Sequence[Detection]],
    reference: Teacher,
    entry: DetectorEntry,
) -> dict[str, Any]:
    """All figures: kinds and heights on the boxed pictures, lightness on them and on plain ones.

    `plain`: pictures of unmasked people without boxes, of which `reference` says where the faces are.
    """
    faces, right, everything = faces_of(boxed, find, entry)
    unmasked = [[box for kind, box in picture.faces if kind == FACE] for picture in boxed]
    skins = skins_of((picture.pixels for picture in boxed), find, reference, entry, unmasked)
    skins += skins_of(plain, find, reference, entry)
    return {
        "pictures": len(boxed),
        "precision": round(right / everything, 4) if everything else None,
        "kinds": by_kind(faces),
        "lightness": by_lightness(skins),
    }


def faces_of(
    pictures: Iterable[Boxed], find: Callable[[Pixels], Sequence[Detection]], entry: DetectorEntry
) -> tuple[list[Face], int, int]:
    """All faces with whether they are found, how many detections are right, and how many there are.

    `find` answers with what the device would at the suggested scores.
    """
    faces: list[Face] = []
    right = everything = 0
    for number, picture in enumerate(pictures):
        detections = [d for d in find(picture.pixels) if d.label == FACE]
        found = matched([box for _, box in picture.faces], detections)
        scale = fit_picture(picture.pixels, entry.input, entry.resize)[1].height * entry.input.height
        faces += [
            Face(number, kind, box.height * scale, hit)
            for (kind, box), hit in zip(picture.faces, found, strict=True)
        ]
        right += sum(found)
        everything += len(detections)
    return faces, right, everything


def matched(faces: Sequence[Box], detections: Sequence[Detection]) -> list[bool]:
    """Whether each face is found; the surest detection chooses first."""
    found = [False] * len(faces)
    for detection in sorted(detections, key=lambda d: -d.score):
        overlaps = [0.0 if hit else face.iou(detection.box) for face, hit in zip(faces, found, strict=True)]
        best = int(np.argmax(overlaps)) if overlaps else -1
        if best >= 0 and overlaps[best] >= SAME:
            found[best] = True
    return found


def by_kind(faces: Sequence[Face]) -> dict[str, Any]:
    """Recall of each kind, of all that are high enough and by height."""
    figures: dict[str, Any] = {}
    for kind in KINDS:
        mine = [face for face in faces if face.kind == kind]
        if mine:
            figures[kind] = {
                f"at least {LEAST_HEIGHT} px": share_found([f for f in mine if f.height >= LEAST_HEIGHT]),
                **{
                    f"{low}-{high} px" if high < 1000 else f"over {low} px": share_found(
                        [f for f in mine if low <= f.height < high]
                    )
                    for low, high in HEIGHTS
                },
            }
    return figures


def share_found(faces: Sequence[Face]) -> dict[str, Any]:
    """How many there are, the share that is found, and its interval (95 %)."""
    if not faces:
        return {"faces": 0, "recall": None, "interval": None}
    pictures = np.array([face.picture for face in faces])
    _, groups = np.unique(pictures, return_inverse=True)
    hits = np.bincount(groups, [face.found for face in faces])
    counts = np.bincount(groups)
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(counts), size=(ROUNDS, len(counts)))
    shares = hits[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.percentile(shares, [2.5, 97.5]).round(4).tolist()
    return {
        "faces": len(faces),
        "recall": round(float(hits.sum() / counts.sum()), 4),
        "interval": [low, high],
    }


@dataclass(frozen=True, slots=True)
class Skin:
    """A face that the reference sees, with the light on it."""

    face: Face
    angle: float
    """Individual typology angle of its cheeks, degrees."""
    light: float
    """Mean lightness (CIE L*) of the whole picture."""


def skins_of(
    pictures: Iterable[Pixels],
    find: Callable[[Pixels], Sequence[Detection]],
    reference: Teacher,
    entry: DetectorEntry,
    unmasked: Sequence[Sequence[Box]] | None = None,
) -> list[Skin]:
    """The large faces of which the reference is sure: whether we find them, too, and how light they are.

    `unmasked`: of each picture, the faces that count; None: all.
    """
    skins = []
    for number, pixels in enumerate(pictures):
        scale = fit_picture(pixels, entry.input, entry.resize)[1].height * entry.input.height
        seen = [f for f in reference.find(pixels) if f.score >= SURE and f.box.height * scale >= LEAST_SKIN]
        if unmasked is not None:
            seen = [f for f in seen if any(f.box.iou(box) >= SAME for box in unmasked[number])]
        found = matched([f.box for f in seen], [d for d in find(pixels) if d.label == FACE])
        light = float(_lab(pixels)[..., 0].mean())
        for finding, hit in zip(seen, found, strict=True):
            angle = typology_angle(pixels, finding)
            if angle is not None:
                face = Face(number, FACE, finding.box.height * scale, hit)
                skins.append(Skin(face, angle, light))
    return skins


def typology_angle(pixels: Pixels, finding: Finding) -> float | None:
    """arctan((L* - 50) / b*) of the cheeks in degrees, which lie below the eyes beside the nose."""
    if not finding.landmarks:
        return None
    height, width = pixels.shape[:2]
    points = np.array(finding.landmarks) * (width, height)
    radius = max(1.0, 0.06 * finding.box.height * height)
    patches = []
    for eye, corner in ((points[0], points[3]), (points[1], points[4])):
        x, y = (eye + corner) / 2 + (points[2] - (eye + corner) / 2) * -0.1
        rows = slice(max(0, int(y - radius)), int(y + radius) + 1)
        patches.append(pixels[rows, max(0, int(x - radius)) : int(x + radius) + 1].reshape(1, -1, 3))
    cheeks = np.concatenate(patches, axis=1)
    if not cheeks.size:
        return None
    lightness, _, yellow = np.median(_lab(cheeks).reshape(-1, 3), axis=0)
    return float(np.degrees(np.arctan2(lightness - 50, max(float(yellow), 1e-3))))


def by_lightness(skins: Sequence[Skin]) -> dict[str, Any]:
    """Recall in each class, from the worst to the best, and how much of the angle is the picture's light."""
    classes = {
        name: [skin for skin in skins if low <= skin.angle < high] for name, (low, high) in LIGHTNESS.items()
    }
    figures: dict[str, Any] = {name: share_found([s.face for s in of]) for name, of in classes.items()}
    recalls = [figure["recall"] for figure in figures.values() if figure["recall"] is not None]
    angle, light = (np.array([getattr(skin, name) for skin in skins]) for name in ("angle", "light"))
    return {
        "classes": figures,
        "worst_to_best": round(max(recalls) - min(recalls), 4) if recalls else None,
        "share_of_lighting": round(float(np.corrcoef(angle, light)[0, 1] ** 2), 4)
        if len(skins) > 2
        else None,
    }


def on_card(figures: Mapping[str, Any]) -> dict[str, float | int | str]:
    """The figures of `measure` for a model card; a group's line reads `20-40 px .81 [.75, .86] of 120`."""
    lines = {**figures["kinds"], "skin": figures["lightness"]["classes"]}
    told: dict[str, float | int | str] = {
        f"boxed_{group}_recall": ", ".join(
            f"{name} {_told(of)}" for name, of in members.items() if of["faces"]
        )
        for group, members in lines.items()
    }
    for name in ("worst_to_best", "share_of_lighting"):
        if figures["lightness"][name] is not None:
            told[f"boxed_skin_{name}"] = figures["lightness"][name]
    return {"boxed_pictures": figures["pictures"], "boxed_precision": figures["precision"] or 0.0, **told}


def _told(share: Mapping[str, Any]) -> str:
    low, high = share["interval"]
    return f"{share['recall']:.3f} [{low:.3f}, {high:.3f}] of {share['faces']}"


def _lab(pixels: Pixels) -> NDArray[np.float32]:
    """CIE L*a*b* of sRGB."""
    return np.asarray(cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB), np.float32)

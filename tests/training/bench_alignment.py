"""Prints what turning faces upright by their eyes would gain: the case for landmarks in the detector.

Run it as: python tests/training/bench_alignment.py [folder of a bundle]
YuNet finds the eyes on held-out faces, as they are and turned at random by up to 20 degrees; the classifier
reads them as they come, turned upright, and (the most that can be had) turned back by the true angle.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import cv2
import numpy as np

from oahega_build.emotion.evaluate import EmotionModel
from oahega_build.labelling.teachers import TeacherSpec, make_teacher
from oahega_build.pictures.dataset import held_out, read_dataset
from oahega_build.pictures.framing import Framing
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
YUNET = TeacherSpec("yunet", ("teachers/yunet/yunet_s_640_640.onnx",), {}, least=0.5, side=320)
MARGIN, SIDE = 24, 192


def turned(face: np.ndarray, degrees: float) -> np.ndarray:
    """About the middle, edges repeated."""
    middle = ((face.shape[1] - 1) / 2, (face.shape[0] - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, degrees, 1.0)
    return np.asarray(cv2.warpAffine(face, matrix, face.shape[1::-1], borderMode=cv2.BORDER_REPLICATE))


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_BUNDLE
    bundle = load_bundle(folder)
    entry = bundle.manifest.emotion
    model = EmotionModel(folder.name, entry, bundle.file(entry.cpu).read_bytes())
    samples = held_out(read_dataset(SHARED / "emotion" / "ferplus"))
    labels = np.array([sample.label for sample in samples])
    yunet = make_teacher(YUNET, SHARED)

    def eyes_angle(face: np.ndarray) -> float | None:
        wide = cv2.copyMakeBorder(face, *(MARGIN,) * 4, cv2.BORDER_REPLICATE)
        found = yunet.find(cv2.cvtColor(cv2.resize(wide, (SIDE, SIDE)), cv2.COLOR_GRAY2RGB))
        if not found:
            return None
        (x1, y1), (x2, y2) = found[0].landmarks[:2]
        return math.degrees(math.atan2(y2 - y1, x2 - x1))

    def accuracy(faces: list[np.ndarray]) -> float:
        return float((model.probabilities(faces, Framing()).argmax(axis=1) == labels).mean())

    angles = np.random.default_rng(1).uniform(-20, 20, len(samples))
    print(f"{'':<34}{'eyes found':>11}{'as it comes':>13}{'by the eyes':>13}{'true angle':>12}")
    for name, by in (("as they are", np.zeros(len(samples))), ("turned by up to 20 degrees", angles)):
        faces = [turned(s.pixels, angle) for s, angle in zip(samples, by, strict=True)]
        found = [eyes_angle(face) for face in faces]
        upright = [f if a is None else turned(f, a) for f, a in zip(faces, found, strict=True)]
        best = [turned(f, -angle) for f, angle in zip(faces, by, strict=True)]
        share = np.mean([a is not None for a in found])
        row = (accuracy(faces), accuracy(upright), accuracy(best))
        print(f"{name:<34}{share:>11.3f}{row[0]:>13.4f}{row[1]:>13.4f}{row[2]:>12.4f}", flush=True)


if __name__ == "__main__":
    main()

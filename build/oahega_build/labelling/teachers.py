"""Detectors that label for ours: YuNet, a TFLite file with post-processing, a Darknet network.

A teacher takes RGB pixels and gives findings with scores; what becomes a label, what an ignore
region, is decided in `label`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import BuildError
from oahega_build.pictures.readers import LABELS
from oahega_build.runs.reading import LARGEST_MODEL
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.files import open_file, read_file
from oahega_edge.runtimes.tflite_file import TfliteFacts, parse_tflite


class TeacherError(BuildError):
    """A teacher's file is missing or of another kind."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing a teacher sees."""

    label: str
    box: Box
    score: float
    landmarks: tuple[tuple[float, float], ...] = ()
    """Unit coordinates: right eye, left eye, nose, right and left corner of the mouth; or none."""


class Teacher(Protocol):
    """A detector behind one call."""

    name: str

    def find(self, pixels: Pixels) -> list[Finding]:
        """Findings in RGB `pixels` (height, width, 3), boxes in unit coordinates."""
        ...


@dataclass(frozen=True, slots=True)
class TeacherSpec:
    """How to make a teacher in any process: plain values, so that a recipe can be written down."""

    kind: str
    """`yunet`, `tflite`, `darknet` or `bundle`, a device's own detector."""
    files: tuple[str, ...]
    """Paths below the data folder: onnx; tflite; cfg and weights; a bundle's folder."""
    labels: Mapping[int, str] = field(default_factory=dict)
    """Class number of the teacher -> our label; ignored by `yunet`, whose one class is `face`."""
    least: float = 0.3
    """Findings below this score are not reported."""
    side: int = 640
    """yunet: the longer side of the picture it sees; darknet: side of its square input; pixels."""
    most_enlarged: float = 3.0
    """yunet: smaller pictures are not enlarged more than this, which would only cost time."""


def make_teacher(spec: TeacherSpec, data: Path) -> Teacher:
    """The teacher that `spec` describes, its files below `data`."""
    if spec.kind not in TEACHERS:
        raise TeacherError(f"there is no teacher of kind {spec.kind!r}; the kinds are {sorted(TEACHERS)}")
    files = [data / name for name in spec.files]
    unknown = set(spec.labels.values()) - set(LABELS)
    if unknown:
        raise TeacherError(f"a teacher of kind {spec.kind} finds {sorted(unknown)}; the labels are {LABELS}")
    for file in files:
        if not file.exists():
            raise TeacherError(f"the teacher file {file} does not exist; check the path in the recipe")
    return TEACHERS[spec.kind](spec, files)


class YuNet:
    """OpenCV's face detector on the picture scaled to a fixed longer side."""

    name = "yunet"

    def __init__(self, spec: TeacherSpec, files: list[Path]) -> None:
        try:
            self._net = cv2.FaceDetectorYN.create(str(files[0]), "", (320, 320), spec.least, 0.3, 5000)
        except cv2.error as error:
            raise TeacherError(
                f"{files[0]} cannot be read as a YuNet network ({_one_line(error)}); "
                f"give face_detection_yunet*.onnx"
            ) from error
        self._side = spec.side
        self._most = spec.most_enlarged
        self._most = spec.most_enlarged

    def find(self, pixels: Pixels) -> list[Finding]:
        """Faces with five landmarks."""
        height, width = pixels.shape[:2]
        ratio = min(self._most, self._side / max(width, height))
        size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
        kernel = cv2.INTER_AREA if ratio < 1 else cv2.INTER_LINEAR
        seen = cv2.cvtColor(cv2.resize(pixels, size, interpolation=kernel), cv2.COLOR_RGB2BGR)
        self._net.setInputSize(size)
        rows: NDArray[Any] | None = self._net.detect(seen)[1]
        return [] if rows is None else [found for row in rows if (found := _yunet_finding(row, size))]


def _yunet_finding(row: NDArray[Any], size: tuple[int, int]) -> Finding | None:
    x, y, w, h = (float(value) for value in row[:4])
    if w <= 0 or h <= 0:
        return None
    points = row[4:14].reshape(5, 2) / np.array(size)
    box = Box(x / size[0], y / size[1], (x + w) / size[0], (y + h) / size[1]).clipped()
    landmarks = tuple((float(px), float(py)) for px, py in points)
    return None if box is None else Finding("face", box, float(row[14]), landmarks)


class TfliteSsd:
    """A TFLite detector that ends in TFLite_Detection_PostProcess; the picture is squeezed to its input."""

    def __init__(self, spec: TeacherSpec, files: list[Path]) -> None:
        from ai_edge_litert.interpreter import Interpreter

        self.name = f"tflite:{files[0].parent.name}"
        try:
            # The interpreter trusts the file: one that is cut off may end the process.
            content = read_file(files[0], LARGEST_MODEL)
            facts = parse_tflite(content)
            self._net = Interpreter(model_content=content, num_threads=1)
            self._net.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise TeacherError(
                f"{files[0]} cannot be read as a TFLite model ({error}); give a .tflite file"
            ) from error
        self._input = self._net.get_input_details()[0]
        self._outputs = _detection_outputs(files[0], content, facts, self._net.get_output_details())
        self._file = files[0]
        self._labels = dict(spec.labels)
        self._least = spec.least

    def find(self, pixels: Pixels) -> list[Finding]:
        """At most as many as the file gives (ten for the stock COCO SSD)."""
        _, height, width, _ = self._input["shape"]
        seen = cv2.resize(pixels, (int(width), int(height)), interpolation=cv2.INTER_AREA)
        self._net.set_tensor(self._input["index"], self._as_input(np.asarray(seen, np.uint8))[None])
        self._net.invoke()
        boxes, classes, scores, count = (self._net.get_tensor(index)[0] for index in self._outputs)
        if np.any(classes % 1) or np.any((scores < 0) | (scores > 1)):
            raise TeacherError(
                f"{self._file} gives classes that are not whole or scores outside of 0..1: its outputs have "
                f"another order than it says; export it with names"
            )
        found = []
        for box, number, score in zip(boxes[: int(count)], classes, scores, strict=False):
            label = self._labels.get(int(number))
            clipped = _corner_box(box[[1, 0, 3, 2]])
            if label is not None and score >= self._least and clipped is not None:
                found.append(Finding(label, clipped, float(score)))
        return found

    def _as_input(self, seen: Pixels) -> NDArray[np.generic]:
        if self._input["dtype"] == np.uint8:
            return seen
        real: NDArray[np.float32] = seen.astype(np.float32) / 127.5 - 1
        if self._input["dtype"] == np.float32:
            return real
        scale, zero = self._input["quantization"]
        return np.asarray(np.clip(np.round(real / scale) + zero, -128, 127), np.int8)


OUTPUT_WORDS = (("box", "location"), ("class", "categor"), ("score",), ("count", "num"))
"""In the names of boxes, classes, scores and count."""


def _detection_outputs(
    file: Path, content: bytes, facts: TfliteFacts, outputs: list[dict[str, Any]]
) -> list[int]:
    """Tensors of boxes, classes, scores and count: as the operator, their names or TF 1's order tell."""
    shapes = [tuple(int(side) for side in output["shape"]) for output in outputs]
    numbers = [output["index"] for output in outputs]
    if len(shapes) != 4 or sum(len(shape) == 3 and shape[2] == 4 for shape in shapes) != 1:
        raise TeacherError(
            f"{file} has outputs {shapes}, a detector with TFLite_Detection_PostProcess has boxes "
            f"(1, n, 4), classes, scores and a count; export it with post-processing"
        )
    by_operator = _outputs_of_operator(content)
    if sorted(by_operator) == sorted(numbers):
        return by_operator
    by_name = _outputs_by_name(facts)
    if sorted(by_name) == sorted(numbers):
        return by_name
    if [len(shape) for shape in shapes] == [3, 2, 2, 1] and shapes[0][2] == 4:
        return numbers
    raise TeacherError(
        f"{file} does not tell which of its outputs {shapes} are boxes, classes, scores and count; export it "
        f"with a signature whose outputs have these names"
    )


def _outputs_of_operator(content: bytes) -> list[int]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for operator in model.subgraphs[0].operators:
        if model.operatorCodes[operator.opcodeIndex].customCode == b"TFLite_Detection_PostProcess":
            return [int(number) for number in operator.outputs]
    return []


def _outputs_by_name(facts: TfliteFacts) -> list[int]:
    names = facts.output_names or {output.name: output.index for output in facts.outputs}
    return [
        number
        for words in OUTPUT_WORDS
        for name, number in names.items()
        if any(word in name.lower() for word in words)
    ]


class Darknet:
    """A YOLO network in Darknet form, through cv2.dnn of OpenCV 4."""

    def __init__(self, spec: TeacherSpec, files: list[Path]) -> None:
        self.name = f"darknet:{files[0].stem}"
        try:
            self._net = cv2.dnn.readNetFromDarknet(str(files[0]), str(files[1]))
        except (cv2.error, IndexError) as error:
            raise TeacherError(
                f"{files[0]} and {files[1].name} cannot be read as a Darknet network ({_one_line(error)}); "
                f"give NAME.cfg and NAME.weights"
            ) from error
        _require_all_weights(self._net, files[1])
        self._outputs = self._net.getUnconnectedOutLayersNames()
        self._labels = dict(spec.labels)
        self._least = spec.least
        self._side = spec.side

    def find(self, pixels: Pixels) -> list[Finding]:
        """After non-maximum suppression per label at IoU .5."""
        blob = cv2.dnn.blobFromImage(pixels, 1 / 255, (self._side, self._side))
        self._net.setInput(blob)
        rows = np.concatenate(self._net.forward(self._outputs))
        found: list[Finding] = []
        for number, label in self._labels.items():
            scores = rows[:, 5 + number]
            picked = np.flatnonzero(scores >= self._least)
            corners = np.concatenate(
                [rows[picked, :2] - rows[picked, 2:4] / 2, rows[picked, :2] + rows[picked, 2:4] / 2], axis=1
            )
            for i in self._kept(corners, scores[picked]):
                box = _corner_box(corners[i])
                if box is not None:
                    found.append(Finding(label, box, float(scores[picked][i])))
        return found

    @staticmethod
    def _kept(corners: NDArray[Any], scores: NDArray[Any]) -> NDArray[np.intp]:
        from oahega_edge.chain.detection import non_maximum_suppression

        return non_maximum_suppression(corners.astype(np.float64), scores.astype(np.float64), 0.5)


def _require_all_weights(net: Any, file: Path) -> None:
    """OpenCV takes zeros for what a file that was cut off lacks, and the network sees nothing."""
    layers = [net.getLayer(name) for name in net.getLayerNames()]
    # Region layers keep their anchors, which stand in the .cfg, as if they were weights.
    needed = 4 * sum(blob.size for layer in layers if layer.type != "Region" for blob in layer.blobs)
    with open_file(file, LARGEST_MODEL) as content:
        major, minor = struct.unpack("<ii", content.read(8).ljust(8, b"\0"))
    needed += 20 if major * 10 + minor >= 2 else 16  # darknet's parser.c, load_weights_upto
    if file.stat().st_size < needed:
        raise TeacherError(
            f"{file} is cut off: it has {file.stat().st_size} bytes, its .cfg asks for {needed}; "
            "copy it again"
        )


class BundleDetector:
    """The detector of a bundle, through the device's own code."""

    def __init__(self, spec: TeacherSpec, files: list[Path]) -> None:
        from oahega_edge.bundles.load import load_bundle
        from oahega_edge.chain.detection import PERSON
        from oahega_edge.chain.detector import Detector
        from oahega_edge.runtimes import open_model

        bundle = load_bundle(files[0])
        self.name = f"bundle:{bundle.identity}"
        entry = bundle.manifest.detector
        self._labels = set(spec.labels.values())
        self._detector = Detector(
            entry,
            open_model(bundle.file(entry.cpu), entry.outputs, entry.input),
            dict.fromkeys(entry.labels, spec.least),
            person_score=entry.suggested.score.get(PERSON, 0.0),
        )

    def find(self, pixels: Pixels) -> list[Finding]:
        """Faces and persons, or those labels that the spec names."""
        found = self._detector.find(pixels)
        clipped = ((d, d.box.clipped()) for d in found if not self._labels or d.label in self._labels)
        return [Finding(d.label, box, d.score) for d, box in clipped if box is not None]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _corner_box(corners: Any) -> Box | None:
    left, top, right, bottom = (float(value) for value in corners)
    return Box(left, top, right, bottom).clipped() if left < right and top < bottom else None


TEACHERS: dict[str, Callable[[TeacherSpec, list[Path]], Teacher]] = {
    "yunet": YuNet,
    "tflite": TfliteSsd,
    "darknet": Darknet,
    "bundle": BundleDetector,
}

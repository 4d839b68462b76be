from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from oahega_build.labelling.teachers import Finding, TeacherError, TeacherSpec, make_teacher
from oahega_build.recipes.label_shared import COCO_SSD, YOLO_FASTEST, YUNET
from oahega_edge.chain.geometry import Box


def read(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.mark.shared
def test_yunet_finds_the_face_with_its_eyes_above_its_mouth(shared: Path) -> None:
    teacher = make_teacher(YUNET, shared / "data")

    best = max(teacher.find(read(shared / "data/media/astronaut.png")), key=lambda found: found.score)

    assert best.label == "face"
    assert best.score > 0.8
    assert best.box.iou(_around(best)) > 0
    assert max(y for _, y in best.landmarks[:2]) < min(y for _, y in best.landmarks[3:])


def _around(face: Finding) -> object:
    xs, ys = zip(*face.landmarks, strict=True)
    return Box(min(xs), min(ys), max(xs), max(ys))


@pytest.mark.shared
@pytest.mark.parametrize("spec", [COCO_SSD, YOLO_FASTEST], ids=["tflite", "darknet"])
def test_person_teachers_agree_on_the_one_person(spec: TeacherSpec, shared: Path) -> None:
    teacher = make_teacher(spec, shared / "data")

    best = max(teacher.find(read(shared / "data/media/astronaut.png")), key=lambda found: found.score)

    assert best.label == "person"
    assert best.score > 0.5
    assert best.box.area > 0.4


def test_an_unknown_kind_names_the_kinds(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"'oracle'.*darknet.*tflite.*yunet"):
        make_teacher(TeacherSpec("oracle", ("a",)), tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match=r"absent\.onnx does not exist"):
        make_teacher(TeacherSpec("yunet", ("absent.onnx",)), tmp_path)


@pytest.mark.parametrize("kind", ["yunet", "tflite", "darknet"])
def test_a_file_of_the_wrong_kind_is_refused(kind: str, tmp_path: Path) -> None:
    (tmp_path / "notes.bin").write_bytes(b"these are not weights" * 20)

    with pytest.raises(TeacherError, match=r"notes\.bin.*give"):
        make_teacher(TeacherSpec(kind, ("notes.bin", "notes.bin")), tmp_path)


@pytest.mark.shared
def test_a_classifier_is_no_detector(shared: Path) -> None:
    spec = TeacherSpec("tflite", ("init/mobilenet_v1_0.25_128_quant.tflite",), {0: "person"})

    with pytest.raises(TeacherError, match="post-processing"):
        make_teacher(spec, shared / "data")


def test_a_teacher_of_an_unknown_label_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"x")

    with pytest.raises(TeacherError, match=r"finds \['people'\]; the labels are"):
        make_teacher(TeacherSpec("tflite", ("a.tflite",), {0: "people"}), tmp_path)


def cut(source: Path, target: Path, share: float) -> Path:
    content = source.read_bytes()
    target.write_bytes(content[: int(len(content) * share)])
    return target


@pytest.mark.shared
@pytest.mark.parametrize("share", [0.03, 0.5, 0.99, 0.99999])
def test_darknet_weights_that_are_cut_off_are_refused(share: float, shared: Path, tmp_path: Path) -> None:
    network, weights = (shared / "data" / name for name in YOLO_FASTEST.files)
    short = cut(weights, tmp_path / "n.weights", share)
    spec = dataclasses.replace(YOLO_FASTEST, files=(str(network), str(short)))

    with pytest.raises(
        TeacherError, match=r"n\.weights is cut off: it has \d+ bytes, its \.cfg asks for 3693964"
    ):
        make_teacher(spec, tmp_path)


@pytest.mark.shared
@pytest.mark.parametrize("spec", [YUNET, COCO_SSD], ids=["yunet", "tflite"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.999])
def test_other_networks_that_are_cut_off_are_refused(
    spec: TeacherSpec, share: float, shared: Path, tmp_path: Path
) -> None:
    cut(shared / "data" / spec.files[0], tmp_path / "n.bin", share)

    with pytest.raises(TeacherError, match=r"n\.bin cannot be read"):
        make_teacher(dataclasses.replace(spec, files=("n.bin",)), tmp_path)


@pytest.mark.shared
def test_the_outputs_of_the_operator_are_known_in_any_order(shared: Path, tmp_path: Path) -> None:
    """TF 2's exporter gives scores, boxes, count, classes (tensorflow/models, issue 10970)."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf((shared / "data" / COCO_SSD.files[0]).read_bytes(), 0)
    boxes, classes, scores, count = model.subgraphs[0].outputs
    model.subgraphs[0].outputs = [scores, boxes, count, classes]
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    (tmp_path / "tf2.tflite").write_bytes(builder.Output())
    picture = read(shared / "data/media/astronaut.png")

    found = make_teacher(dataclasses.replace(COCO_SSD, files=("tf2.tflite",)), tmp_path).find(picture)

    assert found == make_teacher(COCO_SSD, shared / "data").find(picture)


def exported(folder: Path, **outputs: list[object]) -> TeacherSpec:
    """A detector of constants, as a converter writes it: its outputs in the order of their names."""
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([1, 32, 32, 3], tf.uint8)])
    def detector(pixels: object) -> dict[str, object]:
        nothing = tf.reduce_mean(tf.cast(pixels, tf.float32)) * 0.0
        return {name: tf.constant(value, tf.float32) + nothing for name, value in outputs.items()}

    module = tf.Module()
    module.detector = detector
    tf.saved_model.save(module, str(folder / "saved"), signatures={"serving_default": detector})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
    (folder / "own.tflite").write_bytes(converter.convert())
    return TeacherSpec("tflite", ("own.tflite",), {0: "person"}, least=0.35)


BOXES, CLASSES, SCORES, COUNT = [[[0.1, 0.2, 0.9, 0.7]] * 2], [[0, 0]], [[0.9, 0.1]], [1]


@pytest.mark.training
def test_outputs_are_told_apart_by_their_names(tmp_path: Path) -> None:
    spec = exported(tmp_path, a_scores=SCORES, b_boxes=BOXES, c_count=COUNT, d_classes=CLASSES)

    (found,) = make_teacher(spec, tmp_path).find(np.zeros((100, 100, 3), np.uint8))

    assert (found.label, found.score) == ("person", pytest.approx(0.9))
    assert found.box.as_xywh() == pytest.approx((0.2, 0.1, 0.5, 0.8))


@pytest.mark.training
@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ({"a": SCORES, "b": BOXES, "c": COUNT, "d": CLASSES}, "does not tell which of its outputs"),
        ({"boxes": BOXES, "classes": SCORES, "scores": CLASSES, "count": COUNT}, "not whole"),
    ],
    ids=["order", "values"],
)
def test_outputs_that_cannot_be_told_apart_are_refused(
    outputs: dict[str, list[object]], said: str, tmp_path: Path
) -> None:
    with pytest.raises(TeacherError, match=said):
        make_teacher(exported(tmp_path, **outputs), tmp_path).find(np.zeros((100, 100, 3), np.uint8))

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from oahega_build.labelling.teachers import Finding, TeacherError, TeacherSpec, make_teacher
from oahega_build.recipes.label_shared import COCO_SSD, YOLO_FASTEST, YUNET


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
    from oahega_edge.chain.geometry import Box

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

from datetime import UTC, datetime

import numpy as np

from mini_bundle import detector_entry
from oahega_edge.chain.detection import anchor_boxes, encode_boxes
from oahega_edge.chain.detector import Detector
from oahega_edge.chain.frame import Frame
from oahega_edge.manifest import DetectorEntry
from oahega_edge.runtimes.fake import FakeModel

ENTRY = DetectorEntry.model_validate(detector_entry())
SCORES = {"face": 0.501, "person": 0.501}
BRIGHT, DARK = np.full((64, 64, 3), 255, np.uint8), np.zeros((64, 64, 3), np.uint8)


def sees_light() -> FakeModel:
    """Finds a face at one anchor of a bright picture and nothing in a dark one."""

    def answer(tensor: np.ndarray) -> dict[str, np.ndarray]:
        scores = np.full((1, 128, 1), -128, np.int8)
        scores[0, 40] = 127 if tensor.mean() > 0 else -128
        return {"boxes": np.zeros((1, 128, 4), np.int8), "scores": scores}

    return FakeModel(answer, input_=ENTRY.input)


def test_a_picture_of_any_size_is_brought_to_the_models_input() -> None:
    detector = Detector(ENTRY, sees_light(), SCORES)

    (small,), (large,) = detector.find(BRIGHT), detector.find(np.full((640, 640, 3), 255, np.uint8))

    assert small.label == "face"
    assert large == small


def test_of_a_frame_the_overview_is_looked_at_where_there_is_one() -> None:
    detector = Detector(ENTRY, sees_light(), SCORES)
    clock = (0.0, datetime.now(UTC), 0)

    assert len(detector(Frame(BRIGHT, *clock))) == 1
    assert detector(Frame(BRIGHT, *clock, overview=DARK)) == []


def test_one_run_of_the_model_can_be_decoded_at_several_scores() -> None:
    model = sees_light()
    strict, lenient = Detector(ENTRY, model, {"face": 0.999, "person": 0.999}), Detector(ENTRY, model, SCORES)

    answer = strict.run(BRIGHT)

    assert strict.decode(*answer) == []
    assert lenient.decode(*answer) == lenient.find(BRIGHT) != []


def test_a_face_on_the_shoulders_of_a_sure_person_scores_higher() -> None:
    """A person who stands in the picture, and a face at the top of the same box."""
    real = {"dtype": "float32", "quantization": None}
    entry = ENTRY.model_copy(update={"outputs": tuple(o.model_copy(update=real) for o in ENTRY.outputs)})
    boxes, scores = np.zeros((1, 128, 4)), np.full((1, 128, 1), -9.0)
    boxes[0, [40, 73]] = encode_boxes(
        np.array([[0.42, 0.25, 0.58, 0.45], [0.3, 0.2, 0.7, 1.0]]),
        anchor_boxes(entry.input, entry.decoder)[[40, 73]],
        entry.decoder,
    )
    scores[0, [40, 73]] = 0.1
    model = FakeModel({"boxes": boxes, "scores": scores})

    def face_score(person_score: float) -> float:
        found = Detector(entry, model, SCORES, person_score=person_score).find(BRIGHT)
        return next(d.score for d in found if d.label == "face")

    assert face_score(person_score=0.5) > face_score(person_score=0.6)

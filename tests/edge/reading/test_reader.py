"""The door for programs in Python: what docs/python.md promises."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

import oahega_edge
from mini_bundle import make_bundle
from noise_clip import make_clip
from oahega_edge import EdgeError, Event, Face, Reader
from oahega_edge.chain.classifier import both_crops
from oahega_edge.errors import SettingsError
from oahega_edge.reading.stills import StillReader
from oahega_edge.service.settings import read_layers
from oahega_edge.service.setup import read_setup

LIBRARIES = (
    "numpy",
    "cv2",
    "pydantic",
    "tensorflow",
    "keras",
    "ai_edge_litert",
    "paho",
    "typer",
    "uvicorn",
    "aiohttp",
)


@pytest.fixture(scope="module")
def reader() -> Iterator[Reader]:
    with Reader() as opened:
        yield opened


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


def astronaut() -> np.ndarray:
    return np.asarray(data.astronaut())


def test_a_smile_is_read_from_an_array_a_file_and_bytes(reader: Reader, tmp_path: Path) -> None:
    file = tmp_path / "team.png"
    cv2.imwrite(str(file), cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR))

    answers = [reader.read(picture) for picture in (astronaut(), file, str(file), file.read_bytes())]

    assert all(answer == answers[0] for answer in answers)
    ((face,),) = {tuple(map(repr, answer)): answer for answer in answers}.values()
    assert isinstance(face, Face)
    assert face.expression == "happy"
    assert face.confidence == face.scores["happy"] > 0.5
    assert sum(face.scores.values()) == pytest.approx(1, abs=1e-3)
    assert face.box == pytest.approx((0.35, 0.12, 0.18, 0.22), abs=0.05)


def test_a_picture_is_read_by_both_crops_of_the_bundle() -> None:
    setup = read_setup(read_layers(None, {}, ["deployment.context=development"]), {})
    with StillReader(setup) as stills:
        frame, step = stills.look(astronaut())
        (face,) = step.faces
        classifier = stills.engine.pipeline.classifier
        read = both_crops(classifier, frame.pixels, face.box)
        first = classifier(frame.pixels, face.box)

    assert face.average is not None
    assert face.average.scores == pytest.approx(read)
    assert not np.allclose(read, first, atol=1e-6)


def test_pictures_are_read_one_by_one_without_memory(reader: Reader) -> None:
    empty = np.full((300, 400, 3), 200, np.uint8)

    first, nobody, again = reader.read(astronaut()), reader.read(empty), reader.read(astronaut())

    assert nobody == []
    assert again == first


def test_faces_come_from_left_to_right(reader: Reader) -> None:
    both = np.hstack([astronaut()[:, ::-1], np.full((512, 40, 3), 90, np.uint8), astronaut()])

    lefts = [face.box[0] for face in reader.read(both)]

    assert len(lefts) == 2
    assert lefts == sorted(lefts)


def test_a_view_of_another_array_is_read_like_a_copy(reader: Reader) -> None:
    bgr = np.ascontiguousarray(astronaut()[..., ::-1])

    assert reader.read(bgr[..., ::-1]) == reader.read(astronaut())


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3)),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=["grey", "alpha", "floats", "empty"],
)
def test_another_array_is_refused_with_its_shape(reader: Reader, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"height x width x 3 uint8, got \("):
        reader.read(array)


def test_an_unsure_face_is_uncertain_and_a_small_one_is_not_read() -> None:
    with Reader(settings={"trigger.threshold": 1.0}) as strict:
        (unsure,) = strict.read(astronaut())
    with Reader(settings={"detection.min_face_px": 400}) as choosy:
        (small,) = choosy.read(astronaut())

    assert (unsure.expression, unsure.confidence > 0.5) == ("uncertain", True)
    assert (small.expression, small.confidence, small.scores) == ("uncertain", 0.0, {})


def test_a_bundle_is_named_by_its_path_or_its_name(bundle: Path) -> None:
    with Reader(bundle) as own, Reader("default") as embedded:
        assert own.labels == ("happy", "neutral", "sad")
        assert embedded.read(astronaut())[0].expression == "happy"


def test_a_wrong_bundle_or_setting_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match="is not a folder"):
        Reader(tmp_path / "nothing")
    with pytest.raises(SettingsError, match=r"did you mean trigger\.threshold"):
        Reader(settings={"trigger.treshold": 0.5})
    with pytest.raises(SettingsError, match="is refused"):
        Reader(settings={"deployment.context": "workplace"})


def test_groups_only_means_no_single_face() -> None:
    with Reader(settings={"trigger.min_group": 3}) as reader, pytest.raises(SettingsError, match="min_group"):
        reader.read(astronaut())


def test_sensitivity_takes_from_neutral(reader: Reader) -> None:
    with Reader(settings={"trigger.sensitivity": -3.0}) as calm:
        (before,), (after,) = reader.read(astronaut()), calm.read(astronaut())

    assert after.scores["neutral"] > before.scores["neutral"]


def test_sensitivity_without_neutral_is_refused() -> None:
    wanted = {"trigger.sensitivity": 0.7, "trigger.labels": ["happy", "sad"]}
    with Reader(settings=wanted) as reader, pytest.raises(SettingsError, match="without the label neutral"):
        reader.read(astronaut())


def test_a_closed_reader_says_so() -> None:
    reader = Reader()
    reader.close()
    reader.close()

    with pytest.raises(EdgeError, match="closed"):
        reader.read(astronaut())
    with pytest.raises(EdgeError, match="closed"):
        reader.follow("clip.mp4")


def test_a_video_is_followed_with_the_events_of_the_daemon(bundle: Path, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "clip.avi")

    with Reader(bundle, settings={"trigger.threshold": 0.0}) as reader:
        events = list(reader.follow(clip))

    assert events
    assert all(isinstance(event, Event) for event in events)
    assert [event.seq for event in events] == list(range(len(events)))
    assert {event.track for event in events if event.phase == "new"} == {
        event.track for event in events if event.phase == "end"
    }


def test_a_source_that_is_none_is_said_at_once(reader: Reader) -> None:
    with pytest.raises(EdgeError, match="neither a file nor a device"):
        reader.follow("nowhere.mp4")


def test_only_what_is_documented_is_public() -> None:
    page = (Path(__file__).parents[3] / "docs" / "python.md").read_text(encoding="utf-8")

    assert all(f"`{name}`" in page or f"`{name}(" in page for name in oahega_edge.__all__)
    assert dir(oahega_edge) == sorted(oahega_edge.__all__)
    with pytest.raises(AttributeError, match="no attribute 'cv2'"):
        oahega_edge.cv2  # noqa: B018


def test_the_import_loads_no_library_before_a_reader_is_made() -> None:
    script = f"import sys; from oahega_edge import Reader; print({{*sys.modules}} & {{*{LIBRARIES}}})"

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"

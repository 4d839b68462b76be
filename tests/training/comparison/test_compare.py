"""Two bundles on every kind of set, where what the new one must lose is known."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from drawn_faces import LOOKS, draw_face
from oahega_build.comparison.compare import Sets, compare
from oahega_build.comparison.moving import looked, playing
from oahega_build.comparison.paired import Row, Verdict
from oahega_build.comparison.sets import Both, Contestant, found_at_site, remembered
from oahega_build.emotion.metrics import Interval
from oahega_build.errors import BuildError
from oahega_build.pictures.framing import box_of_crop
from oahega_build.scenes.chain import Chain, device_of, device_settings
from oahega_build.scenes.evaluate_scenes import Shown
from oahega_build.scenes.sequences import EPOCH, LabelledFrame, Truth
from oahega_build.whole.compare_bundles import judge
from oahega_edge.bundles.load import DEFAULT_BUNDLE, seal
from oahega_edge.chain.detection import FACE, Detection
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.chain.geometry import Box

pytestmark = pytest.mark.training

LABELS = ("angry", "happy", "neutral", "sad", "surprise")
EACH = 3
BOX = Box(0.3, 0.3, 0.6, 0.7)
FIGURES = ("balanced accuracy", "balanced accuracy", "accuracy", "frame F1", "balanced accuracy")


@pytest.fixture(scope="module")
def sets(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Sets:
    """A few real pictures of every kind."""
    root = tmp_path_factory.mktemp("sets")
    data = shared / "data"
    for label in LABELS:
        for part in ("train", "valid"):
            copied(data / "emotion/ferplus" / part / label, root / "home" / part / label)
        copied(data / "emotion/ferplus/train" / label, root / "site" / label, skip=EACH)
    people(data / "emotion/other_cameras", root / "elsewhere")
    copied(data / "detection/animals/train", root / "scenes")
    return Sets(
        root / "home", (root / "elsewhere",), root / "scenes", root / "site", "valid", 1, 5.0, root / "log"
    )


def copied(source: Path, place: Path, skip: int = 0) -> None:
    place.mkdir(parents=True)
    for file in sorted(source.iterdir())[skip : skip + EACH]:
        shutil.copy(file, place)


def people(source: Path, place: Path) -> None:
    """So many faces of each label of the part `choose`, and one that must not be looked at."""
    with (source / "people.csv").open() as file:
        rows = list(csv.DictReader(file))
    chosen = [row for label in LABELS for row in _of(rows, label, "choose")[:EACH]]
    chosen += [row for label in LABELS for row in _of(rows, label, "report")[:1]]
    for row in chosen:
        (place / row["label"]).mkdir(parents=True, exist_ok=True)
        shutil.copy(source / row["file"], place / row["file"])
    with (place / "people.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(chosen)


def _of(rows: Sequence[dict[str, str]], label: str, part: str) -> list[dict[str, str]]:
    return [row for row in rows if (row["label"], row["part"]) == (label, part)]


@pytest.fixture(scope="module")
def happy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded bundle at an operating point at which it answers happy whatever it sees."""
    folder = tmp_path_factory.mktemp("happy") / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["emotion"]["offsets"] = [
        20.0 if label == "happy" else -20.0 for label in manifest["emotion"]["labels"]
    ]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    seal(folder)
    return folder


@pytest.mark.shared
@pytest.mark.lengthy
def test_a_bundle_that_only_answers_happy_is_worse_on_every_set(sets: Sets, happy: Path) -> None:
    verdict = compare(DEFAULT_BUNDLE, happy, sets)

    names = ("site site", "home home/valid", "scenes", "sequences", "elsewhere/choose")
    assert tuple((row.name, row.figure) for row in verdict.rows) == tuple(zip(names, FIGURES, strict=True))
    assert [row.items for row in verdict.rows] == [15, 15, 15, 1, 15]
    by_name = {row.name: row for row in verdict.rows}
    for name in ("site site", "home home/valid", "elsewhere/choose"):
        assert by_name[name].new == pytest.approx(0.2), name  # right on one of five labels
        assert by_name[name].old > 0.4, name
    assert by_name["scenes"].new <= 0.2
    assert all(row.difference.value < 0 for row in verdict.rows)
    assert not verdict.absent
    assert all(name in verdict.sentence() for name in names)


@pytest.mark.shared
@pytest.mark.lengthy
def test_a_bundle_beside_itself_differs_nowhere(sets: Sets) -> None:
    verdict = compare(DEFAULT_BUNDLE, DEFAULT_BUNDLE, sets)

    assert len(verdict.rows) == len(FIGURES)
    assert {row.difference for row in verdict.rows} == {Interval(0, 0, 0)}
    assert not verdict.holds


class Reads:
    """Answers the label that the frame's first pixel names, in an order of its own."""

    def __init__(self, labels: tuple[str, ...]) -> None:
        self.labels = labels

    def __call__(self, pixels: Pixels, box: Box, second: bool = False) -> NDArray[np.float64]:
        shown = LABELS[pixels[0, 0, 0]]
        return np.array([0.9 if label == shown else 0.1 / len(self.labels) for label in self.labels])


def scene(label: int) -> Shown:
    pixels = np.full((100, 100, 3), label, np.uint8)
    frames = [LabelledFrame(Frame(pixels, i / 15, EPOCH, i), (Truth(0, BOX, label, True),)) for i in range(6)]
    return Shown("scene", frames, [40.0])


@pytest.mark.parametrize("order", [LABELS, LABELS[::-1], ("ahegao", *LABELS), LABELS[:2]])
def test_answers_in_scenes_are_compared_as_words(order: tuple[str, ...]) -> None:
    chains = [
        Chain(lambda frame: [Detection(FACE, BOX, 0.9)], Reads(labels), 0.5, {}) for labels in (LABELS, order)
    ]
    playing = [(chain, device_of(device_settings(DEFAULT_BUNDLE, ()), chain)) for chain in chains]

    told = [looked(playing, scene(label), LABELS)[0] for label in range(2)]

    assert told == [("angry", "angry", "angry"), ("happy", "happy", "happy")]


def test_a_face_that_is_not_found_has_no_answer() -> None:
    chain = Chain(lambda frame: [], Reads(LABELS), 0.5, {})
    playing = [(chain, device_of(device_settings(DEFAULT_BUNDLE, ()), chain))] * 2

    assert looked(playing, scene(3), LABELS) == [("sad", "", "")]


class Looks:
    """Finds the face, and counts how often it was asked."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, frame: object) -> list[Detection]:
        self.count += 1
        return [Detection(FACE, BOX, 0.9)]


def test_a_detector_that_both_have_looks_once_at_each_frame() -> None:
    shared, old, new = Looks(), Looks(), Looks()

    def told(*detectors: Looks) -> list[tuple[str, str, str]]:
        chains = [Chain(detector, Reads(LABELS), 0.5, {}) for detector in detectors]
        device = device_of(device_settings(DEFAULT_BUNDLE, ()), chains[0])
        return looked([(chain, device) for chain in chains], scene(1), LABELS)

    assert told(shared, shared) == told(old, new) == [("happy", "happy", "happy")]
    assert (shared.count, old.count, new.count) == (6, 6, 6)


def test_in_scenes_and_sequences_equal_detectors_are_one(happy: Path, tmp_path: Path) -> None:
    other = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["detector"]["suggested"]["score"]["face"] = 0.5
    (other / "manifest.json").write_text(json.dumps(manifest))
    seal(other)
    old = Contestant.at(DEFAULT_BUNDLE)

    for folder, shared in ((happy, True), (other, False)):
        with playing(Both(old, Contestant.at(folder))) as ((first, _), (second, _)):
            assert (first.detector is second.detector) == shared


def test_a_picture_that_is_read_twice_is_looked_at_once() -> None:
    find = Looks()
    finder = remembered(find)
    first, second = np.zeros((4, 6, 3), np.uint8), np.ones((4, 6, 3), np.uint8)

    found = [finder(pixels) for pixels in (first, second, first.copy(), first.reshape(6, 4, 3))]

    assert [len(each) for each in found] == [1, 1, 1, 1]
    assert find.count == 3


@pytest.fixture
def visitors(tmp_path: Path) -> Path:
    """Pictures of a site, each with a drawn face in its middle."""
    rng = np.random.default_rng(0)
    for label in LABELS[:2]:
        (tmp_path / "site" / label).mkdir(parents=True)
        for number in range(4):
            picture = rng.integers(0, 255, (240, 320, 3), np.uint8)
            picture[72:168, 112:208] = draw_face(LOOKS[label], 96, rng)
            cv2.imwrite(str(tmp_path / f"site/{label}/{number}.png"), picture)
    return tmp_path / "site"


def finds(*boxes: Box) -> Callable[[Pixels], Sequence[Detection]]:
    return lambda pixels: [Detection(FACE, box, 0.9) for box in boxes]


FACE_THERE = Box(0.35, 0.3, 0.65, 0.7)


def test_at_a_site_each_bundle_reads_what_its_own_detector_finds(visitors: Path) -> None:
    one = Contestant.at(DEFAULT_BUNDLE)

    def row(old: tuple[Box, ...], new: tuple[Box, ...]) -> Row:
        return found_at_site(Both(one, one), visitors, (finds(*old), finds(*new)))

    alike, missed, other = row((FACE_THERE,), (FACE_THERE,)), row((FACE_THERE,), ()), row((), (FACE_THERE,))
    several = row((FACE_THERE,), (FACE_THERE, Box(0, 0, 0.2, 0.2)))

    assert alike.old == alike.new == missed.old == other.new > 0
    assert (missed.new, other.old) == (0, 0)
    assert several.new == alike.new
    assert {each.items for each in (alike, missed, other, several)} == {8}


def test_a_face_of_a_site_that_is_cut_out_already_needs_no_detector(visitors: Path) -> None:
    one = Contestant.at(DEFAULT_BUNDLE)
    for file in visitors.glob("*/*.png"):
        cv2.imwrite(str(file), cv2.imread(str(file))[72:168, 112:208])

    row = found_at_site(Both(one, one), visitors, (finds(), finds()))

    assert row.old == row.new > 0


def test_what_was_cut_out_on_a_device_is_seen_as_far_as_it_goes() -> None:
    """A second crop that is wider would show its edges repeated."""
    one = Contestant.at(DEFAULT_BUNDLE)
    entry = one.model.entry
    assert entry.second_crop is not None
    picture = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    box = box_of_crop(entry.crop, 96, 96)

    whole, again = one.cropped(picture, box, is_cut=True)
    first, second = one.cropped(picture, box)

    assert np.array_equal(whole, again)
    assert np.array_equal(whole, first)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("missing", ["home", "elsewhere", "scenes", "site"])
@pytest.mark.parametrize("is_file", [True, False])
def test_a_folder_that_is_not_there_is_said_before_anything_is_compared(
    missing: str, is_file: bool, tmp_path: Path
) -> None:
    absent = tmp_path / "absent"
    if is_file:
        absent.write_text("no folder")
    sets = Sets(**{missing: (absent,) if missing == "elsewhere" else absent})

    with pytest.raises(BuildError, match=f"{absent} is no folder; give one"):
        compare(DEFAULT_BUNDLE, DEFAULT_BUNDLE, sets)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"new": Path("nowhere")}, "nowhere"),
        ({"key": Path("nowhere.key")}, "the key nowhere.key cannot be read"),
        ({"sets": Sets()}, "there is nothing to compare on; give --home, --elsewhere or --site"),
        ({"sets": Sets(scenes=Path())}, "there is nothing to compare on"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_sentence(
    wrong: dict[str, object], said: str, tmp_path: Path
) -> None:
    asked = {
        "old": DEFAULT_BUNDLE,
        "new": DEFAULT_BUNDLE,
        "sets": Sets(site=tmp_path),
        "margin": 0.01,
        "key": None,
    }

    with pytest.raises(Exception, match=said) as caught:
        judge(**{**asked, **wrong})  # type: ignore[arg-type]

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["elsewhere", "site", "home"])
def test_a_set_without_pictures_is_named(kind: str, tmp_path: Path) -> None:
    sets = Sets(**{kind: (tmp_path,) if kind == "elsewhere" else tmp_path})

    with pytest.raises(BuildError, match=str(tmp_path)):
        compare(DEFAULT_BUNDLE, DEFAULT_BUNDLE, sets)


@pytest.mark.parametrize("margin", [float("nan"), -0.01, 1.01, float("inf")])
def test_a_margin_that_is_no_share_holds_nothing(margin: float) -> None:
    worse = Row("home", "accuracy", 100, 0.9, 0.1, Interval(-0.8, -0.9, -0.7))

    with pytest.raises(BuildError, match="the margin must be 0 to 1"):
        Verdict([worse], (), margin)

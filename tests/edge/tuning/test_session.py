"""Tuning with the daemon running: who is looked at, what is kept, and what ends it."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.loops import looping
from edge.samples.giving import FACE, OTHER, Mute, frame, step
from edge.tuning.places import place
from oahega_edge.asking.refusals import SENTENCES
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle
from oahega_edge.chain.geometry import Box
from oahega_edge.errors import AcceleratorError
from oahega_edge.page.texts import languages
from oahega_edge.tuning.faces import FACES, LabelledFace, keep_faces, read_faces
from oahega_edge.tuning.overlay import FILE, read_overlay
from oahega_edge.tuning.session import REQUESTS, TuningSession
from waiting import await_end, beside, wait_until

BUNDLE = load_bundle(DEFAULT_BUNDLE)
LABELS = BUNDLE.manifest.emotion.labels
SHARES = np.array([0.6, 0.1, 0.1, 0.1, 0.1])
SMALL = Box(0.3, 0.3, 0.4, 0.45)


@dataclass
class Room:
    """A session, and a loop that shows it the faces in view."""

    folder: Path | None
    seconds: float = 0.05
    in_groups: bool = False
    mute: Mute = field(default_factory=Mute)
    in_view: Sequence[Box] = (FACE,)
    retuned: int = 0
    shown: int = 0
    judged: list[tuple[str, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.session = TuningSession(
            self.folder,
            self.mute,
            least_px=20,
            in_groups=self.in_groups,
            now=lambda: "2026-03-01T00:00:00+00:00",
            judge=self,
            retune=self.retune,
            seconds=self.seconds,
        )
        self.session.use(BUNDLE, None, lambda pixels, box, second: SHARES)

    def asked(self, label: str, *, right: bool) -> None:
        self.judged.append((label, right))

    def retune(self) -> None:
        self.retuned += 1

    def looking(self) -> contextlib.AbstractContextManager[None]:
        """The daemon's loop shows who is in view meanwhile."""

        def turn() -> None:
            if not self.mute.muted:
                self.session.saw(frame(), step(*self.in_view))
                self.shown += 1
            self.session.due()

        return looping(turn)

    def ask(self, label: object = "happy") -> dict[str, Any]:
        return dict(self.session.answer("tune-face", {"label": label}))

    def faces(self) -> list[LabelledFace]:
        assert self.folder is not None
        return read_faces(self.folder, BUNDLE)

    def asked_while(self, deed: Callable[[], object]) -> dict[str, Any]:
        """What is answered to a person who shows an expression while something happens."""
        told: list[dict[str, Any]] = []
        asking = beside(lambda: told.append(self.ask()))
        before = self.shown
        wait_until(lambda: self.shown > before + 10 and self.session.turn_is_on)
        deed()
        await_end(asking)
        return told[0]


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_of_a_person_alone_logits_and_the_asked_name_are_kept_and_nothing_else(room: Room) -> None:
    with room.looking():
        wait_until(lambda: "kept" in room.ask("sad"))

    assert [path.name for path in room.folder.iterdir()] == [FACES]
    (line,) = (room.folder / FACES).read_text().splitlines()
    said = json.loads(line)
    assert said.keys() == {"bundle", "logits", "label"}
    assert (said["bundle"], said["label"]) == (BUNDLE.sha256, "sad")
    np.testing.assert_allclose(said["logits"], np.log(SHARES), atol=1e-4)


@pytest.mark.parametrize(("label", "right"), [(LABELS[0], True), (LABELS[1], False)])
def test_it_counts_whether_the_asked_expression_was_read(room: Room, label: str, right: bool) -> None:
    with room.looking():
        wait_until(lambda: "kept" in room.ask(label))

    assert room.judged == [(label, right)]


def test_what_counts_as_read_is_the_tuned_answer(room: Room) -> None:
    keep_faces(room.folder, place(BUNDLE))
    room.session.answer("tune-fit", None)
    overlay = read_overlay(room.folder, BUNDLE)
    shares = np.array([0.3, 0.4, 0.1, 0.1, 0.1])
    room.session.use(BUNDLE, overlay, lambda pixels, box, second: shares)

    with room.looking():
        wait_until(lambda: "kept" in room.ask(LABELS[0]))

    assert overlay.shift.apply(np.log(shares)).argmax() == 0
    assert room.judged[-1] == (LABELS[0], True)


@pytest.mark.parametrize(
    ("in_view", "word"), [((), "nobody"), ((FACE, OTHER), "several"), ((SMALL,), "small")], ids=str
)
def test_nobody_is_kept_who_is_not_alone_and_near(room: Room, in_view: Sequence[Box], word: str) -> None:
    room.in_view = in_view

    with room.looking():
        wait_until(lambda: room.ask().get("reason") == word)

    assert room.faces() == []


def test_one_frame_is_no_face(room: Room) -> None:
    told = Room(room.folder, seconds=60)

    def show() -> None:
        told.session.saw(frame(), step(FACE))
        told.session.answer("tune-stop", None)

    thread = beside(lambda: (wait_until(lambda: told.session.turn_is_on), show()))
    answer = told.ask()
    await_end(thread)

    assert "error" in answer
    assert room.faces() == []


@pytest.mark.parametrize("label", [None, "joy", 7, [], {}, "", "HAPPY"])
def test_only_an_expression_of_the_bundle_is_asked_for(room: Room, label: object) -> None:
    with room.looking():
        assert room.ask(label)["reason"] == "no_label"


def test_a_muted_device_asks_nobody(room: Room) -> None:
    room.mute.mute()

    assert room.ask()["reason"] == "muted"


@pytest.mark.parametrize("word", ["muted", "stopped", "replaced", "another bundle"])
def test_what_ends_a_turn_keeps_nothing_of_it(tmp_path: Path, word: str) -> None:
    room = Room(tmp_path, seconds=60)
    deeds: dict[str, Callable[[], object]] = {
        "muted": room.mute.mute,
        "stopped": lambda: room.session.answer("tune-stop", None),
        "replaced": lambda: threading.Thread(target=room.ask).start(),
        "another bundle": lambda: room.session.use(BUNDLE, None, lambda pixels, box, second: SHARES),
    }

    with room.looking():
        told = room.asked_while(deeds[word])
        room.session.answer("tune-stop", None)

    assert told["reason"] == ("stopped" if word == "another bundle" else word)
    assert room.faces() == []


def test_a_mute_that_is_over_before_anybody_looked_ends_a_turn_too(tmp_path: Path) -> None:
    room = Room(tmp_path, seconds=60)

    def mute_and_unmute() -> None:
        room.mute.mute()
        room.mute.muted = False

    with room.looking():
        told = room.asked_while(mute_and_unmute)

    assert told["reason"] == "muted"


def test_frames_are_read_by_both_crops_in_turn(room: Room) -> None:
    turns: list[bool] = []

    def read(pixels: object, box: object, second: bool) -> Any:
        turns.append(second)
        return SHARES

    room.session.use(BUNDLE, None, read)

    with room.looking():
        room.ask()

    assert turns == [i % 2 == 1 for i in range(len(turns))]
    assert len(turns) > 1


def test_frames_that_a_model_cannot_read_disturb_nobody(room: Room) -> None:
    def fails(pixels: object, box: object, second: bool) -> Any:
        raise AcceleratorError("gone")

    room.session.use(BUNDLE, None, fails)

    with room.looking():
        assert "error" in room.ask()


@pytest.mark.parametrize(
    ("faces", "answer"), [(0, "few"), (24, "few"), (30, False), (60, True)], ids=["none", "24", "30", "60"]
)
def test_the_same_proof_decides_as_for_the_verb(room: Room, faces: int, answer: object) -> None:
    keep_faces(room.folder, place(BUNDLE, faces, seed=3, bias=2.0 if faces > 30 else 0.0))

    told = room.session.answer("tune-fit", None)

    if answer == "few":
        assert told["reason"] == "few"
    else:
        assert told["tuned"] is answer
        low, high = told["interval"]
        assert low <= told["after"] - told["before"] <= high
    assert room.retuned == (answer is True)
    assert (room.folder / FILE).exists() == (answer is True)


def test_what_was_fitted_is_undone_and_what_was_kept_forgotten(room: Room) -> None:
    keep_faces(room.folder, place(BUNDLE))
    room.session.answer("tune-fit", None)
    overlay = read_overlay(room.folder, BUNDLE)
    room.session.use(BUNDLE, overlay, lambda pixels, box, second: SHARES)
    assert room.session.answer("tune", None)["tuned"] == {"faces": 60, "created": overlay.created}

    assert room.session.answer("tune-undo", None) == {"undone": True}
    assert room.session.answer("tune-undo", None) == {"undone": False}
    assert room.session.answer("tune", None)["faces"] == 60
    room.session.answer("tune-forget", None)

    assert list(room.folder.iterdir()) == []
    assert room.retuned == 2
    assert room.session.answer("tune", None)["labels"] == dict.fromkeys(LABELS, 0)


@pytest.mark.parametrize("request_", sorted(REQUESTS))
@pytest.mark.parametrize(("in_groups", "word"), [(True, "group"), (False, "no_state")])
def test_where_nothing_may_be_kept_nothing_is_asked(request_: str, in_groups: bool, word: str) -> None:
    assert Room(None, in_groups=in_groups).session.answer(request_, {"label": "happy"})["reason"] == word


@pytest.mark.parametrize("request_", ["tune", "tune-face", "tune-fit", "tune-undo", "tune-forget"])
def test_a_disk_that_refuses_is_an_answer(room: Room, request_: str) -> None:
    for name in (FACES, FILE):
        (room.folder / name).mkdir()
        (room.folder / name / "in the way").touch()

    with room.looking():
        wait_until(lambda: room.session.answer(request_, {"label": "happy"}).get("reason") == "disk")


@pytest.mark.parametrize("language", languages())
def test_the_page_has_its_own_sentence_for_every_refusal(language: str) -> None:
    said = {*SENTENCES, "few", "wrong_token"} - {"off", "gone", "full", "undone", "no_code"}

    assert {word for word in said if not languages()[language].get(f"tune_{word}")} == set()

"""A press, a crop, a choice: whose crop is taken, who gets it, and when it is gone."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.loops import looping
from edge.samples.giving import ENTRY, FACE, LABELS, OTHER, PICTURE, RECIPIENT, Setting, a_sample, frame, step
from oahega_edge.asking.refusals import SENTENCES, Refusal
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import crop_face
from oahega_edge.page.texts import languages
from oahega_edge.samples.booth import OFFER_S, Offer
from oahega_edge.samples.consent import WRITTEN
from oahega_edge.samples.crop import LARGEST_SIDE, crop_of
from oahega_edge.samples.desk import REQUESTS, TIDY_S, Desk
from waiting import await_end, beside, wait_until


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting(tmp_path)


def looking(setting: Setting, *faces: Box) -> contextlib.AbstractContextManager[None]:
    """The daemon's loop shows these faces meanwhile."""

    def turn() -> None:
        if not setting.mute.muted:
            setting.booth.saw(frame(), step(*faces))
        setting.booth.due()

    return looping(turn)


def pressed(setting: Setting) -> Offer:
    with looking(setting, FACE):
        return setting.booth.press()


def word_of(deed: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as caught:
        deed()
    return caught.value.word


def test_the_crop_is_what_the_classifier_sees_and_no_more(setting: Setting) -> None:
    offer = pressed(setting)

    shown = cv2.imdecode(np.frombuffer(offer.png, np.uint8), cv2.IMREAD_UNCHANGED)
    expected = crop_face(PICTURE, FACE, ENTRY.input, ENTRY.crop)
    np.testing.assert_array_equal(shown if shown.ndim == 2 else shown[:, :, ::-1], expected)
    assert offer.reading.labels == LABELS


@pytest.mark.parametrize(("width", "height"), [(48, 48), (96, 96), (224, 224), (300, 150)])
@pytest.mark.parametrize("colour", ["rgb", "grey"])
def test_the_crop_has_at_most_96_pixels(width: int, height: int, colour: str) -> None:
    size = {"width": width, "height": height, "colour": colour}
    entry = ENTRY.model_copy(update={"input": ENTRY.input.model_copy(update=size)})

    shown = cv2.imdecode(np.frombuffer(crop_of(frame(), FACE, entry), np.uint8), cv2.IMREAD_UNCHANGED)

    assert max(shown.shape[:2]) == min(LARGEST_SIDE, max(width, height))
    assert shown.ndim == (2 if colour == "grey" else 3)


def test_what_is_masked_is_black_in_the_crop(tmp_path: Path) -> None:
    offer = pressed(Setting(tmp_path, masks=(Box(0.0, 0.0, 0.45, 1.0),)))

    shown = cv2.imdecode(np.frombuffer(offer.png, np.uint8), cv2.IMREAD_UNCHANGED)
    half = shown.shape[1] // 2
    assert not shown[:, : half - 2].any()
    assert shown[:, half + 2 :].any()


@pytest.mark.parametrize(
    ("faces", "word"),
    [([], "nobody"), ([FACE, OTHER], "several"), ([Box(0.3, 0.3, 0.4, 0.45)], "small")],
)
def test_only_a_person_alone_and_near_is_taken(faces: Sequence[Box], word: str, tmp_path: Path) -> None:
    setting = Setting(tmp_path, wait=0.05)

    with looking(setting, *faces):
        wait_until(lambda: word_of(setting.booth.press) == word)  # a busy machine may show no frame in time


def test_a_kept_crop_is_on_the_shelf_and_its_code_withdraws_it(setting: Setting) -> None:
    offer = pressed(setting)

    code, goes_on = setting.booth.keep(offer.token, "sad")

    assert setting.shelf.stock().last_goes == goes_on
    setting.shelf.withdraw(code)
    assert setting.shelf.stock().samples == 0


def test_a_token_works_once(setting: Setting) -> None:
    kept, declined = pressed(setting), pressed(setting)
    assert word_of(lambda: setting.booth.keep(kept.token, "sad")) == "gone"

    setting.booth.discard(declined.token)

    assert word_of(lambda: setting.booth.discard(declined.token)) == "gone"
    assert word_of(lambda: setting.booth.keep(declined.token, "sad")) == "gone"
    again = pressed(setting)
    setting.booth.keep(again.token, "sad")
    assert word_of(lambda: setting.booth.keep(again.token, "sad")) == "gone"
    assert setting.shelf.stock().samples == 1


@pytest.mark.parametrize("token", ["", "x", "A" * 22, "é" * 22, "\ud800"])
def test_a_foreign_token_gives_nothing_and_takes_nothing(token: str, setting: Setting) -> None:
    offer = pressed(setting)

    assert word_of(lambda: setting.booth.keep(token, "sad")) == "gone"
    assert word_of(lambda: setting.booth.discard(token)) == "gone"

    setting.booth.keep(offer.token, "sad")


def test_an_old_token_gives_nothing(setting: Setting) -> None:
    offer = pressed(setting)
    setting.clock.now += OFFER_S

    assert word_of(lambda: setting.booth.keep(offer.token, "sad")) == "gone"
    assert setting.shelf.stock().samples == 0


@pytest.mark.parametrize("label", ["", "joy", "../sad", "\ud800"])
def test_a_label_that_was_not_offered_keeps_nothing_and_the_visitor_may_choose_again(
    label: str, setting: Setting
) -> None:
    offer = pressed(setting)

    assert word_of(lambda: setting.booth.keep(offer.token, label)) == "no_label"

    setting.booth.keep(offer.token, "sad")


def test_a_mute_discards_the_crop_that_waits_also_when_it_is_over(setting: Setting) -> None:
    offer = pressed(setting)

    setting.mute.mute()
    setting.mute.muted = False

    assert word_of(lambda: setting.booth.keep(offer.token, "sad")) == "gone"


def test_nothing_is_taken_while_muted_and_a_press_that_waits_ends(setting: Setting) -> None:
    words: list[str] = []
    with looking(setting):
        waiting = beside(lambda: words.append(word_of(setting.booth.press)))
        wait_until(lambda: setting.booth._wish is not None)
        setting.mute.mute()
        await_end(waiting)

    assert words == ["muted"]
    with looking(setting, FACE):
        assert word_of(setting.booth.press) == "muted"


def test_of_two_presses_at_once_the_newest_counts(setting: Setting) -> None:
    answers: list[Offer | str] = []

    def press() -> None:
        try:
            answers.append(setting.booth.press())
        except Refusal as refusal:
            answers.append(refusal.word)

    threads = [beside(press) for _ in range(6)]
    with looking(setting, FACE):
        await_end(*threads)

    offers = [answer for answer in answers if isinstance(answer, Offer)]
    assert {answer for answer in answers if isinstance(answer, str)} <= {"replaced"}
    kept = 0
    for offer in offers:
        with contextlib.suppress(Refusal):
            setting.booth.keep(offer.token, "sad")
            kept += 1
    assert kept == 1


def test_a_full_shelf_is_said_before_anybody_is_looked_at(tmp_path: Path) -> None:
    setting = Setting(tmp_path, most=1)
    setting.booth.keep(pressed(setting).token, "sad")

    assert word_of(setting.booth.press) == "full"


def test_of_people_who_agreed_in_writing_the_operator_says_the_label(tmp_path: Path) -> None:
    setting = Setting(tmp_path, consent=WRITTEN)

    with looking(setting, FACE):
        setting.booth.record("neutral")
        assert word_of(lambda: setting.booth.record("joy")) == "no_label"
        assert word_of(setting.booth.press) == "off"

    assert setting.shelf.stock().samples == 1


def test_who_is_asked_at_the_device_is_not_recorded_by_the_operator(setting: Setting) -> None:
    with looking(setting, FACE):
        assert word_of(lambda: setting.booth.record("neutral")) == "off"


def test_no_step_that_is_logged_has_content(setting: Setting, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    offer = pressed(setting)
    code, _ = setting.booth.keep(offer.token, "sad")
    setting.booth.discard(pressed(setting).token)
    pressed(setting)
    setting.clock.now += OFFER_S
    setting.booth.due()

    said = [record.getMessage() for record in caplog.records]
    asked = "a picture was asked for"
    kept, declined = "a sample was kept, 1 of at most 5", "the picture that was offered was declined"
    assert said == [asked, kept, asked, declined, asked, "the picture that was offered is gone"]
    assert not any(text in caplog.text for text in (offer.token, code, "sad"))


def test_with_consent_off_the_desk_refuses_and_expires_all_the_same(setting: Setting) -> None:
    code, _ = setting.booth.keep(pressed(setting).token, "sad")
    setting.booth.keep(pressed(setting).token, "sad")
    desk = Desk(setting.shelf, None, setting.clock, setting.days)
    desk.use(ENTRY, LABELS, "tiny 1.0")
    desk.saw(frame(), step(FACE))

    for request in ("sample", "sample-keep", "sample-discard", "sample-record"):
        answer = desk.answer(request, {"token": "x", "label": "sad"})
        assert answer == {"error": SENTENCES["off"], "reason": "off"}

    assert desk.answer("samples-withdraw", {"code": code}) == {"done": True}
    assert desk.answer("samples", None)["samples"] == 1
    setting.days.pass_by(30)
    desk.due()
    assert desk.answer("samples", None)["samples"] == 0


@pytest.mark.parametrize("value", [None, 7, [], {}, {"token": 7, "label": [], "code": {}}])
@pytest.mark.parametrize("request_", sorted(set(REQUESTS) - {"sample", "samples", "samples-forget"}))
def test_a_request_without_what_it_needs_is_refused(request_: str, value: object, setting: Setting) -> None:
    assert "error" in Desk(setting.shelf, setting.booth, setting.clock, setting.days).answer(request_, value)


def test_the_disk_is_tidied_at_the_start_on_a_new_day_and_each_hour(setting: Setting) -> None:
    setting.shelf.keep(a_sample(), RECIPIENT)
    desk = Desk(setting.shelf, None, setting.clock, setting.days)
    left = setting.folder / "samples" / "left.new"
    for pass_by in (
        lambda: None,
        lambda: setting.days.pass_by(1),
        lambda: setattr(setting.clock, "now", TIDY_S),
    ):
        left.write_bytes(b"half")
        pass_by()
        desk.due()
        assert not left.exists()
    left.write_bytes(b"half")
    desk.due()
    assert left.exists()


@pytest.mark.parametrize("language", languages())
def test_the_page_has_its_own_sentence_for_every_refusal(language: str) -> None:
    texts = languages()[language]

    of_tuning = {"group", "no_state", "stopped"}
    assert {word for word in SENTENCES if not texts.get(f"sample_{word}")} == of_tuning

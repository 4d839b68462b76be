"""What may be published: some of the emotions, and groups instead of single faces."""

from collections.abc import Sequence

import numpy as np
import pytest

from oahega_edge.cameras.memory import frames_of
from oahega_edge.chain.disclosure import Group, SelectedLabels, published_labels, published_prior
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.pipeline import Step, dominant
from oahega_edge.chain.trigger import UNCERTAIN, TriggerRules
from oahega_edge.drift.look import Measured
from oahega_edge.errors import SettingsError
from scripted import LABELS, LEFT, RIGHT, Mood, face, pipeline

RULES = TriggerRules(threshold=0.6, hysteresis=0.1, dwell=0.0, heartbeat=0, min_interval=0, min_frames=1)
PICTURE = np.zeros((100, 100, 3), np.uint8)


class Sad:
    labels = LABELS

    def __init__(self, *scores: float) -> None:
        self.scores = np.array(scores)

    def __call__(self, pixels: np.ndarray, box: Box, second: bool = False) -> np.ndarray:
        return self.scores

    def measured(self, pixels: np.ndarray, box: Box) -> Measured:
        return self.scores, (30.0, 100.0, 0.5, False)


def test_a_hidden_emotion_reads_as_undecided() -> None:
    selected = SelectedLabels(Sad(0.04, 0.06, 0.9), ("happy", "neutral"))

    scores = selected(PICTURE, LEFT)

    assert selected.labels == ("happy", "neutral")
    assert scores == pytest.approx([0.49, 0.51])


def test_a_hidden_emotion_is_hidden_where_a_face_is_measured_too() -> None:
    selected = SelectedLabels(Sad(0.04, 0.06, 0.9), ("happy", "neutral"))

    scores, light = selected.measured(PICTURE, LEFT)

    assert scores == pytest.approx([0.49, 0.51])
    assert light == (30.0, 100.0, 0.5, False)


def test_what_the_model_takes_for_granted_follows_its_scores_when_an_emotion_is_hidden() -> None:
    usual = (0.2, 0.3, 0.5)
    scores = SelectedLabels(Sad(*usual), ("happy", "neutral"))(PICTURE, LEFT)

    assert published_prior(usual, LABELS, ("happy", "neutral")) == pytest.approx(scores)
    assert published_prior(None, LABELS, ("happy", "neutral")) is None


def test_the_second_crop_is_asked_for_behind_a_choice_of_labels() -> None:
    class Sided(Mood):
        def __call__(self, pixels: np.ndarray, box: Box, second: bool = False) -> np.ndarray:
            return np.array([0.1, 0.8, 0.1]) if second else np.array([0.8, 0.1, 0.1])

    selected = SelectedLabels(Sided(), ("happy", "neutral"))

    assert selected(PICTURE, LEFT).argmax() == 0
    assert selected(PICTURE, LEFT, True).argmax() == 1


def test_a_hidden_emotion_is_in_no_event_of_the_chain() -> None:
    selected = SelectedLabels(Mood(), ("happy", "neutral"))
    chain = pipeline(lambda i: [face(LEFT), face(RIGHT)], mood=selected)

    steps = [chain.process(frame) for frame in frames_of([PICTURE] * 8)]

    decisions = [d for step in steps for d in step.decisions]
    assert {d.emotion for d in decisions} == {"happy"}
    assert {label for d in decisions for label in d.scores} == {"happy", "neutral"}
    assert all(sum(d.scores.values()) == pytest.approx(1) for d in decisions)
    assert {f.emotion for f in steps[-1].faces} == {"happy", UNCERTAIN}


def test_without_a_choice_all_labels_are_published_in_the_models_order() -> None:
    assert published_labels(LABELS, ()) == LABELS
    assert published_labels(LABELS, ("sad", "happy")) == ("happy", "sad")


def test_an_emotion_that_the_bundle_does_not_know_is_named_with_those_it_does() -> None:
    with pytest.raises(SettingsError, match=r"does not know joy; its emotions are happy, neutral, sad"):
        published_labels(LABELS, ("happy", "joy"))


def group_steps(least: int, *in_view: Sequence[Box]) -> list[Step]:
    chain = pipeline(lambda i: [face(box) for box in in_view[i]])
    chain.disclosure = Group(LABELS, least, RULES)
    return [chain.process(frame) for frame in frames_of([PICTURE] * len(in_view))]


def test_fewer_faces_than_a_group_are_counted_and_nothing_else() -> None:
    steps = group_steps(2, *[[LEFT]] * 6)

    assert [len(step.faces) for step in steps[1:]] == [1] * 5
    assert {f.emotion for step in steps for f in step.faces} == {UNCERTAIN}
    assert all(f.average is None for step in steps for f in step.faces)
    assert all(step.decisions == () for step in steps)


def test_a_group_has_one_average_and_no_face_an_event_of_its_own() -> None:
    """One happy and two sad faces: sad leads with 0.57, below the threshold; three sad ones reach it."""
    third, fourth = Box(0.6, 0.55, 0.8, 0.85), Box(0.8, 0.55, 0.95, 0.85)

    undecided = group_steps(3, *[[LEFT, RIGHT, third]] * 6)[-1]
    decided = group_steps(3, *[[LEFT, RIGHT, third, fourth]] * 6)[-1]

    assert {f.emotion for f in undecided.faces} == {UNCERTAIN}
    assert {f.emotion for f in decided.faces} == {"sad"}
    largest = dominant(decided.faces)
    assert largest is not None
    assert largest.average is not None
    assert largest.average.scores == pytest.approx([0.275, 0.1, 0.625])
    assert undecided.decisions == decided.decisions == ()


def test_a_group_that_shrank_is_forgotten() -> None:
    steps = group_steps(2, *[[RIGHT, Box(0.6, 0.55, 0.8, 0.85)]] * 4, *[[RIGHT]] * 3)

    assert {f.emotion for f in steps[3].faces} == {"sad"}
    assert {f.emotion for f in steps[-1].faces} == {UNCERTAIN}


def test_at_the_end_a_group_says_nothing_of_single_faces() -> None:
    chain = pipeline(lambda i: [face(LEFT), face(RIGHT)])
    chain.disclosure = Group(LABELS, 2, RULES)
    for frame in frames_of([PICTURE] * 6):
        chain.process(frame)

    assert chain.finish().decisions == ()

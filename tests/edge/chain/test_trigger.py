from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from oahega_edge.chain.geometry import Box
from oahega_edge.chain.smoothing import Average
from oahega_edge.chain.trigger import Decision, Sighting, Trigger, TriggerRules

LABELS = ("happy", "neutral", "sad")
RULES = TriggerRules(threshold=0.6, hysteresis=0.1, dwell=0.3, heartbeat=0, min_interval=0, min_frames=1)


def sighting(now: float, *scores: float, frames: int = 5) -> Sighting:
    average = Average(np.array(scores), frames, 0.2)
    return Sighting(average, Box(0.1, 0.1, 0.2, 0.2), datetime(2026, 1, 1, tzinfo=UTC), now)


def play(rules: TriggerRules, *sightings: Sighting) -> list[Decision]:
    trigger = Trigger("1", LABELS, rules)
    return [d for s in sightings if (d := trigger.see(s))]


def test_nothing_is_said_below_the_threshold() -> None:
    assert play(RULES, sighting(0, 0.59, 0.3, 0.11)) == []


def test_the_first_emotion_is_said_at_once_with_all_that_a_subscriber_needs() -> None:
    (decision,) = play(RULES, sighting(0, 0.7, 0.2, 0.1))

    assert (decision.phase, decision.emotion, decision.confidence) == ("new", "happy", 0.7)
    assert decision.scores == {"happy": 0.7, "neutral": 0.2, "sad": 0.1}
    assert (decision.frames, decision.window_ms, decision.threshold) == (5, 200, 0.6)


def test_a_face_seen_in_too_few_frames_waits() -> None:
    rules = replace(RULES, min_frames=3)

    decisions = play(rules, sighting(0, 0.9, 0.1, 0, frames=2), sighting(0.1, 0.9, 0.1, 0, frames=3))

    assert [d.frames for d in decisions] == [3]


def test_an_emotion_holds_within_the_hysteresis() -> None:
    decisions = play(RULES, sighting(0, 0.7, 0.3, 0), sighting(1, 0.51, 0.49, 0), sighting(2, 0.51, 0.49, 0))

    assert [d.emotion for d in decisions] == ["happy"]


def test_an_emotion_that_fades_becomes_uncertain() -> None:
    decisions = play(RULES, sighting(0, 0.7, 0.3, 0), sighting(1, 0.4, 0.3, 0.3), sighting(2, 0.4, 0.3, 0.3))

    assert [(d.phase, d.emotion) for d in decisions] == [("new", "happy"), ("update", "uncertain")]


def test_a_flicker_shorter_than_the_dwell_changes_nothing() -> None:
    decisions = play(
        RULES,
        sighting(0, 0.7, 0.3, 0),
        sighting(0.1, 0.1, 0.9, 0),
        sighting(0.2, 0.9, 0.1, 0),
        sighting(0.35, 0.1, 0.9, 0),
        sighting(0.45, 0.9, 0.1, 0),
    )

    assert [d.emotion for d in decisions] == ["happy"]


def test_another_emotion_that_lasts_replaces_the_first() -> None:
    decisions = play(RULES, sighting(0, 0.7, 0.3, 0), sighting(0.1, 0.1, 0.9, 0), sighting(0.4, 0.1, 0.9, 0))

    assert [(d.phase, d.emotion) for d in decisions] == [("new", "happy"), ("update", "neutral")]


def test_the_heartbeat_repeats_an_unchanged_emotion() -> None:
    rules = replace(RULES, heartbeat=5)

    decisions = play(rules, *(sighting(now, 0.8, 0.1, 0.1) for now in (0, 3, 5, 7, 10)))

    assert [d.captured_at for d in decisions] == [0, 5, 10]


def test_changes_of_one_face_keep_their_distance() -> None:
    rules = replace(RULES, dwell=0, min_interval=1)
    flips = [sighting(i / 10, *((0.9, 0.1, 0) if i % 2 else (0.1, 0.9, 0))) for i in range(21)]

    decisions = play(rules, *flips)

    gaps = np.diff([d.captured_at for d in decisions])
    assert len(decisions) >= 2
    assert gaps.min() >= 1


def test_the_end_is_said_only_of_a_face_that_was_spoken_of() -> None:
    silent, heard = Trigger("1", LABELS, RULES), Trigger("2", LABELS, RULES)
    silent.see(sighting(0, 0.4, 0.3, 0.3))
    heard.see(sighting(0, 0.1, 0.8, 0.1))

    end = heard.end()

    assert silent.end() is None
    assert end is not None
    assert (end.phase, end.emotion) == ("end", "neutral")


def test_only_a_new_or_another_emotion_is_a_change() -> None:
    rules = replace(RULES, heartbeat=2, dwell=0)
    trigger = Trigger("1", LABELS, rules)
    seen = [
        sighting(0, 0.8, 0.1, 0.1),
        sighting(2, 0.8, 0.1, 0.1),
        sighting(3, 0.1, 0.1, 0.8),
        sighting(5, 0.1, 0.1, 0.8),
    ]

    decisions = [decision for each in seen if (decision := trigger.see(each))]
    last = trigger.end()

    assert [(d.emotion, d.changed) for d in decisions] == [
        ("happy", True),
        ("happy", False),
        ("sad", True),
        ("sad", False),
    ]
    assert last is not None
    assert last.changed is False

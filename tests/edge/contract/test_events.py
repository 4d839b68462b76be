import json
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from edge.mqtt_samples import decision, event, events, seeded_bytes, stamp
from oahega_edge.chain.geometry import Box
from oahega_edge.contract.events import Event, Uuid7, rfc3339, rounded_shares, unit_xywh
from oahega_edge.manifest import Label
from oahega_edge.visits.visit import Visit

FIELDS = [
    "schema",
    "id",
    "time",
    "time_synced",
    "device",
    "boot_id",
    "seq",
    "track",
    "phase",
    "changed",
    "emotion",
    "confidence",
    "scores",
    "frames",
    "window_ms",
    "threshold",
    "box",
    "model",
    "accelerator",
    "degraded",
    "latency_ms",
    "visit",
    "delayed",
    "age_ms",
]


def test_an_event_has_exactly_the_fields_of_the_contract() -> None:
    sent = json.loads(event().to_json())

    assert list(sent) == FIELDS


def test_the_last_event_of_a_face_says_what_it_was() -> None:
    visit = Visit(seen=12.3456, read=9.0, shares={"happy": 2 / 3, "sad": 1 / 3}, nearest=0.43219)
    last = replace(decision(phase="end"), visit=visit)

    made = stamp().stamp(last, latency_ms=1, accelerator="cpu", degraded=False, time_synced=True)

    assert json.loads(made.to_json())["visit"] == {
        "seen_ms": 12346,
        "read_ms": 9000,
        "shares": {"happy": 0.6667, "sad": 0.3333},
        "dominant": "happy",
        "nearest_height": 0.4322,
    }
    assert Event.model_validate_json(made.to_json()) == made


def test_an_event_comes_back_from_its_json_unchanged() -> None:
    made = event()

    assert Event.model_validate_json(made.to_json()) == made


def test_numbers_are_rounded_for_reading() -> None:
    sent = json.loads(event().to_json())

    assert sent["confidence"] == 0.7123
    assert sent["scores"] == {"happy": 0.7123, "sad": 0.1877, "neutral": 0.1}
    assert sent["box"] == [0.25, 0.25, 0.25, 0.5]
    assert sent["latency_ms"] == 41.2


def test_time_is_utc_with_milliseconds_and_z() -> None:
    local = datetime(2026, 1, 2, 3, 4, 5, 678_999, tzinfo=timezone(timedelta(hours=2)))

    assert rfc3339(local) == "2026-01-02T01:04:05.678Z"


def test_seq_counts_from_zero_and_ids_rise() -> None:
    made = events(200, tracks=3)

    assert [each.seq for each in made] == list(range(200))
    assert [each.id for each in made] == sorted({each.id for each in made})


def test_ids_rise_within_a_millisecond_and_when_the_clock_is_set_back() -> None:
    ids = Uuid7(seeded_bytes("x"))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    moments = [start] * 5000 + [start - timedelta(hours=1)] * 10 + [start + timedelta(seconds=9)]

    made = [ids.next(moment) for moment in moments]

    assert made == sorted(set(made))
    assert {UUID(each).version for each in made} == {7}
    assert {UUID(each).variant for each in made} == {"specified in RFC 4122"}


def test_an_id_carries_its_millisecond() -> None:
    moment = datetime(2026, 11, 24, 6, 20, 0, 123_456, tzinfo=UTC)

    made = UUID(Uuid7(seeded_bytes("x")).next(moment))

    assert made.int >> 80 == round(moment.timestamp() * 1000 - 0.5)


def test_an_emotion_that_is_not_among_the_scores_is_no_event() -> None:
    with pytest.raises(ValidationError, match="not among the scores"):
        event(emotion="bored")


def test_uncertain_needs_no_score() -> None:
    assert event(emotion="uncertain").emotion == "uncertain"


def test_scores_that_do_not_sum_to_one_are_no_event() -> None:
    with pytest.raises(ValidationError, match="must sum to 1"):
        Event.model_validate({**json.loads(event().to_json()), "scores": {"happy": 0.5, "sad": 0.4}})


@pytest.mark.parametrize("key", ["picture", "embedding", "name"])
def test_nothing_can_be_smuggled_into_an_event(key: str) -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Event.model_validate({**json.loads(event().to_json()), key: "x"})


def test_a_late_event_keeps_its_identity() -> None:
    made = event()

    late = made.waited(61_000)

    assert (late.delayed, late.age_ms) == (True, 61_000)
    assert late.model_copy(update={"delayed": False, "age_ms": 0}) == made


@given(st.lists(st.floats(0.001, 1.0), min_size=1, max_size=60))
def test_rounded_scores_sum_to_one_and_stay_within_a_step(weights: list[float]) -> None:
    total = sum(weights)
    shares = {f"label{n}": weight / total for n, weight in enumerate(weights)}

    rounded = rounded_shares(shares)

    assert sum(rounded.values()) == pytest.approx(1.0, abs=1e-9)
    assert all(abs(rounded[label] - share) <= 1.0001e-4 for label, share in shares.items())


@given(*[st.floats(-2, 3, allow_nan=False)] * 2, *[st.floats(1e-6, 3)] * 2)
def test_a_published_box_lies_in_the_picture(left: float, top: float, width: float, height: float) -> None:
    x, y, w, h = unit_xywh(Box(left, top, left + width, top + height))

    assert 0 <= x <= x + w <= 1 + 1e-9
    assert 0 <= y <= y + h <= 1 + 1e-9


def test_negative_latency_of_a_jumping_clock_is_zero() -> None:
    made = stamp().stamp(decision(), latency_ms=-5.0, accelerator="cpu", degraded=False, time_synced=False)

    assert made.latency_ms == 0


LABEL_PATTERN = TypeAdapter(Label).json_schema()["pattern"]
WORDS = ["happy", "very-happy_2", "überrascht", "счастье", "喜び"]
NO_WORDS = [
    "",
    "1",
    "-a",
    "_a",
    "Happy",
    "a b",
    "a\u00a0b",
    "a/b",
    "a+",
    "a#",
    "a'",
    'a"',
    "a<b",
    "a\x00",
    "$a",
]


@pytest.mark.parametrize("label", WORDS + NO_WORDS)
def test_a_label_is_a_word_of_any_script(label: str) -> None:
    """For pydantic and for whoever reads the JSON Schema with Python."""
    assert bool(re.search(LABEL_PATTERN, label)) == (label in WORDS)
    if label in WORDS:
        assert TypeAdapter(Label).validate_python(label) == label
    else:
        with pytest.raises(ValidationError):
            TypeAdapter(Label).validate_python(label)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is absent")
def test_the_labels_pattern_means_the_same_in_javascript() -> None:
    script = (
        "const [pattern, words] = JSON.parse(process.argv[1]);"
        "console.log(JSON.stringify(words.filter(word => RegExp(pattern, 'u').test(word))))"
    )

    told = subprocess.run(
        ["node", "-e", script, json.dumps([LABEL_PATTERN, WORDS + NO_WORDS])],
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(told.stdout) == WORDS

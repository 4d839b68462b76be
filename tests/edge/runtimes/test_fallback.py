"""The accelerator's fall and return, with real children, and with fakes where only the clock matters."""

from __future__ import annotations

import contextlib
import logging
import threading

import numpy as np
import psutil
import pytest

from children import FAULTY, PATIENT, QUICK
from oahega_edge.errors import AcceleratorError, BundleError
from oahega_edge.runtimes import open_model
from oahega_edge.runtimes.fake import FakeModel
from oahega_edge.runtimes.fallback import Fallback, Pauses
from oahega_edge.runtimes.isolated import ModelSpec, open_isolated
from tiny import tiny
from waiting import PATIENCE, await_end, wait_until

NAMES = ("tiny_emotion_float", "tiny_detector")
USUAL = Pauses()
TENSOR = np.zeros((1, 2, 2, 1), np.int8)


class Clock:
    """Time goes on when a test says so."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Accelerator:
    """A box that works or not, as a test says; counts what is asked of it."""

    def __init__(self) -> None:
        self.works = True
        self.opened = 0

    def open(self):
        self.opened += 1
        if not self.works:
            raise AcceleratorError("no Edge TPU answers as usb")
        return {"detector": self._model(), "emotion": self._model()}

    def _model(self):
        return FakeModel(self._answer, accelerator="edgetpu-usb")

    def _answer(self, _tensor):
        if not self.works:
            raise AcceleratorError("the accelerator's process was ended by SIGABRT")
        return {"out": np.array([2])}


def living_children() -> set[psutil.Process]:
    """Without those that are killed and not yet reaped: the next child's start does that."""
    found = set()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.status() != psutil.STATUS_ZOMBIE:
                found.add(child)
    return found


def passes(models) -> None:
    for model in models.values():
        model.run(TENSOR)


def on_cpu():
    return {name: FakeModel({"out": np.array([1])}) for name in ("detector", "emotion")}


def started(accelerator: Accelerator, clock: Clock, self_test=passes, pauses: Pauses = USUAL) -> Fallback:
    fallback = Fallback(on_cpu(), accelerator.open, self_test, pauses=pauses, clock=clock)
    fallback.start(PATIENCE)
    return fallback


def answer(fallback: Fallback, name: str = "detector") -> int:
    return int(fallback.models[name].run(TENSOR)["out"][0])


def await_attempts() -> None:
    """Let what opens an accelerator beside us come to its end."""
    await_end(*[thread for thread in threading.enumerate() if thread.name == "accelerator"])


def settle(fallback: Fallback) -> None:
    """The same, and have the result taken."""
    await_attempts()
    answer(fallback)


def test_a_healthy_accelerator_answers():
    fallback = started(Accelerator(), Clock())

    value = answer(fallback)

    assert (value, fallback.degraded, fallback.reason) == (2, False, None)
    assert fallback.models["emotion"].accelerator == "edgetpu-usb"


def test_a_call_that_fails_is_answered_by_the_cpu_and_so_are_those_of_the_other_model():
    accelerator = Accelerator()
    fallback = started(accelerator, Clock())
    accelerator.works = False

    values = [answer(fallback), answer(fallback, "emotion")]

    assert values == [1, 1]
    assert fallback.degraded
    assert "SIGABRT" in fallback.reason
    assert fallback.models["emotion"].accelerator == "cpu"
    assert fallback.failures == 1


def test_it_starts_on_the_cpu_where_there_is_no_accelerator():
    accelerator = Accelerator()
    accelerator.works = False

    fallback = started(accelerator, Clock())

    assert answer(fallback) == 1
    assert fallback.reason == "no Edge TPU answers as usb"


def test_the_pauses_between_attempts_grow_up_to_the_longest():
    accelerator, clock = Accelerator(), Clock()
    accelerator.works = False
    fallback = started(accelerator, clock, pauses=Pauses(first=5, longest=30))
    tried_at = []

    for second in range(1, 121):
        clock.now = 1000.0 + second
        before = accelerator.opened
        answer(fallback)
        settle(fallback)
        if accelerator.opened > before:
            tried_at.append(second)

    assert tried_at == [5, 15, 35, 65, 95]


def test_it_comes_back_when_the_self_test_passes():
    accelerator, clock = Accelerator(), Clock()
    fallback = started(accelerator, clock)
    accelerator.works = False
    answer(fallback)
    accelerator.works = True
    clock.now += 5

    answer(fallback)
    settle(fallback)

    assert answer(fallback) == 2
    assert not fallback.degraded


def test_it_does_not_come_back_while_the_self_test_fails():
    def wrong(_models):
        raise BundleError("detector.tflite fails its self-test on edgetpu-usb")

    accelerator, clock = Accelerator(), Clock()

    fallback = started(accelerator, clock, self_test=wrong)

    assert answer(fallback) == 1
    assert "fails its self-test" in fallback.reason


def test_an_accelerator_that_comes_and_goes_is_tried_less_and_less():
    accelerator, clock = Accelerator(), Clock()
    fallback = started(accelerator, clock, pauses=Pauses(first=5, longest=600))
    pauses = []
    for _ in range(4):
        accelerator.works = False
        answer(fallback)
        lost_at = clock.now
        accelerator.works = True
        while fallback.degraded:
            clock.now += 1
            answer(fallback)
            settle(fallback)
        pauses.append(clock.now - lost_at)

    clock.now += 600
    accelerator.works = False
    answer(fallback)
    accelerator.works = True
    clock.now += 5
    answer(fallback)
    settle(fallback)

    assert pauses == [5, 10, 20, 40]
    assert not fallback.degraded


def test_calls_are_answered_while_the_accelerator_is_being_opened():
    opening, clock = threading.Event(), Clock()

    def slowly():
        assert opening.wait(PATIENCE)
        return Accelerator().open()

    fallback = Fallback(on_cpu(), slowly, passes, clock=clock)
    fallback.start(0)

    values = [answer(fallback) for _ in range(3)]

    opening.set()
    settle(fallback)
    assert values == [1, 1, 1]
    assert answer(fallback) == 2


def test_what_was_still_being_opened_at_the_end_is_closed():
    opening, models = threading.Event(), Accelerator().open()

    def slowly():
        assert opening.wait(PATIENCE)
        return models

    fallback = Fallback(on_cpu(), slowly, passes, clock=Clock())
    fallback.start(0)
    for model in fallback.models.values():
        model.close()

    opening.set()

    await_attempts()
    with pytest.raises(ValueError, match="closed"):
        models["detector"].run(TENSOR)


def test_an_unforeseen_error_in_opening_is_a_failure_like_others(caplog):
    def broken():
        raise KeyError("detector")

    fallback = Fallback(on_cpu(), broken, passes, clock=Clock())

    fallback.start(PATIENCE)

    assert answer(fallback) == 1
    assert "KeyError('detector')" in fallback.reason


def test_loss_and_return_are_logged_once_each(caplog):
    caplog.set_level(logging.INFO)
    accelerator, clock = Accelerator(), Clock()
    fallback = started(accelerator, clock)
    accelerator.works = False
    for _ in range(5):
        answer(fallback)
    accelerator.works = True
    clock.now += 5
    answer(fallback)
    settle(fallback)
    for _ in range(5):
        answer(fallback)

    said = [record.getMessage().split(":")[0] for record in caplog.records]

    assert said == [
        "inference runs on edgetpu-usb",
        "inference runs on the CPU",
        "inference runs on edgetpu-usb",
    ]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("abort@3", "was ended by SIGABRT"),
        ("exit@3", "exited with 3"),
        ("hang@3", "gave no answer within 1 s"),
        ("hang-in-native-code@3", "gave no answer within 1 s"),
        ("slow@3", "gave no answer within 1 s"),
        ("nan@3", "returned values that are not numbers"),
        ("garbage@3", "wrote something else than messages"),
    ],
)
def test_no_call_is_lost_when_a_real_child_fails_and_it_returns_once_it_is_healthy(monkeypatch, fault, said):
    """The self-test is each model's first call; the fault comes at the daemon's second frame."""
    monkeypatch.setenv("FAULTY_RUNTIME", fault)
    children, clock = living_children(), Clock()
    subjects = {name: tiny(name) for name in NAMES}
    specs = {name: ModelSpec(one.path, one.outputs, one.input) for name, one in subjects.items()}
    cpu = {name: open_model(one.path, one.outputs, one.input) for name, one in subjects.items()}
    expected = {name: cpu[name].run(subjects[name].tensor()) for name in NAMES}

    def golden(models):
        for name, model in models.items():
            for role, values in model.run(subjects[name].tensor()).items():
                if not np.allclose(values, expected[name][role]):
                    raise BundleError(f"{name} fails its self-test: {role} differs")

    # The child that comes back has time: on a busy machine it would else be taken for one that hangs.
    deadlines = iter([QUICK if "gave no answer" in said else PATIENT, PATIENT])
    fallback = Fallback(
        cpu,
        lambda: open_isolated(specs, runtime=FAULTY, deadlines=next(deadlines)),
        golden,
        clock=clock,
    )
    fallback.start(PATIENCE)
    assert not fallback.degraded, fallback.reason

    for frame in range(4):
        for name in NAMES:
            outputs = fallback.models[name].run(subjects[name].tensor())
            assert all(np.allclose(values, expected[name][role]) for role, values in outputs.items()), frame
    assert fallback.degraded
    assert said in fallback.reason

    monkeypatch.delenv("FAULTY_RUNTIME")
    clock.now += 5
    fallback.models[NAMES[0]].run(subjects[NAMES[0]].tensor())
    await_attempts()
    fallback.models[NAMES[0]].run(subjects[NAMES[0]].tensor())

    assert not fallback.degraded
    for model in fallback.models.values():
        model.close()
    assert wait_until(lambda: living_children() <= children)


def test_a_child_that_answers_wrongly_is_not_taken(monkeypatch):
    monkeypatch.setenv("FAULTY_RUNTIME", "zeros")
    children = living_children()
    subject = tiny("tiny_emotion_float")
    cpu = open_model(subject.path, subject.outputs, subject.input)
    expected = cpu.run(subject.tensor())["logits"]
    spec = ModelSpec(subject.path, subject.outputs, subject.input)

    def golden(models):
        if not np.allclose(models["emotion"].run(subject.tensor())["logits"], expected):
            raise BundleError("emotion.tflite fails its self-test")

    fallback = Fallback(
        {"emotion": cpu}, lambda: open_isolated({"emotion": spec}, runtime=FAULTY, deadlines=PATIENT), golden
    )
    fallback.start(PATIENCE)

    assert fallback.reason == "emotion.tflite fails its self-test"
    assert np.allclose(fallback.models["emotion"].run(subject.tensor())["logits"], expected)
    fallback.models["emotion"].close()
    assert wait_until(lambda: living_children() <= children)

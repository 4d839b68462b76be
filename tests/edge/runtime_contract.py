"""What every adapter of the `Model` port promises.

pytest runs it over all adapters (test_runtimes.py). As a script it needs no pytest, so that it can run in
a bare environment of another runtime: `python runtime_contract.py litert` exits with 0 or a traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from oahega_edge.errors import AcceleratorError
from oahega_edge.runtimes import open_model
from oahega_edge.runtimes.fake import FakeModel
from oahega_edge.runtimes.fallback import Fallback
from oahega_edge.runtimes.isolated import Deadlines, ModelSpec, open_isolated
from oahega_edge.runtimes.port import Model
from tiny import NAMES, Tiny, tiny

PATIENCE = 120.0
"""Seconds; as in waiting.py, which the environments that this runs in as a program do not have."""

Opener = Callable[[Tiny], Model]


def refuses(call: Callable[[], object]) -> bool:
    try:
        call()
    except ValueError:
        return True
    return False


def outputs_come_by_role_in_the_manifests_shape_and_dtype(opener: Opener, subject: Tiny) -> None:
    model = opener(subject)

    outputs = model.run(subject.tensor())

    assert {(role, array.shape, array.dtype.name) for role, array in outputs.items()} == {
        (output.role, output.shape, output.dtype) for output in subject.outputs
    }
    model.close()


def roles_do_not_depend_on_the_order_in_the_manifest(opener: Opener, subject: Tiny) -> None:
    forward, backward = opener(subject), opener(replace(subject, outputs=subject.outputs[::-1]))

    outputs, again = forward.run(subject.tensor()), backward.run(subject.tensor())

    assert all(np.array_equal(outputs[role], again[role]) for role in outputs)
    forward.close()
    backward.close()


def the_same_input_gives_the_same_answer_and_another_one_another(opener: Opener, subject: Tiny) -> None:
    model = opener(subject)

    first, other, again = (model.run(subject.tensor(seed)) for seed in (0, 1, 0))

    assert all(np.array_equal(first[role], again[role]) for role in first)
    assert any(not np.array_equal(first[role], other[role]) for role in first)
    model.close()


def the_arrays_are_the_callers(opener: Opener, subject: Tiny) -> None:
    model = opener(subject)
    kept = model.run(subject.tensor())
    expected = {role: array.copy() for role, array in kept.items()}

    for array in model.run(subject.tensor(1)).values():
        array[...] = 0

    assert all(np.array_equal(kept[role], expected[role]) for role in kept)
    model.close()


def an_input_that_is_not_contiguous_is_taken(opener: Opener, subject: Tiny) -> None:
    model = opener(subject)
    turned = np.asfortranarray(subject.tensor())

    outputs = model.run(turned)

    expected = model.run(subject.tensor())
    assert all(np.array_equal(outputs[role], expected[role]) for role in outputs)
    model.close()


def a_wrong_shape_or_dtype_is_refused_and_the_next_call_works(opener: Opener, subject: Tiny) -> None:
    model = opener(subject)

    assert refuses(lambda: model.run(subject.tensor()[:, 1:]))
    assert refuses(lambda: model.run(subject.tensor()[0]))
    assert refuses(lambda: model.run(subject.tensor().astype(np.int32)))
    assert model.run(subject.tensor())
    model.close()


def it_is_closed_twice_and_runs_no_more(opener: Opener, subject: Tiny) -> None:
    model = opener(subject)

    model.close()
    model.close()

    assert refuses(lambda: model.run(subject.tensor()))


def it_names_its_accelerator(opener: Opener, subject: Tiny) -> None:
    model = opener(subject)

    assert model.accelerator in {"cpu", "edgetpu-usb", "edgetpu-pci"}
    model.close()


PROMISES = (
    outputs_come_by_role_in_the_manifests_shape_and_dtype,
    roles_do_not_depend_on_the_order_in_the_manifest,
    the_same_input_gives_the_same_answer_and_another_one_another,
    the_arrays_are_the_callers,
    an_input_that_is_not_contiguous_is_taken,
    a_wrong_shape_or_dtype_is_refused_and_the_next_call_works,
    it_is_closed_twice_and_runs_no_more,
    it_names_its_accelerator,
)


def in_process(runtime: str) -> Opener:
    return lambda subject: open_model(subject.path, subject.outputs, subject.input, runtime=runtime)


def isolated(subject: Tiny) -> Model:
    spec = ModelSpec(subject.path, subject.outputs, subject.input)
    patient = Deadlines(first=PATIENCE, each=PATIENCE)  # a busy machine must not make a healthy child late
    return open_isolated({"model": spec}, runtime="litert", deadlines=patient)["model"]


def fallback(subject: Tiny) -> Model:
    """On its accelerator, which is a child on the CPU."""
    group = Fallback(
        {"model": in_process("litert")(subject)},
        lambda: {"model": isolated(subject)},
        lambda models: models["model"].run(subject.tensor()),
    )
    group.start(PATIENCE)
    assert not group.degraded, group.reason
    return group.models["model"]


def fallen_back(subject: Tiny) -> Model:
    """On the CPU, because there is no accelerator."""

    def absent() -> dict[str, Model]:
        raise AcceleratorError("no Edge TPU answers as usb")

    group = Fallback({"model": in_process("litert")(subject)}, absent, lambda models: None)
    group.start(60)
    assert group.degraded
    return group.models["model"]


def fake(subject: Tiny) -> Model:
    return FakeModel(
        lambda tensor: {
            output.role: np.resize(tensor, output.shape).astype(output.dtype) for output in subject.outputs
        },
        input_=subject.input,
    )


if __name__ == "__main__":
    for name in NAMES:
        for promise in PROMISES:
            promise(in_process(sys.argv[1]), tiny(name))
    print(f"{len(NAMES) * len(PROMISES)} promises kept by {sys.argv[1]}")

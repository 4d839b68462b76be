"""What the isolation costs and how fast it notices: `python tests/edge/bench_isolation.py` prints two tables.

Needs nothing but the development environment. Aims: at most 0.3 ms per call, and the CPU's answer within a
second of a fault.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from oahega_edge.runtimes import open_model
from oahega_edge.runtimes.fallback import Fallback
from oahega_edge.runtimes.isolated import ModelSpec, open_isolated
from oahega_edge.runtimes.port import Model
from tiny import NAMES, Tiny, tiny

CALLS = 2000
FAULTS = ("abort@2", "exit@2", "error@2", "nan@2", "garbage@2", "hang@2", "hang-in-native-code@2", "slow@2")
FAULTY = f"file:{Path(__file__).with_name('faulty_runtime.py')}"


def spec(subject: Tiny) -> ModelSpec:
    return ModelSpec(subject.path, subject.outputs, subject.input)


def in_process(subject: Tiny) -> Model:
    return open_model(subject.path, subject.outputs, subject.input)


def seconds_per_call(model: Model, subject: Tiny) -> np.ndarray:
    tensor = subject.tensor()
    taken = np.empty(CALLS)
    for i in range(CALLS):
        started = time.perf_counter()
        model.run(tensor)
        taken[i] = time.perf_counter() - started
    return taken[CALLS // 10 :]


def overhead(name: str) -> str:
    subject = tiny(name)
    inside, outside = in_process(subject), open_isolated({"model": spec(subject)}, runtime="litert")["model"]
    direct, isolated = (seconds_per_call(model, subject) * 1000 for model in (inside, outside))
    outside.close()
    columns = [np.percentile(times, share) for share in (50, 95) for times in (direct, isolated)]
    return f"{name:20}" + "".join(f"{value:10.3f}" for value in [*columns, columns[1] - columns[0]])


def fall(fault: str) -> str:
    """Milliseconds from the call that meets the fault to its answer, and until the accelerator is back."""
    subject = tiny("tiny_emotion_float")
    now = [0.0]
    os.environ["FAULTY_RUNTIME"] = fault
    group = Fallback(
        {"model": in_process(subject)},
        lambda: {"model": open_isolated({"model": spec(subject)}, runtime=FAULTY)["model"]},
        lambda models: models["model"].run(subject.tensor()),
        clock=lambda: now[0],
    )
    group.start(30)
    model = group.models["model"]
    started = time.perf_counter()
    model.run(subject.tensor())
    noticed = time.perf_counter() - started
    assert group.degraded
    os.environ["FAULTY_RUNTIME"] = "none"
    now[0] += 5
    started = time.perf_counter()
    while group.degraded:
        model.run(subject.tensor())
    back = time.perf_counter() - started
    model.close()
    return f"{fault.partition('@')[0]:20}{noticed * 1000:10.1f}{back * 1000:10.0f}"


def main() -> None:
    print(f"ms per call over {CALLS} calls")
    print(f"{'':20}{'p50 in':>10}{'p50 out':>10}{'p95 in':>10}{'p95 out':>10}{'p50 more':>10}")
    for name in NAMES:
        print(overhead(name))
    print(
        "\nms until the same call is answered by the CPU, and (after the pause) until the accelerator is back"
    )
    for fault in FAULTS:
        print(fall(fault))


if __name__ == "__main__":
    main()

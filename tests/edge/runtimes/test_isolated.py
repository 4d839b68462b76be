"""Real children whose runtime really aborts, hangs, slows down or talks nonsense."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from children import FAULTY, PATIENT, QUICK, opened, spec
from oahega_edge.errors import AcceleratorError, BundleError
from oahega_edge.manifest import InputTensor, OutputTensor, Quantization
from oahega_edge.runtimes.isolated import Deadlines, ModelSpec, Worker, open_isolated
from processes import environment
from tiny import NAMES, tiny
from waiting import PATIENCE, wait_until

ROOT = Path(__file__).resolve().parents[3]
WORKER = ROOT / "edge/oahega_edge/runtimes/worker.py"


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("abort@2", "was ended by SIGABRT"),
        ("exit@2", "exited with 3"),
        ("hang@2", "gave no answer within 1 s"),
        ("hang-in-native-code@2", "gave no answer within 1 s"),
        ("slow@2", "gave no answer within 1 s"),
        ("nan@2", "returned values that are not numbers"),
        ("shape@2", "reports: an output of (1, 2) float32 came for (1, 3) float32"),
        ("error@2", "failed to invoke"),
        ("garbage@2", "wrote something else than messages"),
        ("not-json@2", "wrote something else than messages"),
        ("not-an-answer@2", "wrote something else than messages"),
        ("other-call@2", "answered another call than the one that was made"),
    ],
)
def test_a_child_that_fails_in_a_call_is_gone_and_the_call_says_why(monkeypatch, fault, said):
    monkeypatch.setenv("FAULTY_RUNTIME", fault)
    worker = Worker(runtime=FAULTY, deadlines=QUICK if "gave no answer" in said else PATIENT)
    subject = tiny("tiny_emotion_float")
    model = worker.open(subject.path, subject.outputs, subject.input)
    model.run(subject.tensor())

    with pytest.raises(AcceleratorError) as caught:
        model.run(subject.tensor())

    assert said in str(caught.value)
    assert wait_until(lambda: is_gone(worker.pid))
    model.close()


def is_gone(pid: int) -> bool:
    """Ended; on a busy machine it may wait a moment longer to be reaped."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def children() -> set[psutil.Process]:
    """Those that live."""
    return {child for child in psutil.Process().children() if not is_gone(child.pid)}


@pytest.mark.parametrize(
    ("fault", "first", "said"),
    [
        ("hang-at-start", 1.5, "gave no answer within 1.5 s"),
        ("hang-at-open", 1.5, "gave no answer within 1.5 s"),
        ("no-runtime", PATIENCE, "finds no TFLite runtime (No module named 'tflite_runtime'); install one"),
        ("hang@1", 1.5, "gave no answer within 1.5 s"),
        ("abort@1", PATIENCE, "was ended by SIGABRT"),
    ],
)
def test_a_child_that_fails_before_it_ever_answered_is_gone_and_says_why(monkeypatch, fault, first, said):
    monkeypatch.setenv("FAULTY_RUNTIME", fault)
    before = children()

    with pytest.raises(AcceleratorError) as caught:
        opened(runtime=FAULTY, deadlines=Deadlines(first=first, each=1.0)).run(
            tiny("tiny_emotion_float").tensor()
        )

    assert said in str(caught.value)
    assert wait_until(lambda: children() <= before)


@pytest.mark.parametrize(
    ("library", "said"),
    [
        ("libedgetpu-absent.so.1", "install the package libedgetpu1-std, or set the accelerator to cpu"),
        ("libc.so.6", "no Edge TPU answers as usb:0 (Failed to load delegate from libc.so.6 for usb:0)"),
    ],
)
@pytest.mark.shared
def test_an_edge_tpu_that_cannot_be_had_is_named_with_its_remedy(edgetpu_spec, library, said):
    worker = Worker(runtime=FAULTY, device="usb:0", deadlines=PATIENT, library=library)

    with pytest.raises(AcceleratorError) as caught:
        worker.open(edgetpu_spec.path, edgetpu_spec.outputs, edgetpu_spec.input)

    assert said in str(caught.value)


def test_the_first_call_may_take_longer(monkeypatch):
    monkeypatch.setenv("FAULTY_RUNTIME", "slow")
    model = opened(runtime=FAULTY, deadlines=QUICK)

    outputs = model.run(tiny("tiny_emotion_float").tensor())

    assert outputs["logits"].shape == (1, 3)
    model.close()


def test_after_a_failure_every_model_of_the_child_fails_at_once_with_the_reason(monkeypatch):
    monkeypatch.setenv("FAULTY_RUNTIME", "abort@1")
    models = open_isolated({name: spec(name) for name in NAMES}, runtime=FAULTY, deadlines=PATIENT)
    with pytest.raises(AcceleratorError):
        models["tiny_detector"].run(tiny("tiny_detector").tensor())

    for name in NAMES:
        with pytest.raises(AcceleratorError, match="was ended by SIGABRT"):
            models[name].run(tiny(name).tensor())
        models[name].close()


def test_a_child_that_is_killed_between_calls_is_noticed_at_the_next():
    worker = Worker(runtime="litert", deadlines=PATIENT)
    subject = tiny("tiny_emotion")
    model = worker.open(subject.path, subject.outputs, subject.input)

    os.kill(worker.pid, signal.SIGKILL)

    with pytest.raises(AcceleratorError, match="was ended by SIGKILL"):
        model.run(subject.tensor())


def test_a_stopped_child_is_noticed_and_killed():
    worker = Worker(runtime="litert", deadlines=QUICK)
    subject = tiny("tiny_emotion")
    model = worker.open(subject.path, subject.outputs, subject.input)
    model.run(subject.tensor())

    os.kill(worker.pid, signal.SIGSTOP)

    with pytest.raises(AcceleratorError, match=r"gave no answer within 1 s"):
        model.run(subject.tensor())
    assert wait_until(lambda: is_gone(worker.pid))


def test_both_models_share_one_child_and_the_last_one_closed_ends_it():
    before = children()
    models = open_isolated({name: spec(name) for name in NAMES}, runtime="litert", deadlines=PATIENT)
    started = children() - before

    for name in NAMES:
        models[name].run(tiny(name).tensor())
        assert len(started) == 1
        models[name].close()

    assert wait_until(lambda: children() <= before)


def test_a_broken_file_is_refused_before_the_child_sees_it_and_leaves_no_child(tmp_path):
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(tiny("tiny_emotion").path.read_bytes()[:3000])
    subject = tiny("tiny_emotion")
    before = children()

    with pytest.raises(BundleError, match="is not a usable TFLite file"):
        open_isolated(
            {"model": ModelSpec(broken, subject.outputs, subject.input)}, runtime="litert", deadlines=PATIENT
        )

    assert wait_until(lambda: children() <= before)


def test_an_interpreter_that_is_not_there_is_named():
    with pytest.raises(AcceleratorError, match="/opt/coral/bin/python cannot be started"):
        Worker(python=Path("/opt/coral/bin/python"))


def test_an_interpreter_that_is_something_else_is_named(tmp_path):
    other = tmp_path / "python"
    other.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        """os.write(int(sys.argv[4]), b'\\x0c\\0\\0\\0{"hello": 42}')\n"""
    )
    other.chmod(0o755)

    with pytest.raises(AcceleratorError, match="wrote something else than messages"):
        Worker(python=other, deadlines=PATIENT)


def test_failures_leave_no_descriptors_open(monkeypatch):
    monkeypatch.setenv("FAULTY_RUNTIME", "abort")
    before = psutil.Process().num_fds()

    for _ in range(3):
        model = opened(runtime=FAULTY, deadlines=PATIENT)
        with pytest.raises(AcceleratorError):
            model.run(tiny("tiny_emotion_float").tensor())
        model.close()

    assert psutil.Process().num_fds() <= before


@pytest.mark.parametrize("fault", ["none", "hang-in-native-code@2"])
def test_the_child_ends_with_the_daemon_even_when_it_hangs_in_native_code(fault):
    code = (
        "import sys, psutil\n"
        "from children import FAULTY, PATIENT, opened\n"
        "from tiny import tiny\n"
        "model = opened(runtime=FAULTY, deadlines=PATIENT)\n"
        "model.run(tiny('tiny_emotion_float').tensor())\n"
        "print(psutil.Process().children()[0].pid, flush=True)\n"
        "model.run(tiny('tiny_emotion_float').tensor())\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=environment(FAULTY_RUNTIME=fault),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as daemon:
        child = psutil.Process(int(daemon.stdout.readline()))

        daemon.kill()

    assert psutil.wait_procs([child], timeout=PATIENCE)[1] == []


def test_the_child_gets_neither_secrets_nor_the_watchdog(monkeypatch):
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY"):
        monkeypatch.setenv(name, "1")
    worker = Worker(runtime="litert", deadlines=PATIENT)

    given = psutil.Process(worker.pid).environ()

    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY"} & set(given)
    worker.close()


@pytest.mark.skipif(
    "OAHEGA_TFLITE_PYTHON" not in os.environ, reason="no environment with tflite-runtime named"
)
@pytest.mark.parametrize("name", NAMES)
def test_a_worker_of_another_environment_with_numpy_1_answers_as_this_one_does(name):
    subject = tiny(name)
    here = opened(name, runtime="litert", deadlines=PATIENT)
    there = opened(name, runtime="tflite", python=Path(os.environ["OAHEGA_TFLITE_PYTHON"]), deadlines=PATIENT)

    expected, answer = here.run(subject.tensor()), there.run(subject.tensor())

    for output in subject.outputs:
        allowed = 1e-5 if output.dtype == "float32" else 3
        difference = answer[output.role].astype(float) - expected[output.role].astype(float)
        assert np.abs(difference).max() <= allowed
    here.close()
    there.close()


def test_the_worker_needs_nothing_of_the_package(tmp_path):
    """It runs from a copy of its two files, in an interpreter that cannot import the package."""
    source = ROOT / "edge/oahega_edge/runtimes"
    for name in ("worker.py", "interpreter.py"):
        (tmp_path / name).write_bytes((source / name).read_bytes())
    code = (
        "import runpy, sys\n"
        "class Without:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'oahega_edge', 'pydantic', 'cv2'}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Without())\n"
        f"worker = runpy.run_path({str(tmp_path / 'worker.py')!r})\n"
        "print(worker['_about'](worker['_interpreters']().load_runtime('litert'))['runtime'])\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    assert done.stdout.strip() == "ai-edge-litert", done.stderr


@pytest.fixture
def edgetpu_spec(shared):
    """The real compiled file of the shared data."""
    path = shared / "data/edgetpu/mobilenet_v1_0.25_128_quant_edgetpu.tflite"
    pixels, scores = Quantization(scale=1 / 128, zero_point=128), Quantization(scale=1 / 256, zero_point=0)
    given = InputTensor(
        width=128,
        height=128,
        colour="rgb",
        dtype="uint8",
        quantization=pixels,
        pixel_scale=1 / 128,
        pixel_offset=-1,
    )
    answer = OutputTensor(
        role="scores",
        tensor="MobilenetV1/Predictions/Reshape_1",
        shape=(1, 1001),
        dtype="uint8",
        quantization=scores,
    )
    return ModelSpec(path, (answer,), given)


@pytest.mark.parametrize("orders", [0, 2], ids=["while it waits", "while it answers"])
def test_a_worker_whose_answer_nobody_reads_ends_without_a_word(orders: int) -> None:
    """As when the daemon gave it up at a deadline: closing what was not read resets the stream."""
    ours, theirs = socket.socketpair()
    lifeline, kept = os.pipe()
    command = [sys.executable, "-I", WORKER, "auto", *map(str, (theirs.fileno(), lifeline, lifeline))]
    with subprocess.Popen(
        command, pass_fds=(theirs.fileno(), lifeline), stderr=subprocess.PIPE, text=True
    ) as process:
        theirs.close()
        os.close(lifeline)
        assert ours.recv(1, socket.MSG_PEEK)  # its greeting lies there
        body = b'{"run": 0}'
        ours.sendall(orders * (struct.pack("<I", len(body)) + body))
        ours.close()
        assert process.stderr is not None
        said = process.stderr.read()
        code = process.wait(PATIENCE)
    os.close(kept)

    assert "Traceback" not in said
    assert code == 0

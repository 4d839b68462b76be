"""The `Model` port over all its adapters, and what `open_model` refuses."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from oahega_edge.errors import BundleError, RuntimeMissing, SettingsError
from oahega_edge.manifest import Quantization
from oahega_edge.runtimes import open_model
from runtime_contract import PROMISES, Opener, fake, fallback, fallen_back, in_process, isolated
from tiny import NAMES, Tiny, tiny

ROOT = Path(__file__).resolve().parents[3]

ADAPTERS: dict[str, Opener] = {
    "fake": fake,
    "litert": in_process("litert"),
    "tflite": in_process("tflite"),
    "isolated": isolated,
    "fallback": fallback,
    "fallen-back": fallen_back,
}


def runs_here(adapter: str) -> bool:
    return adapter != "tflite" or importlib.util.find_spec("tflite_runtime") is not None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
@pytest.mark.parametrize("adapter", [adapter for adapter in ADAPTERS if runs_here(adapter)])
def test_promise(adapter, promise, name):
    promise(ADAPTERS[adapter], tiny(name))


@pytest.mark.skipif(
    "OAHEGA_TFLITE_PYTHON" not in os.environ, reason="no environment with tflite-runtime named"
)
def test_tflite_runtime_keeps_every_promise_in_its_own_environment():
    command = [os.environ["OAHEGA_TFLITE_PYTHON"], str(ROOT / "tests/edge/runtime_contract.py"), "tflite"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'edge'}:{ROOT / 'tests/edge'}"}

    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    assert "promises kept by tflite" in done.stdout


def opened(subject: Tiny, **changed):
    arguments = {"path": subject.path, "outputs": subject.outputs, "input_": subject.input} | changed
    return open_model(**arguments)


def refusal(subject: Tiny, **changed) -> str:
    with pytest.raises(BundleError) as caught:
        opened(subject, **changed)
    return str(caught.value)


def test_outputs_may_be_named_by_tensor_instead_of_signature():
    subject = tiny("tiny_detector")
    names = {"boxes": "StatefulPartitionedCall_1:0", "scores": "StatefulPartitionedCall_1:1"}
    renamed = tuple(output.model_copy(update={"tensor": names[output.role]}) for output in subject.outputs)

    by_tensor = opened(subject, outputs=renamed).run(subject.tensor())

    by_signature = opened(subject).run(subject.tensor())
    assert all((by_tensor[role] == by_signature[role]).all() for role in by_signature)


@pytest.mark.parametrize(
    ("update", "said"),
    [
        ({"shape": (1, 4)}, "output logits has shape (1, 3) in the file, (1, 4) in the manifest"),
        ({"dtype": "uint8"}, "output logits is int8 in the file, uint8 in the manifest"),
        ({"quantization": Quantization(scale=0.5, zero_point=2)}, "output logits has scale 5.8"),
        ({"tensor": "emotions"}, "output 'emotions' is not in the file, which has logits"),
    ],
)
def test_an_output_that_disagrees_with_the_manifest_is_refused(update, said):
    subject = tiny("tiny_emotion")
    wrong = tuple(output.model_copy(update=update) for output in subject.outputs)

    text = refusal(subject, outputs=wrong)

    assert said in text


def test_a_zero_point_that_disagrees_is_refused():
    subject = tiny("tiny_emotion")
    (output,) = subject.outputs
    quantization = output.quantization.model_copy(update={"zero_point": 7})

    text = refusal(subject, outputs=(output.model_copy(update={"quantization": quantization}),))

    assert "output logits has zero point 2 in the file, 7 in the manifest" in text


@pytest.mark.parametrize(
    ("update", "said"),
    [
        ({"width": 64}, "input has shape (1, 48, 48, 1) in the file, (1, 48, 64, 1) in the manifest"),
        ({"colour": "rgb"}, "(1, 48, 48, 3) in the manifest"),
        ({"dtype": "uint8"}, "input is int8 in the file, uint8 in the manifest"),
        ({"quantization": Quantization(scale=1.0, zero_point=0)}, "input has scale 0.0078"),
    ],
)
def test_an_input_that_disagrees_with_the_manifest_is_refused(update, said):
    subject = tiny("tiny_emotion")

    text = refusal(subject, input_=subject.input.model_copy(update=update))

    assert said in text


def test_all_disagreements_are_told_at_once():
    subject = tiny("tiny_emotion")
    wrong = tuple(output.model_copy(update={"shape": (1, 4)}) for output in subject.outputs)

    text = refusal(subject, outputs=wrong, input_=subject.input.model_copy(update={"height": 32}))

    assert "input has shape" in text
    assert "output logits has shape" in text


def test_two_roles_on_one_tensor_are_refused():
    subject = tiny("tiny_emotion")
    (output,) = subject.outputs

    text = refusal(subject, outputs=(output, output.model_copy(update={"role": "again"})))

    assert "two roles name the same tensor" in text


@pytest.mark.shared
def test_a_file_for_the_edge_tpu_is_refused_on_the_cpu_with_a_remedy(shared):
    compiled = shared / "data/edgetpu/mobilenet_v1_0.25_128_quant_edgetpu.tflite"

    text = refusal(tiny("tiny_emotion"), path=compiled)

    assert "is compiled for the Edge TPU and the accelerator is cpu; use the bundle's CPU file" in text


def test_a_cpu_file_is_refused_on_the_edge_tpu():
    text = refusal(tiny("tiny_emotion"), accelerator="usb")

    assert "is not compiled for the Edge TPU" in text


@pytest.mark.parametrize(
    "changed", [{"runtime": "pytorch"}, {"accelerator": "gpu"}, {"accelerator": "usb:x"}]
)
def test_an_unknown_runtime_or_accelerator_is_a_settings_error(changed):
    with pytest.raises(SettingsError, match="is unknown; choose"):
        opened(tiny("tiny_emotion"), **changed)


def test_without_any_runtime_the_remedy_is_named():
    """Without site-packages there is no runtime; numpy and pydantic are put back by hand."""
    code = (
        "import sys\n"
        "class Without:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'ai_edge_litert', 'tflite_runtime'}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}')\n"
        "sys.meta_path.insert(0, Without())\n"
        "from tiny import tiny\n"
        "from oahega_edge.errors import RuntimeMissing\n"
        "from oahega_edge.runtimes import open_model\n"
        "subject = tiny('tiny_emotion')\n"
        "try:\n"
        "    open_model(subject.path, subject.outputs, subject.input)\n"
        "except RuntimeMissing as error:\n"
        "    print(error)\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'edge'}:{ROOT / 'tests/edge'}"}

    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)

    assert "pip install 'oahega-edge[litert]'" in done.stdout, done.stderr


@pytest.mark.skipif(runs_here("tflite"), reason="tflite-runtime is installed here")
def test_a_runtime_that_is_asked_for_and_absent_is_named():
    with pytest.raises(RuntimeMissing, match="the runtime tflite cannot be imported"):
        opened(tiny("tiny_emotion"), runtime="tflite")

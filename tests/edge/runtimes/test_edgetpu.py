"""What can be known about a Coral without one: choosing it, its versions, and every way not to get it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from oahega_edge.errors import AcceleratorError
from oahega_edge.runtimes import checked_wiring
from oahega_edge.runtimes.edgetpu import check_pair, find_edgetpu, installed_libedgetpu, open_edgetpu
from tiny import tiny


def usb_device(sys_tree: Path, vendor: str, product: str) -> None:
    device = sys_tree / "bus/usb/devices/1-1.4"
    device.mkdir(parents=True)
    (device / "idVendor").write_text(vendor + "\n")
    (device / "idProduct").write_text(product + "\n")


@pytest.mark.parametrize(
    ("vendor", "product", "found"),
    [("1a6e", "089a", "usb"), ("18d1", "9302", "usb"), ("18d1", "4ee7", None), ("046d", "0825", None)],
)
def test_a_coral_on_usb_is_found_before_and_after_its_first_use(tmp_path, vendor, product, found):
    usb_device(tmp_path / "sys", vendor, product)

    device = find_edgetpu(tmp_path / "sys", tmp_path / "dev")

    assert device == found


def test_a_coral_on_pcie_is_preferred(tmp_path):
    usb_device(tmp_path / "sys", "18d1", "9302")
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/apex_0").touch()

    device = find_edgetpu(tmp_path / "sys", tmp_path / "dev")

    assert device == "pci"


def test_the_version_of_libedgetpu_is_read_from_the_package_database(tmp_path):
    status = tmp_path / "status"
    status.write_text(
        "Package: libedgetpu-dev\nStatus: install ok installed\nVersion: 15.0\n\n"
        "Package: libedgetpu1-max\nStatus: deinstall ok config-files\nVersion: 14.1\n\n"
        "Package: libedgetpu1-std\nStatus: install ok installed\nSection: misc\nVersion: 16.0tf2.17.1-1\n"
    )

    assert installed_libedgetpu(status) == "16.0tf2.17.1-1"
    assert installed_libedgetpu(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("version", "libedgetpu"), [("2.17.1", "16.0tf2.17.1-1"), ("2.5.0.post1", "16.0"), ("2.11.1", "15.0")]
)
def test_pairs_that_are_known_to_work_raise_no_doubt(version, libedgetpu):
    assert check_pair("tflite-runtime", version, libedgetpu) is None


@pytest.mark.parametrize(
    ("version", "libedgetpu", "said"),
    [
        ("2.14.0", "16.0", "tflite-runtime 2.14.0 crashes with libedgetpu 16.0; install tflite-runtime 2.11"),
        (
            "2.14.0",
            "16.0tf2.17.1-1",
            "libedgetpu 16.0tf2.17.1-1 is built for TensorFlow 2.17, tflite-runtime is",
        ),
    ],
)
def test_pairs_that_are_known_to_crash_are_refused(version, libedgetpu, said):
    with pytest.raises(AcceleratorError) as caught:
        check_pair("tflite-runtime", version, libedgetpu)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("package", "version", "libedgetpu"),
    [("ai-edge-litert", "2.3.0", "16.0tf2.19.1-1"), ("tflite-runtime", "2.17.1", None)],
)
def test_pairs_that_nobody_knows_are_tried_with_a_warning(package, version, libedgetpu):
    assert "is not a pair that is known to work" in check_pair(package, version, libedgetpu)


def opened(library: str):
    subject = tiny("tiny_emotion")
    content = subject.path.read_bytes()
    wiring = checked_wiring(subject.path, content, subject.outputs, subject.input, "cpu")
    return open_edgetpu(content, wiring, "usb:0", runtime="litert", library=library)


def test_a_library_that_is_not_installed_is_named_with_its_package():
    with pytest.raises(AcceleratorError) as caught:
        opened("libedgetpu-absent.so.1")

    assert "libedgetpu-absent.so.1 cannot be loaded" in str(caught.value)
    assert "install the package libedgetpu1-std" in str(caught.value)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_library_that_finds_no_device_is_explained(tmp_path):
    """A real delegate library that does what libedgetpu does without a Coral: it creates nothing."""
    library = tmp_path / "libedgetpu.so.1"
    source = (
        "#include <stddef.h>\n"
        "void *tflite_plugin_create_delegate(char **keys, char **values, size_t count,\n"
        "                                    void (*report)(const char *)) { return NULL; }\n"
        "void tflite_plugin_destroy_delegate(void *delegate) {}\n"
    )
    command = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(library)]
    subprocess.run(command, input=source, text=True, check=True)

    with pytest.raises(AcceleratorError) as caught:
        opened(str(library))

    assert "no Edge TPU answers as usb:0" in str(caught.value)
    assert "check cable and power supply" in str(caught.value)


RUNTIME = "from ai_edge_litert.interpreter import Interpreter\n"
CORAL = (
    "from tflite_runtime.interpreter import Interpreter\n"
    "def make_interpreter(content, device=None):\n"
    "    print('pycoral opens', device)\n"
    "    return Interpreter(model_content=content)\n"
)


@pytest.mark.parametrize(
    ("module", "text", "said"),
    [
        ("pycoral/utils/edgetpu.py", CORAL, "pycoral opens usb:0"),
        ("pycoral/__init__.py", "", "libedgetpu.so.1 cannot be loaded"),
    ],
    ids=["googles", "the-indexs"],
)
def test_pycoral_is_used_where_it_is_googles_and_not_mistaken_for_the_other(tmp_path, module, text, said):
    for name, content in {"tflite_runtime/interpreter.py": RUNTIME, module: text}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    code = (
        "from tiny import tiny\n"
        "from oahega_edge.runtimes import checked_wiring\n"
        "from oahega_edge.runtimes.edgetpu import open_edgetpu\n"
        "one = tiny('tiny_emotion')\n"
        "content = one.path.read_bytes()\n"
        "wiring = checked_wiring(one.path, content, one.outputs, one.input, 'cpu')\n"
        "try:\n"
        "    print(open_edgetpu(content, wiring, 'usb:0').run(one.tensor()))\n"
        "except Exception as error:\n"
        "    print(error)\n"
    )
    tests = Path(__file__).resolve().parents[1]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{tests}"}

    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)

    assert said in done.stdout, done.stderr

"""Coral's Edge TPU: through pycoral where Google's is installed, else through TFLite's delegate.

Not tested on hardware. libedgetpu ends its process on USB errors, so the daemon uses this through
isolated.py; in this process it serves `bench` and the trainer.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path

from oahega_edge.errors import AcceleratorError
from oahega_edge.runtimes.cpu import first_line
from oahega_edge.runtimes.inprocess import InProcessModel
from oahega_edge.runtimes.interpreter import EDGETPU_LIBRARY, Session, load_runtime
from oahega_edge.runtimes.wiring import Wiring

log = logging.getLogger(__name__)

_USB_IDS = {("1a6e", "089a"), ("18d1", "9302")}
"""Before and after the first use: the firmware that libedgetpu uploads makes it another device."""

_LAST_FOR_GOOGLES = (2, 11)
"""tflite-runtime above it crashes with Google's own libedgetpu (google-coral/edgetpu issue 812)."""


def open_edgetpu(
    content: bytes, wiring: Wiring, device: str, *, runtime: str = "auto", library: str = EDGETPU_LIBRARY
) -> InProcessModel:
    """Open on `device` (usb, pci, usb:0, pci:1); AcceleratorError with the remedy when that fails."""
    try:
        loaded = load_runtime(runtime)
    except ImportError as error:
        raise AcceleratorError(
            f"the Edge TPU needs a TFLite runtime and none can be imported ({error}); "
            "pip install 'oahega-edge[tflite]' or 'oahega-edge[litert]'"
        ) from None
    if doubt := check_pair(loaded.package, loaded.version, installed_libedgetpu()):
        log.warning("%s", doubt)
    try:
        interpreter = loaded.open(content, device=device, library=library)
        session = Session(interpreter, wiring.input.index, wiring.output_indices)
    except OSError as error:
        raise AcceleratorError(without_library(library, error)) from None
    except (ValueError, RuntimeError) as error:
        raise AcceleratorError(without_device(device, error)) from None
    return InProcessModel(session, wiring, accelerator_name(device))


def accelerator_name(device: str) -> str:
    """What events call it: `cpu`, `edgetpu-usb` or `edgetpu-pci`."""
    return "cpu" if device == "cpu" else f"edgetpu-{device.partition(':')[0]}"


def without_library(library: str, error: Exception) -> str:
    """The sentence for a libedgetpu that cannot be loaded."""
    return (
        f"{library} cannot be loaded ({first_line(error)}); install the package libedgetpu1-std, "
        "or set the accelerator to cpu"
    )


def without_device(device: str, error: Exception) -> str:
    """The sentence for a libedgetpu that finds no device or cannot run the model on it."""
    return (
        f"no Edge TPU answers as {device} ({first_line(error)}); check cable and power supply (900 mA), "
        "the udev rule and the group plugdev (usb) or apex (pci), and that no other process uses it"
    )


def find_edgetpu(sys: Path = Path("/sys"), dev: Path = Path("/dev")) -> str | None:
    """`pci` or `usb` where such a Coral is attached, else None; opens nothing."""
    if any(dev.glob("apex_*")):
        return "pci"
    for vendor in sys.glob("bus/usb/devices/*/idVendor"):
        product = vendor.with_name("idProduct")
        if product.exists() and (vendor.read_text().strip(), product.read_text().strip()) in _USB_IDS:
            return "usb"
    return None


def installed_libedgetpu(status: Path = Path("/var/lib/dpkg/status")) -> str | None:
    """Version of the Debian package libedgetpu1-std or -max, None where there is none."""
    try:
        text = status.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for paragraph in text.split("\n\n"):
        if re.match(r"Package: libedgetpu1-(std|max)\n", paragraph) and "\nStatus: install ok" in paragraph:
            found = re.search(r"^Version: (\S+)", paragraph, re.MULTILINE)
            return found[1] if found else None
    return None


def check_pair(package: str, version: str, libedgetpu: str | None) -> str | None:
    """Whether runtime and libedgetpu belong together: None yes, a sentence where nobody knows.

    AcceleratorError for pairs that are known to crash: both must come from the same TensorFlow.
    """
    if libedgetpu is None or package != "tflite-runtime" or not (runtime := _major_minor(version)):
        return (
            f"{package} {version} with libedgetpu {libedgetpu or 'of unknown version'} is not a pair that is "
            "known to work; known: tflite-runtime 2.17 with libedgetpu1-std 16.0tf2.17.1"
        )
    built_for = re.search(r"tf(\d+\.\d+)", libedgetpu, re.IGNORECASE)
    if built_for is None and runtime > _LAST_FOR_GOOGLES:
        raise AcceleratorError(
            f"tflite-runtime {version} crashes with libedgetpu {libedgetpu}; install tflite-runtime 2.11 or "
            f"older, or a libedgetpu1-std whose version ends in tf{runtime[0]}.{runtime[1]}"
        )
    if built_for is not None and _major_minor(built_for[1]) != runtime:
        raise AcceleratorError(
            f"libedgetpu {libedgetpu} is built for TensorFlow {built_for[1]}, tflite-runtime is {version}; "
            "such pairs crash, install two of one version"
        )
    return None


def _major_minor(version: str) -> tuple[int, int] | None:
    found = re.match(r"(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None

"""Opens a model in this process. Each runtime is one file here; `port.py` is what they share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from oahega_edge.errors import BundleError, RuntimeMissing, SettingsError

if TYPE_CHECKING:
    from oahega_edge.manifest import InputTensor, OutputTensor
    from oahega_edge.runtimes.port import Model
    from oahega_edge.runtimes.wiring import Wiring


def open_model(
    path: Path,
    outputs: tuple[OutputTensor, ...],
    input_: InputTensor,
    *,
    content: bytes | None = None,
    runtime: str = "auto",
    threads: int = 1,
    accelerator: str = "cpu",
) -> Model:
    """Open one file of a bundle in this process; `content`: what it holds, where that was read already.

    `runtime`: auto (LiteRT, else tflite-runtime), litert or tflite. `accelerator`: cpu, usb, pci, or with
    the number of the device, usb:0. Raises BundleError where the file is broken, disagrees with the
    manifest or is compiled for something else; RuntimeMissing; AcceleratorError where there is none.
    """
    from oahega_edge.runtimes.tflite_file import read_tflite

    if content is None:
        content = read_tflite(path)
    wiring = checked_wiring(path, content, outputs, input_, accelerator)
    if accelerator != "cpu":
        from oahega_edge.runtimes.edgetpu import open_edgetpu

        return open_edgetpu(content, wiring, accelerator, runtime=runtime)
    return _open_cpu(path, content, wiring, runtime, threads)


def checked_wiring(
    path: Path, content: bytes, outputs: tuple[OutputTensor, ...], input_: InputTensor, accelerator: str
) -> Wiring:
    """The file's tensors by role, once content, manifest and accelerator are known to belong together."""
    from oahega_edge.runtimes.tflite_file import tflite_facts
    from oahega_edge.runtimes.wiring import wire

    facts = tflite_facts(path, content)
    _check_target(path, facts.compiled_for_edgetpu, accelerator)
    return wire(path, facts, input_, outputs)


def _check_target(path: Path, for_edgetpu: bool, accelerator: str) -> None:
    if not re.fullmatch(r"cpu|(usb|pci)(:\d+)?", accelerator):
        raise SettingsError(f"accelerator {accelerator!r} is unknown; choose cpu, usb, pci or e.g. usb:0")
    if for_edgetpu and accelerator == "cpu":
        raise BundleError(
            f"model {path} is compiled for the Edge TPU and the accelerator is cpu; "
            "use the bundle's CPU file, or attach a Coral and set the accelerator to usb or pci"
        )
    if not for_edgetpu and accelerator != "cpu":
        raise BundleError(
            f"model {path} is not compiled for the Edge TPU and the accelerator is {accelerator}; "
            "use the bundle's *_edgetpu.tflite, or set the accelerator to cpu"
        )


def _open_cpu(path: Path, content: bytes, wiring: Wiring, runtime: str, threads: int) -> Model:
    match runtime:
        case "litert":
            from oahega_edge.runtimes.litert import open_litert

            return open_litert(path, content, wiring, threads)
        case "tflite":
            from oahega_edge.runtimes.tflite import open_tflite

            return open_tflite(path, content, wiring, threads)
        case "auto":
            return _open_first(path, content, wiring, threads)
        case _:
            raise SettingsError(f"runtime {runtime!r} is unknown; choose auto, litert or tflite")


def _open_first(path: Path, content: bytes, wiring: Wiring, threads: int) -> Model:
    reasons = []
    for runtime in ("litert", "tflite"):
        try:
            return _open_cpu(path, content, wiring, runtime, threads)
        except RuntimeMissing as missing:
            reasons.append(str(missing))
    raise RuntimeMissing(
        f"no TFLite runtime works here; pip install 'oahega-edge[litert]' ({'; '.join(reasons)})"
    )

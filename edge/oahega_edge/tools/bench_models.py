"""Times each model of a bundle alone, on this machine (paper, figure 9); `build report` draws the files."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from oahega_edge.bundles.load import Bundle
from oahega_edge.chain.preprocess import Quantizer, golden_pixels
from oahega_edge.errors import AcceleratorError
from oahega_edge.manifest import DetectorEntry, EmotionEntry, ModelFile
from oahega_edge.runtimes import open_model
from oahega_edge.runtimes.port import Model

WARM_UP = 10
"""Invocations that are not counted: the first ones plan memory, and load parameters onto a TPU."""
DEVICE_TREE = Path("/proc/device-tree/model")
CPUINFO = Path("/proc/cpuinfo")
INT8_INSTRUCTIONS = {
    "asimddp": "dot product",
    "i8mm": "i8mm",
    "avx2": "AVX2",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "amx_int8": "AMX",
}
"""As /proc/cpuinfo names them. Cores with AVX2 alone or none of these (Cortex-A53, A72) run plain
int8 kernels, on which one multiply-add costs two to four times as much."""
PLAIN = frozenset({"AVX2"})


@dataclass(frozen=True, slots=True)
class ModelTimes:
    """One model in one configuration, milliseconds per invocation."""

    model: str
    """detector or emotion."""
    sha256: str
    accelerator: str
    threads: int
    p50_ms: float
    p95_ms: float
    runs: int


def time_models(bundle: Bundle, most_threads: int, accelerator: str, runs: int) -> Iterator[ModelTimes]:
    """Every model with 1..`most_threads` threads on the CPU, then compiled files on `accelerator`.

    `accelerator` cpu leaves the second part out; an absent one raises AcceleratorError.
    """
    entries: dict[str, DetectorEntry | EmotionEntry] = {
        "detector": bundle.manifest.detector,
        "emotion": bundle.manifest.emotion,
    }
    for name, entry in entries.items():
        for threads in range(1, most_threads + 1):
            yield _timed(bundle, name, entry, entry.cpu, "cpu", threads, runs)
        if accelerator != "cpu":
            if entry.edgetpu is None:
                raise AcceleratorError(
                    f"bundle {bundle.identity} holds no compiled {name}; "
                    "compile it, or leave --accelerator out"
                )
            yield _timed(bundle, name, entry, entry.edgetpu, accelerator, 1, runs)


def _timed(
    bundle: Bundle,
    name: str,
    entry: DetectorEntry | EmotionEntry,
    file: ModelFile,
    accelerator: str,
    threads: int,
    runs: int,
) -> ModelTimes:
    model = open_model(
        bundle.file(file),
        entry.outputs,
        entry.input,
        content=bundle.content(file),
        threads=threads,
        accelerator=accelerator,
    )
    try:
        tensor = Quantizer(entry.input)(golden_pixels(entry.input, entry.golden.seed))
        milliseconds = list(_invocations(model, tensor, runs))
    finally:
        model.close()
    low, high = np.percentile(milliseconds, (50, 95))
    return ModelTimes(
        name, file.sha256, model.accelerator, threads, round(float(low), 4), round(float(high), 4), runs
    )


def _invocations(model: Model, tensor: Any, runs: int) -> Iterator[float]:
    for _ in range(WARM_UP):
        model.run(tensor)
    for _ in range(runs):
        start = time.perf_counter()
        model.run(tensor)
        yield (time.perf_counter() - start) * 1e3


def described(bundle: Bundle, times: Sequence[ModelTimes], release: str, device: str = "") -> dict[str, Any]:
    """The file that `python -m oahega_build report --devices` reads."""
    return {
        "device": device or device_name(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "int8_instructions": (instructions := int8_instructions()),
        "fast_kernels": None if instructions is None else bool(fast(instructions)),
        "release": release,
        "bundle": bundle.identity,
        "bundle_sha256": bundle.sha256,
        "models": [asdict(row) for row in times],
    }


def device_name() -> str:
    """The board's own name where the kernel knows it (Raspberry Pi, Coral), else the processor's kind."""
    if DEVICE_TREE.is_file():
        return DEVICE_TREE.read_text().rstrip("\0\n")
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"


def int8_instructions(cpuinfo: Path = CPUINFO) -> list[str] | None:
    """Those of INT8_INSTRUCTIONS that the processor has; None where the kernel does not tell."""
    if not cpuinfo.is_file():
        return None
    lines = cpuinfo.read_text().splitlines()
    words = {
        word for line in lines if line.lower().startswith(("flags", "features")) for word in line.split()
    }
    return [name for flag, name in INT8_INSTRUCTIONS.items() if flag in words] if words else None


def fast(instructions: Sequence[str]) -> list[str]:
    """Those for which XNNPACK has fast int8 kernels."""
    return [name for name in instructions if name not in PLAIN]


def kernels(instructions: Sequence[str] | None) -> str:
    """Which int8 kernels the times above are of, and how to get times of the others.

    XNNPACK takes the best kernels that the processor can run and has no setting for it. LiteRT without it
    runs other kernels than a plain processor would. So one processor gives times of one kind.
    """
    if instructions is None:
        return "The kernel does not tell which int8 instructions the processor has."
    if fast(instructions):
        return (
            f"Fast int8 kernels: the processor has {', '.join(fast(instructions))}. They cannot be switched "
            "off; for times on plain kernels run this on a processor without them (Raspberry Pi 3 or 4)."
        )
    return (
        f"Plain int8 kernels: the processor has {'AVX2 alone' if instructions else 'no int8 instructions'}. "
        "Run this on a processor with dot products (Raspberry Pi 5, AVX-512 VNNI) for times on fast kernels."
    )


def as_table(times: Sequence[ModelTimes]) -> str:
    """For people."""
    lines = [f"{'model':<10}{'on':<8}{'threads':>8}{'p50 ms':>9}{'p95 ms':>9}"]
    for row in times:
        lines.append(
            f"{row.model:<10}{row.accelerator:<8}{row.threads:>8}{row.p50_ms:>9.3f}{row.p95_ms:>9.3f}"
        )
    return "\n".join(lines)

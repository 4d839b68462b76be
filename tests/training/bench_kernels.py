"""Prints the time of the embedded models beside their rivals, on this processor and as if it had AVX2 alone.

Run it as: python tests/training/bench_kernels.py [folder of a bundle]...
The second half needs x86-64 with "cpuid_fault" in /proc/cpuinfo, Linux and gcc (`plain_kernels.c`). Each line
is one run in which the files take turns, on one thread.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from oahega_build.models.interpreter import invocation_times
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
RIVALS = {
    "detector": SHARED / "teachers" / "coco_ssd_mobilenet_v1" / "detect.tflite",
    "emotion": SHARED / "peers" / "oahega_authors" / "emotions.tflite",
}
ROUNDS = {"detector": 200, "emotion": 2000}
HIDING = Path(__file__).with_name("plain_kernels.c")


def figures(folders: list[Path]) -> dict[str, dict[str, float]]:
    """Lower quartiles in ms: kind -> bundle or `rival` -> time."""
    times: dict[str, dict[str, float]] = {}
    for kind, rival in RIVALS.items():
        files = {"rival": rival}
        for folder in folders:
            bundle = load_bundle(folder)
            files[bundle.identity] = bundle.file(getattr(bundle.manifest, kind).cpu)
        taken = invocation_times(files, ROUNDS[kind])
        times[kind] = {name: float(np.percentile(values, 25)) for name, values in taken.items()}
    return times


def figures_on_plain_kernels(folders: list[Path]) -> dict[str, dict[str, float]]:
    """The same in a process that sees AVX2 alone. Raises CalledProcessError where that cannot be."""
    with tempfile.TemporaryDirectory() as scratch:
        hiding = Path(scratch) / "plain_kernels.so"
        subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", hiding, HIDING], check=True)
        command = [sys.executable, __file__, "--json", *map(str, folders)]
        environment = {**os.environ, "LD_PRELOAD": str(hiding)}
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    found: dict[str, dict[str, float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def show(kernels: str, times: dict[str, dict[str, float]]) -> None:
    """A line for each file."""
    for kind, of in times.items():
        for name, time in of.items():
            print(f"{kernels:<16}{kind:<10}{name:<28}{time:>9.3f} ms{time / of['rival']:>8.3f}", flush=True)


def main() -> None:
    """Both halves; `--json` prints the first one for the process that started this."""
    given = sys.argv[1:]
    as_json = given[:1] == ["--json"]
    folders = [Path(each) for each in given[as_json:]] or [DEFAULT_BUNDLE]
    if as_json:
        print(json.dumps(figures(folders)))
        return
    show("this processor", figures(folders))
    show("AVX2 alone", figures_on_plain_kernels(folders))


if __name__ == "__main__":
    main()

"""`bench --models`: a file of times per model, threads and accelerator."""

from __future__ import annotations

from pathlib import Path

import pytest

from mini_bundle import make_bundle
from oahega_edge.bundles.load import load_bundle
from oahega_edge.errors import AcceleratorError
from oahega_edge.tools.bench_models import as_table, described, int8_instructions, kernels, time_models


def test_every_model_is_timed_with_each_number_of_threads(tmp_path: Path) -> None:
    bundle = load_bundle(make_bundle(tmp_path / "bundle"))

    times = list(time_models(bundle, 2, "cpu", runs=3))

    assert [(t.model, t.threads) for t in times] == [
        ("detector", 1),
        ("detector", 2),
        ("emotion", 1),
        ("emotion", 2),
    ]
    assert all(0 < t.p50_ms <= t.p95_ms for t in times)
    assert times[0].sha256 == bundle.manifest.detector.cpu.sha256


def test_the_file_says_on_what_and_of_which_bundle(tmp_path: Path) -> None:
    bundle = load_bundle(make_bundle(tmp_path / "bundle"))
    times = list(time_models(bundle, 1, "cpu", runs=2))

    file = described(bundle, times, "1.2.3", device="a kiosk")

    assert (file["device"], file["bundle_sha256"], file["release"]) == ("a kiosk", bundle.sha256, "1.2.3")
    assert [row["model"] for row in file["models"]] == ["detector", "emotion"]
    assert file["fast_kernels"] in (True, False, None)
    assert len(as_table(times).splitlines()) == 3


def test_an_accelerator_without_a_compiled_model_is_named(tmp_path: Path) -> None:
    bundle = load_bundle(make_bundle(tmp_path / "bundle"))

    with pytest.raises(AcceleratorError, match="compiled detector"):
        list(time_models(bundle, 1, "usb", runs=1))


@pytest.mark.parametrize(
    ("cpuinfo", "found", "said"),
    [
        ("flags\t\t: fpu avx2 fma\n", ["AVX2"], "Plain int8 kernels: the processor has AVX2 alone. Run this"),
        (
            "flags : avx2 avx512_vnni amx_int8\n",
            ["AVX2", "AVX-512 VNNI", "AMX"],
            "AVX-512 VNNI, AMX. They",
        ),
        ("Features\t: fp asimd crc32\n", [], "no int8 instructions. Run this"),
        ("Features\t: fp asimd asimddp i8mm\n", ["dot product", "i8mm"], "dot product, i8mm. They cannot"),
        ("processor : 0\n", None, "does not tell"),
    ],
)
def test_it_says_which_int8_instructions_the_processor_has(
    cpuinfo: str, found: list[str] | None, said: str, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)

    instructions = int8_instructions(tmp_path / "cpuinfo")

    assert instructions == found
    assert said in kernels(instructions)

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from oahega_build.errors import DataError
from oahega_build.models.edgetpu import ON_CHIP_BYTES, CompileError, check, compile_together, fit_together

pytestmark = pytest.mark.training


@pytest.mark.shared
def test_the_check_agrees_with_a_file_that_was_compiled(shared: Path) -> None:
    for_cpu = check(shared / "data/edgetpu/mobilenet_v1_0.25_128_quant.tflite")
    compiled = check(shared / "data/edgetpu/mobilenet_v1_0.25_128_quant_edgetpu.tflite")

    # Google's compiler made one custom operator of all of them.
    assert for_cpu.mapped == len(for_cpu.verdicts) == 31
    assert compiled.compiled
    assert len(compiled.verdicts) == 1


@pytest.mark.shared
def test_post_processing_stays_on_the_cpu_with_its_reason(shared: Path) -> None:
    found = check(shared / "data/teachers/coco_ssd_mobilenet_v1/detect.tflite")

    (left,) = (verdict for verdict in found.verdicts if not verdict.maps)
    assert left.operator == "TFLite_Detection_PostProcess"
    assert "no operator of the Edge TPU" in left.reason
    assert found.parameter_bytes == pytest.approx(4.15e6, rel=0.01)


@pytest.fixture(scope="module")
def float_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import keras

    from oahega_build.models.quantize import float_tflite

    pixels = keras.Input((8, 8, 3))
    x = keras.layers.UpSampling2D(2)(keras.layers.Conv2D(4, 3)(pixels))
    path = tmp_path_factory.mktemp("model") / "float.tflite"
    path.write_bytes(float_tflite(keras.Model(pixels, keras.layers.Conv2D(2, 1)(x))))
    return path


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_a_float_network_maps_nowhere_and_the_rest_follows_the_first(float_file: Path) -> None:
    found = check(float_file)

    assert found.mapped == 0
    assert "float32" in found.verdicts[0].reason
    assert any("SHAPE" in sentence for sentence in found.sentences())


def test_files_share_the_chip_only_while_their_parameters_fit(float_file: Path) -> None:
    import dataclasses

    small = dataclasses.replace(check(float_file), parameter_bytes=ON_CHIP_BYTES // 2)

    assert fit_together([small, small])
    assert not fit_together([small, small, dataclasses.replace(small, parameter_bytes=1)])


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tflite").write_bytes(b"no model at all")

    with pytest.raises(DataError, match=r"a\.tflite is not a usable TFLite file"):
        check(tmp_path / "a.tflite")


COMPILER = """#!{python}
import pathlib, sys
out, files = pathlib.Path(sys.argv[3]), sys.argv[4:]
for name in map(pathlib.Path, files):
    if name.read_bytes() == b"refused":
        sys.exit("ERROR: Didn't find op for builtin opcode")
    (out / f"{{name.stem}}_edgetpu.tflite").write_bytes(name.read_bytes())
    (out / f"{{name.stem}}_edgetpu.log").write_text(
        "Number of operations that will run on Edge TPU: 62\\nNumber of operations that will run on CPU: 1\\n"
    )
"""


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A program that takes the compiler's arguments and leaves its kind of files."""
    program = tmp_path / "bin" / "small_compiler"
    program.parent.mkdir()
    program.write_text(COMPILER.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    return program.name


def test_compiling_reads_the_report(compiler: str, tmp_path: Path) -> None:
    (tmp_path / "detector.tflite").write_bytes(b"network")

    (made,) = compile_together([tmp_path / "detector.tflite"], tmp_path / "out", compiler)

    assert (made.file.name, made.on_chip, made.on_cpu) == ("detector_edgetpu.tflite", 62, 1)


def test_what_the_compiler_refuses_is_told_in_its_words(compiler: str, tmp_path: Path) -> None:
    (tmp_path / "detector.tflite").write_bytes(b"refused")

    with pytest.raises(CompileError, match=r"detector_edgetpu\.tflite: ERROR: Didn't find op"):
        compile_together([tmp_path / "detector.tflite"], tmp_path / "out", compiler)


def test_without_a_compiler_it_says_where_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(CompileError, match=r"absent_compiler is not on the PATH.*coral\.ai"):
        compile_together([], tmp_path, "absent_compiler")

"""A bundle for a Coral, and an environment that plays the Coral: for tests of the daemon without hardware."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from oahega_edge.bundles.load import seal
from oahega_edge.runtimes.tflite_file import EDGETPU_OP

HERE = Path(__file__).parent
FOR_THE_CPU = b"-- what the CPU runs --"
"""In the fake's compiled files, behind the flatbuffer and before the file that it was made of."""

PYTHON = """#!{python}
import runpy, sys
sys.path.insert(0, {packages!r})
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Called as `python -I worker.py ...`."""

CORAL = """
import fcntl
from tflite_runtime.interpreter import Interpreter

device_of_one_process = open(__file__)

def make_interpreter(content, device=None):
    try:
        fcntl.flock(device_of_one_process, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ValueError("Failed to load delegate from libedgetpu.so.1") from None
    return Interpreter(content.partition({mark!r})[2])
"""


def compiled(content: bytes) -> bytes:
    """As the Edge TPU compiler leaves a fully mapped network: its input, one custom operator, its outputs."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = model.subgraphs[0]
    code = schema.OperatorCodeT()
    code.deprecatedBuiltinCode = code.builtinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = EDGETPU_OP
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, list(graph.inputs), list(graph.outputs)
    model.operatorCodes, graph.operators = [code], [operator]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()) + FOR_THE_CPU + content


def add_edgetpu_files(bundle: Path) -> None:
    """Beside each model its compiled file, named in the manifest."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    for name in ("detector", "emotion"):
        content = compiled((bundle / manifest[name]["cpu"]["file"]).read_bytes())
        file = f"{name}_edgetpu.tflite"
        (bundle / file).write_bytes(content)
        manifest[name]["edgetpu"] = {"file": file, "sha256": hashlib.sha256(content).hexdigest()}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    seal(bundle)


def make_coral_python(folder: Path) -> Path:
    """An interpreter for the worker whose pycoral runs the CPU's files, with faulty_runtime.py's faults."""
    packages = folder / "packages"
    for name, text in {
        "tflite_runtime/interpreter.py": (HERE / "faulty_runtime.py").read_text(),
        "pycoral/utils/edgetpu.py": CORAL.format(mark=FOR_THE_CPU),
    }.items():
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text(text)
    python = folder / "python"
    python.write_text(PYTHON.format(python=sys.executable, packages=str(packages)))
    python.chmod(0o755)
    return python

"""Every file that comes from outside is read through `oahega_edge.files`, whatever is added."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (ROOT / "edge" / "oahega_edge", ROOT / "build" / "oahega_build")
READERS = {"read_text", "read_bytes"}
"""Methods of pathlib.Path; `read_text(path, most)` of our own is a function."""
LIBRARIES = {
    *("json.load", "np.load", "np.fromfile", "np.loadtxt", "np.genfromtxt", "np.memmap"),
    *("cv2.imread", "cv2.imcount", "cv2.VideoCapture", "os.open", "io.open", "sqlite3.connect"),
    *("importlib.util.spec_from_file_location", "runpy.run_path"),
}
FILE_ARGUMENTS = {"load_cert_chain", "load_verify_locations"}
"""Of ssl.SSLContext."""

KERNEL = "the kernel's own file"
OURS = "a file of this package"
EXCEPTIONS = {
    "oahega_edge.files.open_file": "the one reader",
    "oahega_edge.archive.store._file": OURS,
    "oahega_edge.bundles.kept._sync": "a folder of the state folder, to sync it",
    "oahega_edge.cameras.capture.open_capture": "FFmpeg and V4L2 can only open by themselves",
    "oahega_edge.cameras.usb.UsbPorts.port_of": KERNEL,
    "oahega_edge.cli.main": "/dev/null",
    "oahega_edge.control.folders._opened": "a folder, to lock it",
    "oahega_edge.decoding.holds_several": "a copy in memory of what was read",
    "oahega_edge.disk.file.EventFile.sync": "the store of this daemon, whose kinds of files were checked",
    "oahega_edge.disk.file._write_note": "opened to write, without following links",
    "oahega_edge.disk.salvage.connect": "the store of this daemon, whose kinds of files were checked",
    "oahega_edge.disk.waiting.device_clock": KERNEL,
    "oahega_edge.page.app._page": OURS,
    "oahega_edge.page.app.make_app": OURS,
    "oahega_edge.page.texts.languages": OURS,
    "oahega_edge.publishers.broker.tls_context": "given the bytes that were read",
    "oahega_edge.publishers.broker._show": "a copy in memory of what was read",
    "oahega_edge.runtimes.edgetpu": KERNEL,
    "oahega_edge.runtimes.interpreter.load_file": "code that the settings name, run in the child",
    "oahega_edge.runtimes.worker._interpreters": OURS,
    "oahega_edge.samples.shelf.Shelf._write": "opened to write a new file",
    "oahega_edge.samples.shelf._sync": "a folder, to sync it",
    "oahega_edge.service.health._number": KERNEL,
    "oahega_edge.service.mute._sync": "a folder, to sync it",
    "oahega_edge.tools.bench_models": KERNEL,
    "oahega_edge.tools.demo_clip.load_portraits": "a file of matplotlib",
    "oahega_build.experiments.study._is_zombie": KERNEL,
    "oahega_build.runs.reading.open_arrays": "given what the one reader opened",
    "oahega_build.samples.book.Book.add": "opened to write a new file",
    "oahega_build.runs.private_keys.write_new_key": "opened to write a new file",
    "oahega_build.samples.review._file": OURS,
}
"""Function, class or module -> why it may open by itself."""


def openings(path: Path, package: Path) -> Iterator[tuple[str, int]]:
    """(dotted name of the function, line) of every call that opens a file to read it."""
    module = ".".join(path.relative_to(package.parent).with_suffix("").parts)
    yield from _in(ast.parse(path.read_text()), module)


def _in(node: ast.AST, where: str) -> Iterator[tuple[str, int]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield from _in(child, f"{where}.{child.name}")
            continue
        if isinstance(child, ast.Call) and _opens(child):
            yield where, child.lineno
        yield from _in(child, where)


def _opens(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    method = name.rpartition(".")[2] if isinstance(call.func, ast.Attribute) else ""
    if method == "open" and name not in LIBRARIES:
        return _is_mode_of_reading(call, at=0)
    if name == "open":
        return _is_mode_of_reading(call, at=1)
    return name in LIBRARIES or method in READERS | FILE_ARGUMENTS


def _is_mode_of_reading(call: ast.Call, at: int) -> bool:
    """Of `open`; something else that is called `open` has no mode where the mode stands."""
    modes = [*call.args[at : at + 1], *(word.value for word in call.keywords if word.arg == "mode")]
    if not modes:
        return at == 1 or not call.args
    mode = modes[0].value if isinstance(modes[0], ast.Constant) else None
    return isinstance(mode, str) and not set(mode) & set("wax")


@pytest.fixture(scope="module")
def found() -> list[tuple[str, int]]:
    """Of both packages."""
    return [one for package in PACKAGES for path in package.rglob("*.py") for one in openings(path, package)]


def is_excepted(where: str) -> bool:
    return any(where == name or where.startswith(f"{name}.") for name in EXCEPTIONS)


def test_no_file_is_opened_past_the_reader_without_a_reason(found: list[tuple[str, int]]) -> None:
    unlisted = [f"{where}, line {line}" for where, line in found if not is_excepted(where)]

    assert unlisted == [], "read it through oahega_edge.files, or name a reason in EXCEPTIONS"


def test_every_reason_is_still_needed(found: list[tuple[str, int]]) -> None:
    used = {name for name in EXCEPTIONS for where, _ in found if f"{where}.".startswith(f"{name}.")}

    assert used == set(EXCEPTIONS)


@pytest.mark.parametrize(
    "line",
    [
        'open(path, "rb")',
        "open(path)",
        "path.open()",
        'path.open("r+b", buffering=0)',
        'path.open(mode="rb")',
        "path.read_text(encoding='utf-8')",
        "json.loads(Path(name).read_bytes())",
        "np.load(path)",
        "cv2.imread(str(path))",
        "os.open(path, os.O_RDONLY)",
        "context.load_cert_chain(certificate, key)",
    ],
)
def test_a_new_opening_is_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "new.py").write_text(f"class A:\n    def f(self):\n        return {line}\n")

    assert [*openings(tmp_path / "package" / "new.py", tmp_path / "package")] == [("package.new.A.f", 3)]


@pytest.mark.parametrize(
    "line", ['path.open("w", newline="")', 'open(path, "xb")', "read_text(path, 10)", "worker.open(path, 1)"]
)
def test_what_opens_nothing_to_read_is_not_found(tmp_path: Path, line: str) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "new.py").write_text(line)

    assert [*openings(tmp_path / "package" / "new.py", tmp_path / "package")] == []

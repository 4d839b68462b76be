"""Stand-ins for Google's two files that an operator supplies, to test their installation."""

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path

LIBRARY = "libedgetpu1-std"
PYCORAL_INFO = "pycoral-2.0.0.dist-info"


def named_with_digest(file: Path) -> dict[str, str]:
    """The entry of a file in the inventory."""
    return {"file": str(file), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


def make_wheel(folder: Path) -> Path:
    """Make a pycoral that can be imported and does nothing."""
    contents = {
        "pycoral/__init__.py": "",
        f"{PYCORAL_INFO}/METADATA": "Metadata-Version: 2.1\nName: pycoral\nVersion: 2.0.0\n",
        f"{PYCORAL_INFO}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*contents, f"{PYCORAL_INFO}/RECORD"])
    file = folder / "pycoral-2.0.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as wheel:
        for name, text in {**contents, f"{PYCORAL_INFO}/RECORD": record}.items():
            wheel.writestr(name, text)
    return file


def make_deb(folder: Path) -> Path:
    """Make a Debian package with the name of the library and a file at the library's path."""
    tree = folder / LIBRARY
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "usr/lib").mkdir(parents=True)
    (tree / "usr/lib/libedgetpu.so.1").write_text("no library, made by the tests\n")
    control = {"Package": LIBRARY, "Version": "16.0", "Architecture": "all", "Maintainer": "tests"}
    lines = [f"{key}: {value}\n" for key, value in {**control, "Description": "made by the tests"}.items()]
    (tree / "DEBIAN/control").write_text("".join(lines))
    file = folder / f"{LIBRARY}_16.0_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(file)], check=True, capture_output=True
    )
    return file

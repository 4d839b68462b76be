"""Releases to roll out: the checkout under other versions, good and broken, each as a wheelhouse."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OLD = "0.9.1"
"""The release with which each test begins and ends."""

CRASHES = """

def _crash(self: Daemon) -> None:
    raise RuntimeError("a release that crashes, made by the tests")


Daemon.run = _crash  # type: ignore[method-assign]
"""
SEES_NOTHING = """

def _blind(self: Daemon, frame: Frame) -> None:
    self._without_picture(CameraStalled("a release that loses every frame, made by the tests"))


Daemon._see = _blind  # type: ignore[method-assign]
"""


@dataclass(frozen=True)
class Releases:
    """A folder of wheelhouses for one kind of device."""

    folder: Path
    architecture: str = os.uname().machine
    python: str = "3.11"

    def build(self, version: str, added_to_daemon: str = "") -> str:
        """Build the checkout as `version`. Only the first wheelhouse downloads the pinned wheels."""
        source = self._source(version, added_to_daemon)
        tars = sorted(self.folder.glob("*.tar"))
        if tars:
            self._exchange_own_wheel(tars[0], source, version)
        else:
            subprocess.run(
                [source / "ansible/wheelhouse.sh", self.architecture, self.python, self.folder],
                check=True,
                env={**os.environ, "RUN_PYTHON": sys.executable},
                capture_output=True,
            )
        assert self.tar(version).is_file()
        return version

    def tar(self, version: str) -> Path:
        """Where the wheelhouse of a version lies."""
        return self.folder / f"oahega-edge-{version}-{self.architecture}-py{self.python}.tar"

    def _source(self, version: str, added_to_daemon: str) -> Path:
        source = self.folder / f"source-{version}"
        shutil.copytree(ROOT / "edge", source / "edge", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        for name in ("requirements/device.txt", "ansible/wheelhouse.sh"):
            (source / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, source / name)
        package = source / "edge/oahega_edge/__init__.py"
        lines = package.read_text().splitlines()
        package.write_text(
            "\n".join(
                f'__version__ = "{version}"' if line.startswith("__version__") else line for line in lines
            )
        )
        with (source / "edge/oahega_edge/service/daemon.py").open("a") as daemon:
            daemon.write(added_to_daemon)
        return source

    def _exchange_own_wheel(self, tar: Path, source: Path, version: str) -> None:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "--quiet",
                "wheel",
                "--no-deps",
                "--no-build-isolation",
                "-w",
                source,
                source,
            ],
            check=True,
            capture_output=True,
        )
        wheel = next(source.glob("oahega_edge-*.whl"))
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        with tarfile.open(tar) as old, tarfile.open(self.tar(version), "w") as new:
            for member in old:
                if not member.isfile() or "oahega_edge-" in member.name:
                    continue
                file = old.extractfile(member)
                assert file is not None
                data = file.read()
                if member.name.endswith("requirements.txt"):
                    lines = [
                        line for line in data.decode().splitlines() if not line.startswith("oahega-edge==")
                    ]
                    lines.append(f"oahega-edge=={version} --hash=sha256:{digest}\n")
                    data = "\n".join(lines).encode()
                    member.size = len(data)
                new.addfile(member, io.BytesIO(data))
            new.add(wheel, f"./{wheel.name}")

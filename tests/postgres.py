"""A real PostgreSQL of the distribution, in a folder of its own, started and killed at will."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brokers import free_port
from waiting import PATIENCE, wait_until

AS_POSTGRES: dict[str, Any] = (
    {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
)
"""Options of `subprocess`: the server refuses to run as root."""


def programs() -> Path | None:
    """Where Debian puts initdb and postgres."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


class Postgres:
    """One cluster; every connection is trusted, on the loopback only."""

    def __init__(self, bin_folder: Path, folder: Path) -> None:
        self._bin = bin_folder
        self._folder = folder
        self.port = free_port()
        self.socket = folder / f".s.PGSQL.{self.port}"
        self.url = f"postgresql://archive@127.0.0.1:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None
        # With the machine's locale, the same cluster would have another encoding elsewhere.
        fixed = ("-A", "trust", "-U", "archive", "-E", "UTF8", "--no-locale", "--no-sync")
        self._run("initdb", "-D", str(folder / "data"), *fixed)

    def start(self) -> None:
        """Returns when it answers; after a kill, not before the old server's last child has gone."""
        wait_until(self._came_up)

    def kill(self) -> None:
        """SIGKILL to the server's first process; its children end with it."""
        lines = (self._folder / "data/postmaster.pid").read_text().splitlines()
        os.kill(int(lines[0]), signal.SIGKILL)
        assert self._process is not None
        self._process.wait(PATIENCE)

    def stop(self) -> None:
        """At once: an orderly stop would first write a folder to disk that is thrown away."""
        if self._process is not None and self._process.poll() is None:
            self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")
            self._process.wait(PATIENCE)

    def fresh(self, name: str, encoding: str = "UTF8") -> str:
        """The address of a new, empty database."""
        self._run("psql", "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", "archive", "-d", "postgres",
                  "-c", f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}'")  # fmt: skip
        return self.url.replace("/postgres", f"/{name}")

    def _came_up(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            # Processes are killed here, machines are not: what was written outlives a kill without a sync.
            options = ["-c", "fsync=off", "-p", str(self.port), "-k", str(self._folder), "-h", "127.0.0.1"]
            self._process = subprocess.Popen(
                [str(self._bin / "postgres"), "-D", str(self._folder / "data"), *options],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                **AS_POSTGRES,
            )
        return self._answers()

    def _answers(self) -> bool:
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port))
            return True
        return False

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._bin / program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self._folder,
            **AS_POSTGRES,
        )


@contextlib.contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Skips where PostgreSQL is absent, but not where it was promised (`.ci/run`)."""
    bin_folder = programs()
    if bin_folder is None:
        if os.environ.get("OAHEGA_REQUIRE_POSTGRES"):
            pytest.fail("PostgreSQL is absent although OAHEGA_REQUIRE_POSTGRES is set", pytrace=False)
        pytest.skip("no PostgreSQL on this machine (apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="oahega-postgres-"))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    server = Postgres(bin_folder, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One for all tests of a process."""
    with running_postgres() as server:
        yield server

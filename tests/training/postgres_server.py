"""A PostgreSQL of the test's own (Debian's package), on a free port, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from brokers import free_port

POSTGRES = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)


@contextmanager
def running_postgres() -> Iterator[str]:
    """The URL of an empty database; skips where the package is not installed."""
    if POSTGRES is None:
        pytest.skip("PostgreSQL is not installed (Debian's package postgresql)")
    as_root = os.geteuid() == 0
    folder = Path(tempfile.mkdtemp(prefix="oahega-postgres-"))
    if as_root:  # the server refuses to run as root
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
    prefix = ["runuser", "-u", "postgres", "--"] if as_root else []
    data = folder / "data"
    subprocess.run(
        [
            *prefix,
            POSTGRES / "initdb",
            "-D",
            data,
            "-U",
            "oahega",
            "--auth=trust",
            "-E",
            "UTF8",
            "--no-locale",
        ],
        check=True,
        capture_output=True,
        cwd=folder,
    )
    port = free_port()
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    control = [*prefix, POSTGRES / "pg_ctl", "-D", data, "-w"]
    log = folder / "log"
    subprocess.run([*control, "-o", options, "-l", log, "start"], check=True, capture_output=True, cwd=folder)
    try:
        yield f"postgresql://oahega@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd=folder)
        shutil.rmtree(folder)

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from brokers import mosquitto
from postgres import Postgres, postgres

__all__ = ["mosquitto", "postgres"]

pytest.importorskip("duckdb")
NAMES = itertools.count()


@pytest.fixture(params=["duckdb", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty store of each kind."""
    if request.param == "duckdb":
        yield f"duckdb:{tmp_path / 'archive.duckdb'}"
    else:
        server: Postgres = request.getfixturevalue("postgres")
        yield server.fresh(f"archive_{next(NAMES)}")

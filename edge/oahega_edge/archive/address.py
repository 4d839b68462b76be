"""Which database an address means."""

from __future__ import annotations

from oahega_edge.archive.database import ArchiveError, Database


def connect(url: str) -> Database:
    """`duckdb:FILE` or `postgresql://...`. Raises ArchiveError for another address or a missing library."""
    scheme, _, rest = url.partition(":")
    try:
        if scheme == "duckdb" and rest:
            from oahega_edge.archive.duck import DuckDatabase

            return DuckDatabase(rest)
        if scheme in ("postgresql", "postgres") and rest.startswith("//"):
            from oahega_edge.archive.postgres import PostgresDatabase

            return PostgresDatabase(url)
    except ImportError as error:
        raise ArchiveError(
            f"the archive's library {error.name} is absent; install oahega-edge[archive]"
        ) from error
    raise ArchiveError(f"a store is duckdb:FILE or postgresql://USER@HOST/DATABASE, not {scheme}:...")


def read_only(url: str) -> Database:
    """For readers; of a DuckDB file that the archive holds open, the snapshot beside it."""
    if url.startswith("duckdb:"):
        from oahega_edge.archive.duck import DuckDatabase

        return DuckDatabase.to_read(url.partition(":")[2])
    return connect(url)

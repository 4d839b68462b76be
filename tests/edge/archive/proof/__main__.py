"""What the archive withstands and how fast it is, with real mosquitto and PostgreSQL: `make archive-proof`.

PART is one or more of these; each prints its figures as it goes.

queue      EVENTS wait at the broker: PostgreSQL with one and with two workers, DuckDB, `mosquitto_sub | psql`
steady     RATE events/s are published for MINUTES: each kept in time, or how far behind (WORKERS)
kills      KILLS random moments at which worker, PostgreSQL or both are killed under load
broker     the broker is killed BROKER_KILLS times: nothing twice, every loss a gap in `seq`
disk       the disk of PostgreSQL, then of DuckDB, is full under load, and then is not (root: a tmpfs)
database   PostgreSQL is slow (locked tables), then refuses connections
volume     VOLUME events from recorded ones: each view's time, the page's, bytes per event
           (STORES="PostgreSQL DuckDB")
"""

from __future__ import annotations

import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from brokers import Mosquitto
from edge.archive.proof import faults, rates, volume
from edge.archive.proof.parts import KEEPS
from postgres import Postgres, programs

PARTS = ("queue", "steady", "kills", "broker", "disk", "database", "volume")


def main(parts: list[str]) -> None:
    bin_folder = programs()
    if bin_folder is None:
        sys.exit("PostgreSQL is absent: apt-get install postgresql")
    if unknown := set(parts) - set(PARTS):
        sys.exit(f"PART: no {', '.join(sorted(unknown))}; name some of {', '.join(PARTS)}")
    folder = Path(tempfile.mkdtemp(prefix="oahega-proof-"))
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
    server = Postgres(bin_folder, folder)
    server.start()
    try:
        for part in parts or PARTS:
            print(f"{part}:", flush=True)
            for line in lines_of(part, server, folder):
                print(f"  {line}", flush=True)
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def lines_of(part: str, server: Postgres, folder: Path) -> Iterator[str]:
    choose = random.Random(number("SEED", 1))
    if part == "queue":
        yield from rates.queue(server, folder, number("EVENTS", 20_000))
    elif part == "volume":
        known = {
            "PostgreSQL": lambda: server.fresh("volume"),
            "DuckDB": lambda: f"duckdb:{folder / 'volume.duckdb'}",
        }
        chosen = os.environ.get("STORES", " ".join(known)).split()
        yield from volume.volume(
            {name: known[name]() for name in chosen}, folder, number("VOLUME", 10_000_000)
        )
    elif part == "disk":
        yield from faults.full_disk(folder)
    elif part == "broker":
        yield from faults.broker_kills(server, folder, number("BROKER_KILLS", 5), choose)
    else:
        with Mosquitto(folder, KEEPS) as broker:
            if part == "steady":
                yield from rates.steady(
                    broker, server, number("RATE", 5_000), 60 * float(os.environ.get("MINUTES", "10")),
                    number("WORKERS", 1),
                )  # fmt: skip
            elif part == "kills":
                yield from faults.kills(broker, server, number("KILLS", 30), choose)
            else:
                yield from faults.slow_and_refusing(broker, server)


def number(name: str, usual: int) -> int:
    return int(os.environ.get(name, usual))


if __name__ == "__main__":
    main(sys.argv[1:])

"""Faults for a given time against a real daemon and a real broker.

`python campaign.py --minutes 60 --seed 1`: each schedule has its own seed, counted up from the first. One
that breaks a promise is shrunk and written to `schedules/`, where it is a test (`make soak`).
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

log = logging.getLogger(__name__)
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "edge"), str(HERE)]

from house import House  # noqa: E402
from schedule import Schedule, draw, from_json, shrink, to_json  # noqa: E402
from witness import Broken, Figures  # noqa: E402

from brokers import Mosquitto  # noqa: E402


def run(schedule: Schedule) -> Figures:
    """Do all steps, heal, judge. Raises Broken."""
    with (
        tempfile.TemporaryDirectory(prefix="nemesis-") as folder,
        Mosquitto(Path(folder)) as broker,
        House(Path(folder), broker) as house,
    ):
        began = time.monotonic()
        for step in schedule:
            house.live(step.after)
            log.info("%.1f s: %s %s", time.monotonic() - began, step.part, step.told)
            house.tell(step)
        log.info("%.1f s: all is well again", time.monotonic() - began)
        house.settle()
        return house.witness.figures


def breaks(schedule: Schedule) -> bool:
    """Whether a promise is not kept."""
    try:
        run(schedule)
    except Broken:
        return True
    return False


def campaign(seed: int, minutes: float, seconds: float) -> int:
    """Schedules of so many seconds until the time is over; how many of them broke a promise."""
    until, failures = time.monotonic() + 60 * minutes, 0
    while time.monotonic() < until:
        schedule = draw(seed, seconds)
        try:
            print(f"seed {seed}, {len(schedule)} steps: {run(schedule)}", flush=True)
        except Broken as broken:
            failures += 1
            print(f"seed {seed}, {len(schedule)} steps: BROKEN: {broken}", flush=True)
            found = HERE / "schedules" / f"seed_{seed}.json"
            found.parent.mkdir(exist_ok=True)
            found.write_text(to_json(shrink(schedule, breaks)))
            print(f"its shortest schedule that fails: {found}", flush=True)
        seed += 1
    return failures


def main() -> None:
    """Exit code 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--seconds", type=float, default=40, help="length of one schedule")
    parser.add_argument("--schedule", type=Path, help="run this one instead")
    parser.add_argument("--steps", action="store_true", help="print each step")
    chosen = parser.parse_args()
    logging.basicConfig(level="INFO" if chosen.steps else "WARNING", format="%(message)s")
    os.nice(8)
    if chosen.schedule:
        print(run(from_json(chosen.schedule.read_text())))
    else:
        sys.exit(campaign(chosen.seed, chosen.minutes, chosen.seconds) > 0)


if __name__ == "__main__":
    main()

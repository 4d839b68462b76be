"""Faults for a given time against a real daemon and a real broker.

`python campaign.py --minutes 60 --seed 1`: each schedule has its own seed, counted up from the first. What
each showed is written to a record; one that breaks a promise is shrunk at the end and written to
`schedules/`, where it is a test (`make soak`).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def missing_faults() -> list[str]:
    """What cannot fail on this machine."""
    reasons = {
        "the disk only gets slow: not root, who could fill it or make it read-only": os.geteuid() != 0,
        "the clock stays right: no C compiler (cc)": shutil.which("cc") is None,
    }
    return [reason for reason, holds in reasons.items() if holds]


class Record:
    """What each schedule showed, a line of JSON for each; a campaign that was broken off goes on with it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        lines = file.read_text().splitlines() if file.exists() else []
        self.done: dict[int, dict[str, Any]] = {line["seed"]: line for line in map(json.loads, lines)}

    def add(self, seed: int, schedule: Schedule, figures: Figures, broken: str | None) -> None:
        """On the disk at once."""
        faults = Counter(f"{step.part} {step.told}" for step in schedule)
        self.done[seed] = {"seed": seed, "broken": broken, "faults": faults, "figures": vars(figures)}
        with self._file.open("a") as file:
            file.write(json.dumps(self.done[seed]) + "\n")

    @property
    def broken(self) -> list[int]:
        """Seeds whose schedule broke a promise."""
        return [seed for seed, line in self.done.items() if line["broken"]]

    def __str__(self) -> str:
        figures = sum((Figures(**line["figures"]) for line in self.done.values()), Figures())
        faults = sum((Counter(line["faults"]) for line in self.done.values()), Counter())
        told = ", ".join(f"{name} {count}" for name, count in sorted(faults.items()))
        return (
            f"{len(self.done)} schedules, seeds {min(self.done)} to {max(self.done)}, "
            f"{len(self.broken)} broke a promise {self.broken or ''}\n"
            f"{figures}\n{faults.total()} steps: {told}"
        )


@dataclass(frozen=True)
class Plan:
    """Which schedules are run."""

    seed: int
    """Of the first."""
    seconds: float
    """Length of each, until all is healed."""
    minutes: float
    """After which none is begun."""
    most: int
    """Number of schedules."""
    jobs: int
    """At the same time."""


def campaign(plan: Plan, record: Record) -> None:
    """The schedules that are not in the record yet."""
    until = time.monotonic() + 60 * plan.minutes

    def one(seed: int) -> None:
        if time.monotonic() > until or seed in record.done:
            return
        schedule = draw(seed, plan.seconds)
        figures, broken = Figures(), None
        try:
            figures = run(schedule)
        except Broken as error:
            broken = str(error)
        record.add(seed, schedule, figures, broken)
        print(f"seed {seed}, {len(schedule)} steps: {broken or figures}", flush=True)

    with ThreadPoolExecutor(plan.jobs) as pool:
        for _ in pool.map(one, range(plan.seed, plan.seed + plan.most)):
            pass


def keep_the_shortest(seed: int, seconds: float) -> None:
    """Shrink a schedule that broke a promise, and keep what is left as a test."""
    file = HERE / "schedules" / f"seed_{seed}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(to_json(draw(seed, seconds)))
    file.write_text(to_json(shrink(draw(seed, seconds), breaks)))
    print(f"the shortest schedule of seed {seed} that fails: {file}", flush=True)


def main() -> None:
    """Exit code 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--seconds", type=float, default=40, help="length of one schedule")
    parser.add_argument("--most", type=int, default=1000, help="number of schedules")
    parser.add_argument("--jobs", type=int, default=1, help="schedules at the same time")
    parser.add_argument("--record", type=Path, help="file of what was shown, which is not done again")
    parser.add_argument("--schedule", type=Path, help="run this one instead")
    parser.add_argument("--steps", action="store_true", help="print each step")
    chosen = parser.parse_args()
    signal.signal(
        signal.SIGTERM, lambda *ignored: sys.exit("told to end")
    )  # so that the houses are left in order
    logging.basicConfig(level="INFO" if chosen.steps else "WARNING", format="%(message)s")
    if chosen.schedule:
        print(run(from_json(chosen.schedule.read_text())))
        return
    for missing in missing_faults():
        print(missing, flush=True)
    record = Record(chosen.record or Path(tempfile.gettempdir()) / f"nemesis-{chosen.seed}.jsonl")
    campaign(Plan(chosen.seed, chosen.seconds, chosen.minutes, chosen.most, chosen.jobs), record)
    print(record)
    for seed in record.broken:
        keep_the_shortest(seed, chosen.seconds)
    sys.exit(bool(record.broken))


if __name__ == "__main__":
    main()

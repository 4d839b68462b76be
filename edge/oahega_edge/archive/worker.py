"""The worker: takes what has arrived in batches to the store and acknowledges it when it is committed."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from oahega_edge.archive.database import ArchiveError, BadRow, StoreAway
from oahega_edge.archive.records import (
    KeptAvailability,
    KeptEvent,
    KeptHealth,
    KeptSummary,
    Kind,
    Misfit,
    Record,
    read_record,
)
from oahega_edge.archive.store import Batch, Store, Unfit, Written
from oahega_edge.archive.subscription import Delivery
from oahega_edge.errors import plain

log = logging.getLogger(__name__)

BATCH = 5_000
COMPANY_S = 0.2
"""How long a batch waits for more messages."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
SNAPSHOT_S = 60.0
_KINDS: Mapping[type[Record], Kind] = {
    KeptEvent: "event",
    KeptSummary: "summary",
    KeptHealth: "health",
    KeptAvailability: "availability",
}


class Source(Protocol):
    """Where messages come from."""

    @property
    def is_over(self) -> bool:
        """No more will come, and all that came is acknowledged."""
        ...

    def fetch(self, most: int, patience_s: float) -> list[Delivery]:
        """What has arrived."""
        ...

    def acknowledge(self, done: list[Delivery]) -> None:
        """These are kept."""
        ...


@dataclass(slots=True)
class Figures:
    """What the worker has done since its start."""

    events: int = 0
    summaries: int = 0
    duplicates: int = 0
    misfits: int = 0
    batches: int = 0
    store_failures: int = 0
    store_up: bool = False
    committed_at: float = 0.0
    """Seconds since 1970 of the last commit."""

    def sentence(self) -> str:
        """For people."""
        return (
            f"{self.events} events and {self.summaries} summaries kept, {self.duplicates} copies left out, "
            f"{self.misfits} messages kept apart"
        )

    def add(self, written: Written) -> None:
        """One more batch is committed."""
        self.events += written.events
        self.summaries += written.summaries
        self.duplicates += written.duplicates
        self.misfits += written.misfits
        self.batches += 1
        self.committed_at = time.time()


@dataclass(slots=True)
class Worker:
    """One subscription into one store."""

    source: Source
    open_store: Callable[[], Store]
    root: str
    stop: threading.Event
    figures: Figures = field(default_factory=Figures)
    _store: Store | None = None
    _pause: float = FIRST_PAUSE_S
    _snapshot_at: float = field(default_factory=time.monotonic)
    _changed: bool = False

    def prepare(self) -> None:
        """Open the store. Raises ArchiveError for one that will never fit."""
        self._open()
        self._answers("open")

    def run(self) -> None:
        """Until `stop` is set or the source is over."""
        try:
            while not (self.stop.is_set() or self.source.is_over):
                arrived = self.source.fetch(BATCH, COMPANY_S)
                if arrived and self._keep(self._batch(arrived)):
                    self.source.acknowledge(arrived)
                    self._changed = True
                self._tend()
        finally:
            self._tend(at_once=True)
            self._let_go()

    def _batch(self, arrived: list[Delivery]) -> Batch:
        batch, now = Batch(), datetime.now(UTC)
        for each in arrived:
            try:
                batch.records.append(read_record(self.root, each.topic, each.payload, now))
            except Misfit as reason:
                log.warning("A message on %s fits no schema: %s.", plain(each.topic), reason)
                batch.misfits.append(_unfit(each, str(reason), now))
        return batch

    def _keep(self, batch: Batch) -> bool:
        """Written and committed; False only when the worker is told to stop meanwhile."""
        while not self.stop.is_set():
            try:
                self._write(batch)
            except StoreAway as error:
                self._failed(error)
                self.stop.wait(self._pause)
                self._pause = min(2 * self._pause, LONGEST_PAUSE_S)
            else:
                self._pause = FIRST_PAUSE_S
                if not self.figures.store_up:
                    self._answers("open again")
                return True
        return False

    def _write(self, batch: Batch) -> None:
        store = self._open()
        try:
            self.figures.add(store.write(batch))
        except BadRow:
            self._write_each(store, batch)

    def _write_each(self, store: Store, batch: Batch) -> None:
        """One by one, so that a single value that the database refuses holds up nothing."""
        self.figures.add(store.write(Batch(misfits=batch.misfits)))
        for record in batch.records:
            try:
                self.figures.add(store.write(Batch([record])))
            except BadRow as error:
                kind = _KINDS[type(record)]
                log.warning("The store refuses a %s of %s: %s.", kind, record.device, error)
                text = record.model_dump_json(by_alias=True).encode()
                unfit = Unfit(f"{self.root}/{record.device}/{kind}", text, str(error), datetime.now(UTC))
                self.figures.add(store.write(Batch(misfits=[unfit])))

    def _open(self) -> Store:
        """The store, opened again after a failure."""
        pause = FIRST_PAUSE_S
        while self._store is None:
            try:
                self._store = self.open_store()
            except StoreAway as error:
                self._failed(error)
                if self.stop.wait(pause):
                    raise
                pause = min(2 * pause, LONGEST_PAUSE_S)
        return self._store

    def _answers(self, how: str) -> None:
        """A connection alone is no answer: a database whose disk is full lets one in."""
        log.info("The store is %s.", how)
        self.figures.store_up = True

    def _failed(self, error: Exception) -> None:
        if self.figures.store_up or not self.figures.store_failures:
            log.warning("The store is away: %s. Nothing is acknowledged until it is back.", error)
        self.figures.store_up = False
        self.figures.store_failures += 1
        self._let_go()

    def _let_go(self) -> None:
        if self._store is not None:
            try:
                self._store.close()
            except (StoreAway, ArchiveError) as error:
                log.debug("closing the store: %s", error)
            self._store = None

    def _tend(self, at_once: bool = False) -> None:
        """Old minutes go, and readers of a DuckDB file get a new copy."""
        due = time.monotonic() - self._snapshot_at >= SNAPSHOT_S
        if self._store is None or not self._changed or not (due or at_once):
            return
        self._snapshot_at, self._changed = time.monotonic(), False
        try:
            self._store.prune_minutes(datetime.now(UTC))
            self._store.snapshot()
        except (StoreAway, BadRow) as error:
            self._failed(error)


def _unfit(delivery: Delivery, reason: str, now: datetime) -> Unfit:
    topic = delivery.topic.replace("\0", "?")
    return Unfit(topic, delivery.payload[:65_536], reason.replace("\0", "?"), now)

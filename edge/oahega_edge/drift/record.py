"""What is kept of a device's faces, as text: counts and nothing else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np

from oahega_edge.drift.drift import LATE_BLOCKS, QUIET_BLOCKS, Drift
from oahega_edge.drift.look import BINS, QUANTITIES
from oahega_edge.drift.tally import Counts, Floats, Tally

FORMAT = 2
LARGEST = 1 << 20
"""Bytes of a file."""
MOST_BLOCKS = 100_000
MOST_FACES = 1 << 40


def to_text(drift: Drift, key: str) -> str:
    """One line of JSON; `key` says what the faces were seen with."""
    return with_today(days_to_text(drift, key), drift)


def days_to_text(drift: Drift, key: str) -> str:
    """What changes only when a day is closed: the largest part, in which each number takes a while."""
    kept = {
        "format": FORMAT,
        "key": key,
        "blocks": drift.blocks,
        "quiet": _rows_out(drift.quiet),
        "late": _rows_out(drift.late),
        "calm": None if drift.calm is None else _rows_out(drift.calm),
        "alarms": {str(row): since.isoformat() for row, since in drift.alarms.items()},
        "last": None if drift.last is None else _rows_out(drift.last),
        "middles": list(drift.middles),
    }
    return f'{_json(kept)[:-1]},"base":{_tally_text(drift.base)}}}'


def with_today(days: str, drift: Drift) -> str:
    """The whole record of a drift of which `days_to_text` was this."""
    today = _json({"began": _day_out(drift.began), "day": _day_out(drift.day)})
    return f'{days[:-1]},{today[1:-1]},"block":{_tally_text(drift.block)}}}\n'


_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
_EMPTY = _json(np.zeros((len(QUANTITIES), BINS), int).tolist())
"""A part of the day without a face, such as the night."""


def from_text(text: bytes, key: str, labels: int) -> Drift:
    """The same again. ValueError for a text that is of something else, or damaged."""
    try:
        kept = json.loads(text)
        if (kept["format"], kept["key"]) != (FORMAT, key):
            raise ValueError("it is of another bundle, camera or release")
        drift = Drift(labels)
        rows = len(QUANTITIES) + labels
        drift.base, drift.block = _tally(kept["base"], labels), _tally(kept["block"], labels)
        drift.blocks = _number(kept["blocks"], MOST_BLOCKS)
        drift.began, drift.day = _day(kept["began"]), _day(kept["day"])
        drift.quiet = [_row(row, rows) for row in kept["quiet"]][-QUIET_BLOCKS:]
        drift.late = [_row(row, rows) for row in kept["late"]][-LATE_BLOCKS:]
        drift.calm = None if kept["calm"] is None else _row(kept["calm"], rows)
        drift.alarms = {
            _number(int(row), rows - 1): date.fromisoformat(since) for row, since in kept["alarms"].items()
        }
        drift.last = None if kept["last"] is None else _last(kept["last"], rows)
        drift.middles = tuple(_number(place, BINS - 1) for place in kept["middles"])
    except (TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"it is damaged: {error!r}") from error
    if (drift.began is None) != (drift.block.faces == 0) or (drift.day is None) != (drift.began is None):
        raise ValueError("it is damaged: its days and faces do not fit together")
    if len(drift.middles) != (0 if drift.last is None else len(QUANTITIES)):
        raise ValueError("it is damaged: its medians are not those of all quantities")
    if drift.blocks == 0 and drift.base.faces:
        raise ValueError("it is damaged: it has faces of no day")
    return drift


def _tally_text(tally: Tally) -> str:
    shown = tally.shown.tolist()
    bins = [_json(of.tolist()) if any(faces) else _EMPTY for of, faces in zip(tally.bins, shown, strict=True)]
    return f'{{"bins":[{",".join(bins)}],"shown":{_json(shown)}}}'


def _rows_out(rows: Sequence[Floats] | Floats) -> Any:
    return np.array(rows).round(5).tolist()


def _day_out(day: date | None) -> str | None:
    return None if day is None else day.isoformat()


def _tally(kept: Any, labels: int) -> Tally:
    tally = Tally(labels)
    tally.bins, tally.shown = _counts(kept["bins"], tally.bins), _counts(kept["shown"], tally.shown)
    if (tally.bins.sum(axis=2) != tally.shown.sum(axis=1, keepdims=True)).any():
        raise ValueError("it is damaged: its counts do not agree")
    return tally


def _counts(kept: Any, like: Counts) -> Counts:
    counts = np.array(kept)
    if counts.shape != like.shape or counts.dtype.kind != "i":
        raise ValueError("it is damaged: its counts are of another shape")
    if counts.min() < 0 or counts.max() > MOST_FACES:
        raise ValueError("it is damaged: it has impossible counts")
    return counts.astype(np.int64)


def _row(kept: Any, rows: int) -> Floats:
    row = np.array(kept, np.float64)
    if row.shape != (rows,) or not np.isfinite(row).all():
        raise ValueError("it is damaged: a row of numbers is of another shape")
    return row


def _last(kept: Any, rows: int) -> tuple[Floats, Floats]:
    delta, limit = (_row(row, rows) for row in kept)
    if (limit <= 0).any():
        raise ValueError("it is damaged: it has impossible limits")
    return delta, limit


def _number(kept: Any, most: int) -> int:
    if type(kept) is not int or not 0 <= kept <= most:
        raise ValueError(f"it is damaged: a number is {kept!r}")
    return kept


def _day(kept: Any) -> date | None:
    return None if kept is None else date.fromisoformat(kept)

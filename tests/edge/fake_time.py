"""A clock for the parts that are given one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """Time that only `sleep` and the test move on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds

    def utc(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.now - 1000)

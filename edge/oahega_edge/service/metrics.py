"""Whoever collects figures of the daemon: the port, and the null object. Prometheus is in prometheus.py."""

from __future__ import annotations

from typing import Protocol

from oahega_edge.contract.messages import Health


class Metrics(Protocol):
    """Takes each health message."""

    def update(self, health: Health) -> None:
        """The newest figures."""
        ...


class NoMetrics:
    """Nobody scrapes."""

    def update(self, health: Health) -> None:
        """Forgotten."""

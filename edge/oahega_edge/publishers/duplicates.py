"""Finds another device with our name, as after an SD card was cloned."""

from __future__ import annotations

import json
import logging

from oahega_edge.contract.messages import Info
from oahega_edge.publishers.wire import Incoming

log = logging.getLogger(__name__)

LARGEST_INFO = 256 << 10
"""Bytes; ours has some 10 kB."""


class DuplicateIdGuard:
    """Notices infos of another boot on our own topic.

    A retained info counts only after ours was sent: before, it is from our own last start.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        self._introduced = False
        self._introduced_before = False

    def connected(self) -> None:
        """On a new connection."""
        self.problem = None
        self._introduced_before = self._introduced

    def introduced(self) -> None:
        """Our info was sent."""
        self._introduced = True

    def sees(self, message: Incoming, ours: Info | None) -> bool:
        """Whether this info is another device's."""
        if len(message.payload) > LARGEST_INFO:
            return False
        try:
            boot_id = json.loads(message.payload)["boot_id"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        old = message.retained and not self._introduced_before
        if ours is None or old or boot_id == ours.boot_id:
            return False
        known = self.problem is not None
        self.problem = (
            f"another device with the name {ours.device!r} is connected: a cloned SD card? "
            "Give each device its own device.name."
        )
        if not known:
            log.warning("MQTT: %s", self.problem)
        return True

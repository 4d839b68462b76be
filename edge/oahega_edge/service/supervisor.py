"""What the daemon tells the one who watches over it: systemd's notify protocol, without its library.

Protocol: sd_notify(3), sd_watchdog_enabled(3). Nothing here ever blocks: a supervisor that does not listen
must not stop the loop that it supervises.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Protocol

log = logging.getLogger(__name__)


class Supervisor(Protocol):
    """Restarts the daemon when it hangs."""

    def ready(self) -> None:
        """The daemon works; said once, later calls do nothing."""
        ...

    def alive(self) -> None:
        """The loop made progress. Cheap enough for every frame."""
        ...

    def status(self, text: str) -> None:
        """One line for people: what the daemon does now."""
        ...

    def stopping(self) -> None:
        """The daemon ends because it was asked to."""
        ...


class NoSupervisor:
    """Without a supervisor: started by hand, or by a program that does not want notifications."""

    def ready(self) -> None:
        """Ignored."""

    def alive(self) -> None:
        """Ignored."""

    def status(self, text: str) -> None:
        """Ignored."""

    def stopping(self) -> None:
        """Ignored."""


class SystemdSupervisor:
    """Writes to systemd's notification socket."""

    def __init__(
        self, address: str, watchdog_s: float | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`address`: as in NOTIFY_SOCKET, a path or @abstract; `watchdog_s`: silence that kills, or None."""
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._interval = None if watchdog_s is None else watchdog_s / 3
        self._clock = clock
        self._pinged_at = float("-inf")
        self._unsent: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._reachable = True

    def ready(self) -> None:
        """See `Supervisor.ready`."""
        self._say("READY", "1")

    def alive(self) -> None:
        """At most one message per third of the watchdog's time; also repeats what did not get through."""
        self._flush()
        now = self._clock()
        if (
            self._interval is not None
            and now - self._pinged_at >= self._interval
            and self._send("WATCHDOG=1")
        ):
            self._pinged_at = now

    def status(self, text: str) -> None:
        """Sent when it differs from the last one."""
        self._say("STATUS", " ".join(text.splitlines()))

    def stopping(self) -> None:
        """See `Supervisor.stopping`."""
        self._say("STOPPING", "1")

    def close(self) -> None:
        """Release the socket; for tests, the daemon keeps it until it ends."""
        self._socket.close()

    def _say(self, key: str, value: str) -> None:
        if self._said.get(key) != value:
            self._said[key] = self._unsent[key] = value
            self._flush()

    def _flush(self) -> None:
        if self._unsent and self._send("\n".join(f"{key}={value}" for key, value in self._unsent.items())):
            self._unsent.clear()

    def _send(self, text: str) -> bool:
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError as error:
            if self._reachable:
                log.warning("sd_notify failed (%s); will retry", error)
            self._reachable = False
            return False
        self._reachable = True
        return True


def find_supervisor(environment: Mapping[str, str] = os.environ) -> Supervisor:
    """systemd's, where it started this process and wants notifications; else one that does nothing."""
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return NoSupervisor()
    return SystemdSupervisor(address, _watchdog_seconds(environment))


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None  # meant for the process that started us
    microseconds = environment.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isdigit() and int(microseconds) else None

"""A mailbox with one slot: the reader gets the newest, whatever it missed is counted and gone.

Not a queue: at 30 frames per second and 120 ms per inference the slot's frame is 17 ms old on average,
a queue's is seconds old and growing.
"""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Latest(Generic[Item]):
    """One writer thread, one reader thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: Item | None = None
        self._error: Exception | None = None
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Items that were overwritten unread."""
        with self._changed:
            return self._dropped

    def put(self, item: Item) -> None:
        """Replace what is there."""
        with self._changed:
            self._dropped += self._item is not None
            self._item = item
            self._changed.notify()

    def fail(self, error: Exception) -> None:
        """Nothing will come any more; `take` raises `error` once the last item is taken."""
        with self._changed:
            self._error = error
            self._changed.notify()

    def take(self, timeout: float) -> Item:
        """The newest item, once. Raises TimeoutError after `timeout` seconds, or what `fail` was given."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._error is not None, timeout)
            if self._item is not None:
                item, self._item = self._item, None
                return item
            if self._error is not None:
                raise self._error.with_traceback(None)  # raised at each call: it must not grow
            raise TimeoutError

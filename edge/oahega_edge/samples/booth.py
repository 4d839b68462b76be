"""Takes the crop of a person alone in view when somebody asks, and holds it in memory until they have chosen.

The daemon's loop shows every frame; threads of the control socket ask. At most one crop waits, for a
minute at most, and no longer than until the device is muted.
"""

from __future__ import annotations

import hmac
import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from oahega_edge.asking.alone import Muting, obstacle
from oahega_edge.asking.refusals import Refusal
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.pipeline import Step
from oahega_edge.manifest import EmotionEntry
from oahega_edge.samples.consent import ASKED, WRITTEN
from oahega_edge.samples.crop import crop_of
from oahega_edge.samples.sealed import Sample
from oahega_edge.samples.shelf import Shelf

_log = logging.getLogger(__name__)

WAIT_S = 5.0
"""Seconds in which a person must be in view after a press; less than the control socket's client waits."""
OFFER_S = 60.0
"""Seconds in which the person must choose."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What faces are read with."""

    entry: EmotionEntry
    labels: tuple[str, ...]
    """Those that may be published."""
    model: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A crop that waits for the person's choice."""

    token: str
    """Without it the crop can be neither kept nor discarded."""
    png: bytes
    reading: Reading
    until: float
    mutes: int
    """How often the device had been muted when the person pressed."""


@dataclass(slots=True)
class _Wish:
    """A press that waits for a face."""

    mutes: int
    answer: Offer | None = None
    """Set when the face is there."""
    obstacle: str = "nobody"
    """What stood in the way in the last frame: a word of refusals.SENTENCES."""


class Booth:
    """One camera's. `saw`, `use` and `due` are called by the loop, all else by any thread."""

    def __init__(
        self,
        shelf: Shelf,
        recipient: bytes,
        consent: str,
        mute: Muting,
        *,
        clock: Callable[[], float],
        today: Callable[[], date],
        least_px: float,
        masks: Sequence[Box] = (),
        wait: float = WAIT_S,
    ) -> None:
        """`least_px`: height from which a face is read; `clock`: monotonic seconds; `wait`: for a face."""
        self._shelf = shelf
        self._recipient = recipient
        self._consent = consent
        self._mute = mute
        self._clock = clock
        self._today = today
        self._least_px = least_px
        self._masks = masks
        self._wait = wait
        self._changed = threading.Condition()
        self._reading: Reading | None = None
        self._wish: _Wish | None = None
        self._offer: Offer | None = None

    def use(self, entry: EmotionEntry, labels: Sequence[str], model: str) -> None:
        """From now on, faces are read with this."""
        self._reading = Reading(entry, tuple(labels), model)

    def saw(self, frame: Frame, step: Step) -> None:
        """Take the crop that somebody waits for, if a person is alone in view."""
        wish, reading = self._wish, self._reading
        if wish is None or reading is None:
            return
        found = obstacle(frame, step.faces, self._least_px)
        if found is not None:
            wish.obstacle = found
            return
        png = crop_of(frame, step.faces[0].box, reading.entry, self._masks)
        with self._changed:
            if self._wish is wish:
                until = self._clock() + OFFER_S
                wish.answer = Offer(secrets.token_urlsafe(16), png, reading, until, wish.mutes)
                self._wish = None
                self._changed.notify_all()

    def due(self) -> None:
        """Drop a crop whose time is over or that was taken before a mute."""
        with self._changed:
            if self._wish is not None and self._is_muted_since(self._wish.mutes):
                self._wish.obstacle = "muted"
                self._changed.notify_all()
            if self._offer is not None and not self._holds(self._offer):
                self._offer = None
                _log.info("the picture that was offered is gone")

    def press(self) -> Offer:
        """Take the crop of the person alone in view and wait for their choice; Refusal."""
        wish = self._new_wish(ASKED)
        with self._changed:
            self._offer = self._taken(wish)
            return self._offer

    def keep(self, token: str, label: str) -> tuple[str, date]:
        """Keep the crop under this label: the code that withdraws it, the day on which it goes. Refusal."""
        with self._changed:
            offer = self._offered(token)
            if label not in offer.reading.labels:
                raise Refusal("no_label")
            self._offer = None
        return self._kept(offer, label)

    def discard(self, token: str) -> None:
        """The person does not agree. Refusal where the token is not that of the crop that waits."""
        with self._changed:
            self._offered(token)
            self._offer = None
        _log.info("the picture that was offered was declined")

    def record(self, label: str) -> tuple[str, date]:
        """Take and keep at once, of a person who agreed in writing; as `keep`."""
        wish = self._new_wish(WRITTEN)
        if self._reading is not None and label not in self._reading.labels:
            raise Refusal("no_label", ", ".join(self._reading.labels))
        with self._changed:
            offer = self._taken(wish)
        return self._kept(offer, label)

    def _new_wish(self, consent: str) -> _Wish:
        """Refusal where nothing may be taken now."""
        if self._consent != consent:
            raise Refusal("off")
        wish = _Wish(self._mute.times)  # before it is known that nothing is muted: a later mute counts
        if self._mute.muted:
            raise Refusal("muted")
        if self._shelf.is_full:
            raise Refusal("full")
        _log.info("a picture was asked for")
        return wish

    def _taken(self, wish: _Wish) -> Offer:
        """Wait for a person alone in view; called with the lock, which others get meanwhile."""
        self._offer, self._wish = None, wish
        self._changed.notify_all()
        self._changed.wait_for(lambda: self._is_over(wish), self._wait)
        if self._wish is wish:
            self._wish = None
        elif wish.answer is None:
            wish.obstacle = "replaced"
        if self._is_muted_since(wish.mutes):
            raise Refusal("muted")
        if wish.answer is None:
            raise Refusal(wish.obstacle)
        return wish.answer

    def _is_over(self, wish: _Wish) -> bool:
        return self._wish is not wish or self._is_muted_since(wish.mutes)

    def _kept(self, offer: Offer, label: str) -> tuple[str, date]:
        reading = offer.reading
        sample = Sample(offer.png, label, reading.model, self._consent, self._today())
        return self._shelf.keep(sample, self._recipient)

    def _offered(self, token: str) -> Offer:
        """The crop that waits, if this is its token."""
        offer = self._offer
        if offer is None or not hmac.compare_digest(token.encode(errors="replace"), offer.token.encode()):
            raise Refusal("gone")
        if not self._holds(offer):
            self._offer = None
            raise Refusal("gone")
        return offer

    def _holds(self, offer: Offer) -> bool:
        return self._clock() < offer.until and not self._is_muted_since(offer.mutes)

    def _is_muted_since(self, mutes: int) -> bool:
        return self._mute.muted or self._mute.times != mutes

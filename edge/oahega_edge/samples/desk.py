"""Samples as the daemon has them: its loop shows frames here, its control socket asks here."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Protocol

from oahega_edge.asking.refusals import Refusal
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.pipeline import Step
from oahega_edge.errors import EdgeError
from oahega_edge.manifest import EmotionEntry
from oahega_edge.samples.booth import Booth
from oahega_edge.samples.shelf import Shelf, Stock

REQUESTS = (
    "sample",
    "sample-keep",
    "sample-discard",
    "sample-record",
    "samples",
    "samples-withdraw",
    "samples-forget",
)
TIDY_S = 3600.0
"""Seconds after which the disk is looked at again, beside each new day."""


class Sampling(Protocol):
    """Is shown every frame that may be seen."""

    def use(self, entry: EmotionEntry, labels: Sequence[str], model: str) -> None:
        """From now on, faces are read with this."""
        ...

    def saw(self, frame: Frame, step: Step) -> None:
        """Must return at once."""
        ...

    def due(self) -> None:
        """Do what is due besides frames."""
        ...


class NoSampling:
    """Used where no frame is ever kept."""

    def use(self, entry: EmotionEntry, labels: Sequence[str], model: str) -> None:
        """Ignored."""

    def saw(self, frame: Frame, step: Step) -> None:
        """Ignored."""

    def due(self) -> None:
        """Nothing ever is."""


class Desk:
    """One camera's. Any thread may call `answer`; all else is the loop's."""

    def __init__(
        self,
        shelf: Shelf | None,
        booth: Booth | None,
        clock: Callable[[], float],
        today: Callable[[], date],
    ) -> None:
        """`shelf`: None where the daemon has no state folder; `booth`: None where nobody is asked."""
        self._shelf = shelf
        self._booth = booth
        self._clock = clock
        self._today = today
        self._tidied: tuple[date | None, float] = None, 0.0

    def use(self, entry: EmotionEntry, labels: Sequence[str], model: str) -> None:
        """From now on, faces are read with this."""
        if self._booth is not None:
            self._booth.use(entry, labels, model)

    def saw(self, frame: Frame, step: Step) -> None:
        """Take the crop that somebody waits for."""
        if self._booth is not None:
            self._booth.saw(frame, step)

    def due(self) -> None:
        """Delete what has expired, also where no more samples are taken; drop a crop that waited too long."""
        if self._booth is not None:
            self._booth.due()
        day, at = self._tidied
        if self._shelf is not None and (day != self._today() or self._clock() - at >= TIDY_S):
            self._tidied = self._today(), self._clock()
            self._shelf.tidy()

    def answer(self, request: str, value: Any) -> Mapping[str, Any]:
        """The answer to one of REQUESTS; a Refusal becomes an error with its word as the reason."""
        try:
            return self._answer(request, value if isinstance(value, dict) else {})
        except Refusal as refusal:
            return {"error": str(refusal), "reason": refusal.word}
        except OSError as error:
            return {"error": f"the samples on the disk cannot be read ({error.strerror})", "reason": "disk"}

    def _answer(self, request: str, given: dict[str, Any]) -> Mapping[str, Any]:
        def word(name: str) -> str:
            return text if isinstance(text := given.get(name), str) else ""

        match request:
            case "sample":
                offer = self._open_booth().press()
                picture = base64.b64encode(offer.png).decode()
                return {"token": offer.token, "picture": picture, "labels": offer.reading.labels}
            case "sample-keep":
                return _receipt(*self._open_booth().keep(word("token"), word("label")))
            case "sample-discard":
                return _done(lambda: self._open_booth().discard(word("token")))
            case "sample-record":
                return _receipt(*self._open_booth().record(word("label")))
            case "samples-withdraw":
                return _done(lambda: self._known_shelf().withdraw(word("code")))
            case "samples-forget":
                return {"deleted": self._known_shelf().forget()}
            case _:
                return figures(self._known_shelf().stock())

    def _open_booth(self) -> Booth:
        if self._booth is None:
            raise Refusal("off")
        return self._booth

    def _known_shelf(self) -> Shelf:
        if self._shelf is None:
            raise Refusal("off", "there is no state folder")
        return self._shelf


def figures(stock: Stock) -> dict[str, Any]:
    """For programs."""
    return {
        "samples": stock.samples,
        "most": stock.most,
        "next_goes": stock.next_goes.isoformat() if stock.next_goes else None,
        "last_goes": stock.last_goes.isoformat() if stock.last_goes else None,
        "withdrawn": stock.withdrawn,
    }


def as_table(name: str, answer: Mapping[str, Any]) -> str:
    """For people; `name` of the daemon where there are several."""
    most = f" of at most {answer['most']}" if "most" in answer else ""
    rows = [("device", name)] if name else []
    rows.append(("samples", f"{answer['samples']}{most}"))
    if answer["samples"]:
        rows.append(("go", f"from {answer['next_goes']} to {answer['last_goes']}"))
    rows.append(("withdrawn", str(answer["withdrawn"])))
    return "\n".join(f"{title:<11}{text}" for title, text in rows)


def ask_folder(state: Path, request: str, value: Any) -> dict[str, Any]:
    """What a daemon with this state folder would answer, where none runs. EdgeError when it would refuse."""
    if not os.access(state, os.R_OK | os.X_OK):
        raise EdgeError(f"--state {str(state)!r}: cannot be read by this user; use sudo -u oahega-edge")
    desk = Desk(Shelf(state, 0, 0, date.today), None, lambda: 0.0, date.today)
    answer = dict(desk.answer(request, value))
    if "error" in answer:
        raise EdgeError(answer["error"])
    answer.pop("most", None)  # only the daemon knows its settings
    return answer


def _receipt(code: str, goes_on: date) -> Mapping[str, Any]:
    return {"code": code, "goes_on": goes_on.isoformat()}


def _done(deed: Callable[[], None]) -> Mapping[str, Any]:
    deed()
    return {"done": True}

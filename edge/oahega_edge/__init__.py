"""Facial expressions from a camera or pictures. Public is what `__all__` names; docs/python.md shows it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oahega_edge.contract.events import Event
    from oahega_edge.errors import EdgeError
    from oahega_edge.reading.reader import Reader
    from oahega_edge.reading.stills import Face

__version__ = "0.4.0"

__all__ = ["EdgeError", "Event", "Face", "Reader", "__version__"]

_HOMES = {
    "EdgeError": "oahega_edge.errors",
    "Event": "oahega_edge.contract.events",
    "Face": "oahega_edge.reading.stills",
    "Reader": "oahega_edge.reading.reader",
}


def __getattr__(name: str) -> Any:
    """Import what is public when it is first asked for (PEP 562): the daemon's processes need none of it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)

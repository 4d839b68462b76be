"""An event's envelope as CloudEvents 1.0 attributes (MQTT binding, binary mode)."""

from __future__ import annotations

from oahega_edge.contract.events import Event, rfc3339

KEYS = ("specversion", "id", "source", "type", "time", "subject", "dataschema")
"""Names of the attributes, in the order in which they are sent."""


def cloud_event_attributes(event: Event) -> tuple[tuple[str, str], ...]:
    """Name and value of each attribute."""
    values = (
        "1.0",
        event.id,
        f"urn:oahega:device:{event.device}",
        f"oahega.expression.{event.phase}",
        rfc3339(event.time),
        event.track,
        event.schema_id,
    )
    return tuple(zip(KEYS, values, strict=True))

"""What goes over a connection to the broker."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

ProtocolVersion = Literal["5", "3.1.1"]
Token = tuple[int, int]
"""Names one sent message: number of the connection, paho's message id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One message to send. What needs MQTT 5 is left out where the broker speaks 3.1.1."""

    topic: str
    payload: str
    qos: Literal[0, 1] = 1
    retain: bool = False
    expiry_s: int | None = None
    content_type: str = "application/json"
    user_properties: tuple[tuple[str, str], ...] = ()
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One message that arrived."""

    topic: str
    payload: bytes
    retained: bool
    reply_to: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """One filter, at QoS 1."""

    topic: str
    as_published: bool = False
    """With MQTT 5, `retained` tells how a message was published, not whether it is an old one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the broker takes, as its CONNACK says (MQTT 5.0, section 3.2.2.3); one of 3.1.1 says nothing."""

    largest_packet: int | None = None
    """Bytes of a whole packet; None: any."""
    retains: bool = True
    highest_qos: Literal[0, 1] = 1
    receive_maximum: int = 65_535
    """Unacknowledged messages."""

    def fitted(self, message: Outgoing) -> Outgoing:
        """The message as this broker takes it."""
        return replace(
            message, qos=min(message.qos, self.highest_qos), retain=message.retain and self.retains
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the broker keeps for us while we are away."""

    will: Outgoing | None = None
    will_delay_s: int = 0
    expiry_s: int = 0
    """Never less than the will's delay: the end of the session fires the will."""

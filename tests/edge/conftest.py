"""What the tests of the device share."""

from __future__ import annotations

from brokers import mosquitto

__all__ = ["mosquitto"]

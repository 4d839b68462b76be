"""What a device does at the broker unless its settings say otherwise; the contract document states these."""

ROOT = "oahega/v1"
DISCOVERY_PREFIX = "homeassistant"
KEEPALIVE_S = 30
SESSION_EXPIRY_S = 60
"""How long the broker keeps the session of a device that vanished."""
EVENT_EXPIRY_S = 300
SUMMARY_EXPIRY_S = 86_400
STATE_EXPIRY_S = 60
HEALTH_EXPIRY_S = 180

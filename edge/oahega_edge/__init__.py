"""The daemon: camera frames in, facial expressions out over MQTT."""

__version__ = "0.1.0"

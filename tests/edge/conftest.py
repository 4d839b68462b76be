from brokers import mosquitto

__all__ = ["mosquitto"]

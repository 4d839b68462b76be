"""The device's own page: a process of its own, without camera and models."""

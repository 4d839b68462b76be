"""The daemon: its loop, settings, health, control, and what assembles them."""

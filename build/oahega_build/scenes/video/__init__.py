"""Decisions over time, played on what the chain saw in a clip: ways to decide, and how good each is."""

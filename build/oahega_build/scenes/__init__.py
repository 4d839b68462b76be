"""Drawn sequences and scenes, and what the whole chain makes of them."""

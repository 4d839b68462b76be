"""Where bodies are, as seen from their faces."""

from __future__ import annotations

from oahega_edge.chain.geometry import Box


def body_of(face: Box) -> Box:
    """Where the person of a face is at most."""
    x, width, height = face.center[0], face.width, face.height
    return Box(x - 1.5 * width, face.top - 0.3 * height, x + 1.5 * width, face.bottom + 6 * height)

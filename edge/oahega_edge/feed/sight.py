"""What one frame shows, in figures: for whoever mounts the camera."""

from __future__ import annotations

from oahega_edge.cameras.picture_quality import brightness, sharpness
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.pipeline import Step
from oahega_edge.contract.events import unit_xywh

DARK, GLARING = 50, 200
"""Brightness, 0..255, below and above which faces are read less well."""
BLURRED = 50
"""Sharpness below which the picture is blurred."""


def describe(frame: Frame, step: Step, least_px: float) -> dict[str, object]:
    """Boxes, heights, brightness, sharpness and advice; `least_px`: height from which a face is read."""
    light, edges = brightness(frame.pixels), sharpness(frame.pixels)
    heights = [round(face.box.height * frame.height) for face in step.faces]
    advice = {
        "dark": light < DARK,
        "bright": light > GLARING,
        "blurred": edges < BLURRED,
        "far": bool(heights) and max(heights) < least_px,
    }
    return {
        "width": frame.width,
        "height": frame.height,
        "faces": [
            {"box": unit_xywh(face.box), "height_px": height, "emotion": face.emotion}
            for face, height in zip(step.faces, heights, strict=True)
        ],
        "people": step.people,
        "brightness": round(light, 1),
        "sharpness": round(edges, 1),
        "advice": [word for word, wrong in advice.items() if wrong],
    }

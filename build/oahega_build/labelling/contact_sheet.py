"""A contact sheet: many small pictures on one, to inspect a class before training on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

CAPTION_HEIGHT = 14
INK, PAPER = (40, 40, 40), 250


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One picture of the sheet with its caption."""

    pixels: NDArray[np.uint8]
    """Grey (height, width) or RGB (height, width, 3)."""
    caption: str = ""
    alarm: bool = False
    """Whether it is drawn in a red frame."""


def draw_sheet(tiles: Sequence[Tile], side: int = 96, columns: int = 10) -> NDArray[np.uint8]:
    """RGB, a cell of `side` pixels per tile, and a line of text below each cell if any tile has a caption."""
    text = CAPTION_HEIGHT if any(tile.caption for tile in tiles) else 0
    rows = max(1, -(-len(tiles) // columns))
    sheet = np.full((rows * (side + text), columns * side, 3), PAPER, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * (side + text), number % columns * side
        sheet[top : top + side, left : left + side] = _cell(tile, side)
        if tile.caption:
            cv2.putText(
                sheet,
                _fitting(tile.caption, side),
                (left + 2, top + side + text - 4),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.32,
                INK,
                1,
                cv2.LINE_AA,
            )
    return sheet


def write_sheet(path: Path, tiles: Sequence[Tile], side: int = 96, columns: int = 10) -> None:
    """Write the sheet as a PNG or JPEG, by the suffix of the path."""
    cv2.imwrite(str(path), cv2.cvtColor(draw_sheet(tiles, side, columns), cv2.COLOR_RGB2BGR))


def evenly(count: int, most: int) -> list[int]:
    """At most `most` indices, spread evenly over 0..count-1."""
    return sorted({int(i) for i in np.linspace(0, count - 1, min(count, most))}) if count else []


def _cell(tile: Tile, side: int) -> NDArray[np.uint8]:
    pixels = tile.pixels if tile.pixels.ndim == 3 else cv2.cvtColor(tile.pixels, cv2.COLOR_GRAY2RGB)
    height, width = pixels.shape[:2]
    ratio = (side - 4) / max(height, width)
    size = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    kernel = cv2.INTER_AREA if ratio < 1 else cv2.INTER_NEAREST
    cell = np.full((side, side, 3), PAPER, np.uint8)
    top, left = (side - size[1]) // 2, (side - size[0]) // 2
    cell[top : top + size[1], left : left + size[0]] = cv2.resize(pixels, size, interpolation=kernel)
    if tile.alarm:
        cv2.rectangle(cell, (0, 0), (side - 1, side - 1), (200, 30, 30), 2)
    return cell


def _fitting(caption: str, side: int) -> str:
    most = max(4, side // 6)
    return caption if len(caption) <= most else "~" + caption[-most + 1 :]

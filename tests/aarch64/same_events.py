"""Compare the events of one clip from two machines: `python same_events.py ONE.jsonl OTHER.jsonl`.

Phases, emotions, tracks and counts must be equal. Probabilities and boxes may differ by as much as the int8
kernels of two processors do. Exits with 1 if the events differ.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SAME = ("schema", "device", "seq", "track", "phase", "emotion", "frames", "threshold", "model", "accelerator")
NEAR = 0.02
"""The largest allowed difference of a probability or of a side of a box, 0..1."""


def read(file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(file).read_text().splitlines()]


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    found = [f"{key}: {one[key]} and {other[key]}" for key in SAME if one[key] != other[key]]
    return found + ([f"far by {distance(one, other):.3f}"] if distance(one, other) > NEAR else [])


def distance(one: dict[str, Any], other: dict[str, Any]) -> float:
    sides = [abs(a - b) for a, b in zip(one["box"], other["box"], strict=True)]
    return max(*sides, *(abs(one["scores"][label] - other["scores"][label]) for label in one["scores"]))


def main(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> int:
    if len(one) != len(other) or not one:
        print(f"{len(one)} and {len(other)} events", file=sys.stderr)
        return 1
    pairs = list(zip(one, other, strict=True))
    found = [text for pair in pairs for text in differences(*pair)]
    print(f"{len(one)} events, largest difference {max(distance(*pair) for pair in pairs):.4f}")
    print("\n".join(found), file=sys.stderr, end="")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(read(sys.argv[1]), read(sys.argv[2])))

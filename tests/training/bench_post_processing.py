"""Prints how well the export with TFLite_Detection_PostProcess agrees with raw heads and our own decoding.

Run it as: python tests/training/bench_post_processing.py FOLDER [labelling run: artifacts/label/shared]
FOLDER comes from `export-detector --post-processing`. Both files see the held-out pictures as the device
fits them. They are two quantizations of one network, so scores and edges differ by a few steps.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from oahega_build.models.exported import Exported
from oahega_build.pictures.records import read_records, shards_of
from oahega_edge.chain.detection import Decoder
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import Placement, Quantizer, fit_picture
from oahega_edge.manifest import DetectorEntry

MARGIN = 0.05
"""So far above the suggested score a detection is compared: just above it, one of two files may be silent."""
SAME = 0.8
"""Least overlap of the same box."""


def main() -> None:
    folder = Path(sys.argv[1])
    labels = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("artifacts/label/shared")
    entry = DetectorEntry.model_validate_json((folder / "entry.json").read_text())
    sure = {label: score + MARGIN for label, score in entry.suggested.score.items()}
    decode = Decoder(entry, sure, entry.suggested.nms_iou)
    heads = Exported((folder / "detector.tflite").read_bytes(), entry.outputs)
    whole = Interpreter(str(folder / "detector_postprocess.tflite")).get_signature_runner()
    overlaps: list[float] = []
    differences: list[float] = []
    pictures = 0
    for record in read_records(shards_of(labels, "held")):
        pixels = fit_picture(record.pixels(), entry.input, entry.resize)[0]
        theirs = whole(pixels=pixels[None])
        count = int(theirs["count"].item())
        boxes = [
            Box(left, top, right, bottom) for top, left, bottom, right in theirs["boxes"][0][:count].tolist()
        ]
        for mine in decode(heads.run(Quantizer(entry.input)(pixels)), Placement(1.0, 1.0)):
            alike = np.flatnonzero(theirs["classes"][0][:count] == entry.labels.index(mine.label))
            best = max(alike, key=lambda i: boxes[i].iou(mine.box), default=None)
            overlaps.append(0.0 if best is None else boxes[best].iou(mine.box))
            if overlaps[-1] >= SAME:
                differences.append(abs(float(theirs["scores"][0][best]) - mine.score))
        pictures += 1
    found = np.mean(np.array(overlaps) >= SAME)
    print(
        f"{pictures} pictures, {len(overlaps)} detections at least {MARGIN} above the suggested score: "
        f"{found:.1%} have the same box (overlap {SAME} or more; median {np.median(overlaps):.3f}), scores "
        f"differ by {np.median(differences):.3f} (95 %: {np.quantile(differences, 0.95):.3f})"
    )


if __name__ == "__main__":
    main()

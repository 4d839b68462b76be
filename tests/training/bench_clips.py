"""Prints, for every clip of real people, what the detector and its tracks see beside YuNet at 640 px.

Run it as: python tests/training/bench_clips.py [folder of a bundle]
`found`: YuNet's faces (score >= .7, at least 5 % of the picture's height) that ours has too.
`alone`: our detections, and tracks, that no face of YuNet's (score >= .3) supports: false alarms, unless
YuNet is wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from oahega_build.scenes.chain import Chain, bundle_chain, device_of, device_settings
from oahega_build.scenes.video.methods import Device
from oahega_build.scenes.video.records import Find, clip_frames, recorded, yunet
from oahega_edge.bundles.load import DEFAULT_BUNDLE
from oahega_edge.cameras import open_camera
from oahega_edge.chain.detection import FACE, Detection
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.geometry import Box
from oahega_edge.endings import is_video
from oahega_edge.service.chains import UNSURE

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
SURE, PERHAPS, SMALLEST, SAME = 0.7, 0.3, 0.05, 0.4


class Beside:
    """Our detector, and YuNet on the same frames."""

    def __init__(self, ours: Find, beside: Find) -> None:
        self._ours, self._beside = ours, beside
        self.theirs: list[list[Detection]] = []

    def __call__(self, frame: Frame) -> list[Detection]:
        self.theirs.append(self._beside(frame))
        return self._ours(frame)


def is_there(box: Box, detections: Iterable[Detection], least: float) -> bool:
    """Whether one of the detections is of this face."""
    return any(d.label == FACE and d.score >= least and d.box.iou(box) >= SAME for d in detections)


def row(path: Path, chain: Chain, device: Device) -> str:
    """One clip's line of the table."""
    theirs = yunet(SHARED / "teachers" / "yunet" / "yunet_s_640_640.onnx", PERHAPS, side=640)
    beside = Beside(chain.detector, theirs)
    record = recorded(path.name, "", clip_frames(open_camera(str(path))), beside, chain.classifier)
    wanted = found = alone = 0
    supported: dict[int, int] = {}
    for moment, theirs, sights in zip(record.moments, beside.theirs, device.sights(record), strict=True):
        ours = [face.detection for face in moment.faces]
        sure = [d for d in theirs if d.score >= SURE and d.box.height >= SMALLEST]
        wanted += len(sure)
        found += sum(is_there(d.box, ours, chain.face_score * UNSURE) for d in sure)
        alone += sum(d.score >= chain.face_score and not is_there(d.box, theirs, PERHAPS) for d in ours)
        for sight in sights:
            supported.setdefault(sight.tracked.track, 0)
            supported[sight.tracked.track] += is_there(sight.tracked.box, theirs, PERHAPS)
    lonely = sum(not times for times in supported.values())
    return (
        f"{path.name:<46}{len(record.moments):>7}{wanted:>8}{found:>7}{alone:>7}"
        f"{len(supported):>8}{lonely:>7}"
    )


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_BUNDLE
    print(f"{'clip':<46}{'frames':>7}{'YuNet':>8}{'found':>7}{'alone':>7}{'tracks':>8}{'alone':>7}")
    with bundle_chain(folder) as chain:
        device = device_of(device_settings(folder, ()), chain)
        for path in sorted((SHARED / "media").rglob("*")):
            if is_video(path):
                print(row(path, chain, device), flush=True)


if __name__ == "__main__":
    main()

"""Makes the pictures of the README from free material: `make pictures`. Five minutes; look at each result.

NASA's portrait of Eileen Collins (public domain) with what `read` says of it, the device's own page while the
demo's clip plays, and the head of the report on a training with drawn faces, in the distribution's chromium.
One alone: `python docs/pictures/make.py report`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import Error, expect, sync_playwright
from skimage import data

from oahega_edge.tools.demo_clip import write_demo_clip

HERE = Path(__file__).parent
LARGEST = 200_000
"""Bytes of a picture."""
PORT = 8397
WAIT_MS = 300_000


def main() -> None:
    """Make them all, or those that the command line names."""
    makers = {"read": read, "page": page, "report": report}
    for name in sys.argv[1:] or makers:
        with tempfile.TemporaryDirectory(prefix="oahega-pictures-") as folder:
            keep(makers[name](Path(folder)), f"{name}.jpg")


def keep(pixels: np.ndarray, name: str) -> None:
    """As a JPEG of bounded size."""
    path = HERE / name
    for quality in (92, 85, 75, 60):
        cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if path.stat().st_size <= LARGEST:
            print(f"{path}: {pixels.shape[1]} x {pixels.shape[0]}, {path.stat().st_size / 1000:.0f} kB")
            return
    raise SystemExit(f"{path} is larger than {LARGEST} bytes; make the picture smaller")


def read(folder: Path) -> np.ndarray:
    """A photograph with what `read` says of its face."""
    photograph, drawn = folder / "astronaut.png", folder / "drawn"
    cv2.imwrite(str(photograph), cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR))
    oahega_edge("read", str(photograph), "--annotate", str(drawn))
    (made,) = drawn.iterdir()
    pixels = cv2.imread(str(made))
    assert pixels is not None
    return pixels[:400]


def page(folder: Path) -> np.ndarray:
    """The device's own page with a face in view."""
    clip, shot = write_demo_clip(folder / "demo.mp4"), folder / "page.png"
    settings = [
        f"--set=camera.source=loop:{clip}",
        "--set=deployment.context=development",
        f"--set=page.port={PORT}",
        "--config=/dev/null",
    ]
    with (
        running("run", folder, settings),
        running("page", folder, settings),
        sync_playwright() as playwright,
    ):
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        opened = chromium.new_page(viewport={"width": 1200, "height": 900}, locale="en-GB")
        opened.set_default_timeout(WAIT_MS)
        arrive(opened, f"http://127.0.0.1:{PORT}/")
        opened.locator("#chart rect").first.wait_for(state="attached")  # once a minute
        expect(opened.locator("#emotion")).to_have_text("happy", timeout=WAIT_MS)
        opened.screenshot(path=shot, full_page=True)
        chromium.close()
    pixels = cv2.imread(str(shot))
    assert pixels is not None
    return pixels


def report(folder: Path) -> np.ndarray:
    """The head of what `all` reports: a small training on drawn faces in six classes."""
    sys.path.append(str(HERE.parents[1] / "tests/training"))
    from drawn_faces import draw_dataset

    faces, out, shot = draw_dataset(folder / "faces", 120), folder / "out", folder / "report.png"
    words = ["all", "--recipe", "quick", "--dataset", str(faces), "--out", str(out)]
    subprocess.run([sys.executable, "-m", "oahega_build", *words], check=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        opened = chromium.new_page(viewport={"width": 1200, "height": 1300}, locale="en-GB")
        opened.goto((out / "report.html").as_uri())
        opened.screenshot(path=shot)
        chromium.close()
    pixels = cv2.imread(str(shot))
    assert pixels is not None
    return pixels


def arrive(opened, address: str) -> None:  # type: ignore[no-untyped-def]
    """Open the page as soon as it is served."""
    for _ in range(600):
        try:
            opened.goto(address)
        except Error:  # refused: it is not served yet
            opened.wait_for_timeout(500)
        else:
            return
    raise SystemExit(f"{address} is not served after five minutes; see what `oahega-edge page` says")


@contextmanager
def running(verb: str, folder: Path, settings: list[str]) -> Iterator[None]:
    """A verb with its own runtime folder."""
    environment = os.environ | {"RUNTIME_DIRECTORY": str(folder), "STATE_DIRECTORY": str(folder)}
    command = [sys.executable, "-m", "oahega_edge", verb, *settings]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def oahega_edge(*words: str) -> None:
    """Run a verb to its end."""
    subprocess.run([sys.executable, "-m", "oahega_edge", *words], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()

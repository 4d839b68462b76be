"""Good inputs that must stay readable: codecs and containers, pictures, annotations, bundles.

`make good-media` makes them anew, reads them as the verbs do and prints a table. What FFmpeg or Pillow cannot
write on this machine is named in it.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from oahega_build.errors import DataError
from oahega_build.pictures.dataset import read_dataset
from oahega_build.pictures.problems import Problems
from oahega_build.pictures.readers import read_coco, read_text_folder, read_wider_face
from oahega_edge.bundles.load import load_bundle, seal
from oahega_edge.cameras import open_camera
from oahega_edge.errors import EdgeError, EndOfSource
from oahega_edge.reading.pictures import decode
from oahega_edge.service.settings import read_password

pytestmark = pytest.mark.long

SIZE, FPS, FRAMES = (352, 288), 25, 30
NOT_MADE = "not made here"
PACKAGED = Path(__file__).resolve().parents[2] / "edge/oahega_edge/bundles/default"
Pixels = NDArray[np.uint8]
Rows = list[tuple[str, str]]

VIDEOS: Mapping[str, tuple[str, str]] = {
    "H.264 in MP4": ("a.mp4", "-c:v libx264"),
    "H.264 in MP4, index first": ("b.mp4", "-c:v libx264 -movflags +faststart"),
    "H.264 in MP4, fragments": ("c.mp4", "-c:v libx264 -movflags frag_keyframe+empty_moov"),
    "H.264 in Matroska": ("a.mkv", "-c:v libx264"),
    "H.264 in QuickTime": ("a.mov", "-c:v libx264"),
    "H.264 in a transport stream": ("a.ts", "-c:v libx264"),
    "H.264 of a Blu-ray": ("a.m2ts", "-c:v libx264"),
    "H.264 in Flash": ("a.flv", "-c:v libx264"),
    "H.264 in AVI": ("h264.avi", "-c:v libx264 -bf 0"),
    "H.264 without container": ("a.h264", "-c:v libx264 -bf 0"),
    "H.264 of 10 bit": ("ten.mp4", "-c:v libx264 -pix_fmt yuv420p10le"),
    "H.264 4:4:4": ("full.mp4", "-c:v libx264 -pix_fmt yuv444p"),
    "HEVC in MP4": ("hevc.mp4", "-c:v libx265 -x265-params log-level=none -tag:v hvc1"),
    "HEVC without container": ("a.265", "-c:v libx265 -x265-params log-level=none:bframes=0"),
    "VP8 in WebM": ("vp8.webm", "-c:v libvpx"),
    "VP9 in WebM": ("vp9.webm", "-c:v libvpx-vp9 -cpu-used 8"),
    "MPEG-4 in AVI": ("mpeg4.avi", "-c:v mpeg4 -q:v 3"),
    "MPEG-4 in 3GP": ("a.3gp", "-c:v mpeg4 -q:v 3"),
    "H.263 in 3GP": ("h263.3gp", "-c:v h263 -q:v 3"),
    "MPEG-2 program stream": ("a.mpg", "-c:v mpeg2video -q:v 3"),
    "MPEG-2 of a DVD": ("a.vob", "-c:v mpeg2video -q:v 3"),
    "MPEG-1": ("b.mpg", "-c:v mpeg1video -q:v 3"),
    "MJPEG in AVI": ("mjpeg.avi", "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p"),
    "MJPEG without container": ("a.mjpeg", "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p"),
    "Windows Media": ("a.wmv", "-c:v wmv2 -q:v 3"),
    "Theora": ("a.ogv", "-c:v libtheora -q:v 8"),
    "ProRes": ("prores.mov", "-c:v prores"),
    "FFV1": ("ffv1.mkv", "-c:v ffv1"),
    "HuffYUV": ("huff.avi", "-c:v huffyuv"),
    "raw video in AVI": ("raw.avi", "-c:v rawvideo -pix_fmt yuv420p"),
    "Y4M": ("a.y4m", "-pix_fmt yuv420p"),
    "NUT": ("a.nut", "-c:v mpeg4 -q:v 3"),
    "GIF": ("a.gif", "-vf split[a][b];[a]palettegen[p];[b][p]paletteuse"),
    "animated PNG": ("a.png", "-f apng"),
    "animated WebP": ("a.webp", "-c:v libwebp_anim -lossless 1"),
    "with sound": ("sound.mp4", "-f lavfi -i sine=r=44100 -shortest -c:v libx264 -c:a aac"),
    "a colon in its name": ("10:30.avi", "-c:v mpeg4 -q:v 3"),
    "digits in its name": ("img_%03d 001.mp4", "-c:v libx264 -f mp4"),
    "capital letters": ("CLIP.MP4", "-c:v libx264"),
    "a name in another script": ("відео усмішка.mp4", "-c:v libx264"),
}
"""What it is -> file name, options of FFmpeg."""


def filmed(number: int) -> Pixels:
    """A square that moves over coloured quarters."""
    width, height = SIZE
    frame = np.full((height, width, 3), 90, np.uint8)
    frame[: height // 2, : width // 2] = (180, 60, 50)
    frame[height // 2 :, width // 2 :] = (50, 80, 190)
    left = 8 * number % (width - 64)
    frame[112:176, left : left + 64] = 230
    return frame


def likeness(a: Pixels, b: Pixels) -> float:
    """Mean distance of two pictures in grey levels."""
    return float(np.abs(a.astype(int) - b.astype(int)).mean()) if a.shape == b.shape else 255.0


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Lossless, from which all others are made."""
    folder = tmp_path_factory.mktemp("good")
    for number in range(FRAMES):
        cv2.imwrite(str(folder / f"{number:03d}.png"), filmed(number)[..., ::-1])
    return folder


def test_a_codec_that_is_not_decoded_is_named(clip: Path, tmp_path: Path) -> None:
    """OpenCV's wheels hold no decoder for AV1."""
    result = seen_of(clip, tmp_path / "av1.mp4", "-c:v libaom-av1 -cpu-used 8")

    assert result.startswith((NOT_MADE, "ok")) or "av01" in result.lower()


def told(title: str, rows: Rows) -> list[str]:
    """Print the table; the rows that are not good."""
    print(f"\n{title}")
    for name, result in rows:
        print(f"  {name:<36} {result}")
    return [f"{name}: {result}" for name, result in rows if not result.startswith(("ok", NOT_MADE))]


def test_every_usual_video_is_read_frame_by_frame(clip: Path, tmp_path: Path) -> None:
    if shutil.which("ffmpeg") is None:
        pytest.skip("no ffmpeg, which makes the videos")

    rows = [(name, seen_of(clip, tmp_path / file, options)) for name, (file, options) in VIDEOS.items()]

    assert not told("videos", rows)


def seen_of(clip: Path, path: Path, options: str) -> str:
    source = ["-framerate", str(FPS), "-i", str(clip / "%03d.png")]
    # A `%` is a pattern for some muxers: written under a plain name.
    plain = path.with_name("made" + path.suffix)
    command = ["ffmpeg", "-v", "error", "-y", *source, *options.split(), str(plain)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        return f"{NOT_MADE}: {made.stderr.strip().splitlines()[-1][:60]}"
    plain.rename(path)
    try:
        with open_camera(str(path)) as camera:
            frames = []
            while True:
                try:
                    frames.append(camera.read(30))
                except EndOfSource:
                    break
    except EdgeError as error:
        return f"ERROR {error}"
    far = max(likeness(frame.pixels, filmed(i)) for i, frame in enumerate(frames[:FRAMES]))
    times = [frame.captured_at for frame in frames]
    is_good = len(frames) == FRAMES and far < 12 and times == sorted(set(times))
    lasts = times[-1] - times[0]
    is_good = is_good and abs(lasts - (FRAMES - 1) / FPS) < 0.1
    return f"{'ok' if is_good else 'WRONG'}: {len(frames)} frames, {lasts:.2f} s, {far:.1f} levels away"


def pictures() -> Iterator[tuple[str, str, Callable[[], bytes]]]:
    """What it is, its ending, its bytes."""
    drawing = Image.fromarray(filmed(5))
    turns = [None, *(getattr(Image.Transpose, name) for name in TURNS)]

    def saved(kind: str, picture: Image.Image = drawing, **options: Any) -> Callable[[], bytes]:
        def encoded() -> bytes:
            out = io.BytesIO()
            picture.save(out, kind, **options)
            return out.getvalue()

        return encoded

    for number, turn in enumerate(turns, 1):
        exif = Image.Exif()
        exif[0x112] = number
        stored = drawing if turn is None else drawing.transpose(turn)
        yield f"JPEG of orientation {number}", ".jpg", saved("JPEG", stored, exif=exif, quality=95)
        yield f"WebP of orientation {number}", ".webp", saved("WEBP", stored, exif=exif, lossless=True)
    yield "progressive JPEG", ".jpeg", saved("JPEG", quality=95, progressive=True)
    yield "JPEG of CMYK", ".jpg", saved("JPEG", drawing.convert("CMYK"), quality=95)
    yield "JPEG called JFIF", ".jfif", saved("JPEG", quality=95)
    yield "JPEG in capital letters", ".JPG", saved("JPEG", quality=95)
    yield "PNG", ".png", saved("PNG")
    yield "PNG with a palette", ".png", saved("PNG", drawing.quantize(64))
    yield "PNG with alpha", ".png", saved("PNG", drawing.convert("RGBA"))
    yield "PNG of 16 bit", ".png", lambda: cv2_encoded(".png", filmed(5).astype(np.uint16) * 257)
    yield "interlaced PNG", ".png", saved("PNG", interlace=1)
    yield "WebP, lossy", ".webp", saved("WEBP", quality=95)
    yield "WebP with alpha", ".webp", saved("WEBP", drawing.convert("RGBA"), lossless=True)
    yield "BMP", ".bmp", saved("BMP")
    yield "DIB", ".dib", saved("BMP")
    yield "TIFF", ".tif", saved("TIFF")
    yield "TIFF, LZW", ".tiff", saved("TIFF", compression="tiff_lzw")
    yield "TIFF of 16 bit", ".tif", lambda: cv2_encoded(".tif", filmed(5).astype(np.uint16) * 257)
    yield "PPM", ".ppm", saved("PPM")
    yield "JPEG 2000", ".jp2", lambda: cv2_encoded(".jp2", filmed(5))
    if features.check("avif"):
        yield "AVIF", ".avif", saved("AVIF", quality=95)


TURNS = (
    "FLIP_LEFT_RIGHT",
    "ROTATE_180",
    "FLIP_TOP_BOTTOM",
    "TRANSPOSE",
    "ROTATE_90",
    "TRANSVERSE",
    "ROTATE_270",
)
"""What a camera that writes orientation 2 to 8 did to the scene."""


def cv2_encoded(ending: str, rgb: NDArray[Any]) -> bytes:
    return cv2.imencode(ending, rgb[..., ::-1])[1].tobytes()


def test_every_usual_picture_is_read(tmp_path: Path) -> None:
    rows: Rows = []
    for number, (name, ending, encoded) in enumerate(pictures()):
        data = encoded()
        file = tmp_path / f"{number}{ending}"
        file.write_bytes(data)
        try:
            with open_camera(str(file)) as camera:
                seen = {"read": decode(data, name), "camera": camera.read(5).pixels}
        except EdgeError as error:
            rows.append((name, f"ERROR {error}"))
            continue
        far = {verb: round(likeness(pixels, filmed(5)), 1) for verb, pixels in seen.items()}
        rows.append((name, f"{'ok' if max(far.values()) < 6 else 'WRONG'}: levels away {far}"))

    assert not told("pictures", rows)


def drawn(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(
            str(folder / name), np.random.default_rng(len(name)).integers(0, 255, (40, 80, 3), np.uint8)
        )
    return folder


def of_text(folder: Path, text: bytes, names: Mapping[str, str] | None = None) -> int:
    drawn(folder, "a.png")
    (folder / "a.txt").write_bytes(text)
    found = read_text_folder(folder, "s", frozenset(), Problems(), *([names] if names else []))
    return sum(len(picture.boxes) for picture in found)


def of_coco(folder: Path, **changes: Any) -> int:
    drawn(folder, "a.png")
    image = {"id": 1, "file_name": "a.png", "width": 80, "height": 40} | changes.get("image", {})
    box = {"id": 1, "image_id": image["id"], "category_id": 1, "bbox": [4, 4, 20, 20]} | changes.get(
        "box", {}
    )
    content = {"images": [image], "annotations": [box], "categories": [{"id": 1, "name": "person"}]}
    (folder / "c.json").write_text(json.dumps(content), encoding=changes.get("encoding", "utf-8"))
    found = read_coco(folder / "c.json", folder, {"person": "person"}, Problems())
    return sum(len(picture.boxes) for picture in found)


def of_wider(folder: Path, text: bytes) -> int:
    drawn(folder, "x/a.png")
    (folder / "w.txt").write_bytes(text)
    return sum(len(p.boxes) for p in read_wider_face(folder / "w.txt", folder, None, Problems()))


def of_folders(folder: Path, *parts: str) -> int:
    drawn(
        folder, *(f"{part}{label}/{i}.png" for part in parts for label in ("happy", "sad") for i in range(2))
    )
    read = read_dataset(folder)
    return len(read.labels) + len(read.valid)


def of_votes(folder: Path, text: bytes) -> int:
    drawn(folder, "happy/1.png", "sad/1.png")
    (folder / "votes.csv").write_bytes(text)
    return int(sum(float(sample.target.max()) < 1 for sample in read_dataset(folder).train))


def of_password(folder: Path, text: bytes) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "password").write_bytes(text)
    return int(read_password(folder / "password", "here").get_secret_value() == "gehеim 7")


VOTES = "file,happy,sad\nhappy/1.png,3,1\nsad/1.png,0,4\n"
WIDER = b"x/a.png\n1\n4 4 20 20 0 0 0 0 0 0\n"

LISTS: Mapping[str, tuple[int, Callable[[Path], int]]] = {
    "own text": (1, lambda f: of_text(f, b"face 0.5 0.5 0.2 0.2\n")),
    "text of Windows": (2, lambda f: of_text(f, b"\xef\xbb\xbfface .5 .5 .2 .2\r\nperson .5 .5 .4 .4\r\n")),
    "text in UTF-16": (1, lambda f: of_text(f, "face .5 .5 .2 .2\n".encode("utf-16"))),
    "YOLO with names": (1, lambda f: of_text(f, b"0 0.5 0.5 0.2 0.2\n", {"0": "person"})),
    "COCO": (1, of_coco),
    "COCO, sizes as text": (1, lambda f: of_coco(f, image={"width": "80", "height": "40"})),
    "COCO without sizes": (1, lambda f: of_coco(f, image={"width": 0, "height": 0})),
    "COCO, ids as text": (1, lambda f: of_coco(f, image={"id": "a1"})),
    "COCO with decimals": (1, lambda f: of_coco(f, box={"bbox": [4.25, 4.5, 20.75, 20.5]})),
    "COCO with a byte order mark": (1, lambda f: of_coco(f, encoding="utf-8-sig")),
    "WIDER": (1, lambda f: of_wider(f, WIDER)),
    "WIDER of Windows": (1, lambda f: of_wider(f, b"\xef\xbb\xbf" + WIDER.replace(b"\n", b"\r\n") + b"\r\n")),
    "WIDER, backslashes": (1, lambda f: of_wider(f, WIDER.replace(b"x/a", b"x\\a"))),
    "folders": (2, lambda f: of_folders(f, "")),
    "folders train, valid": (6, lambda f: of_folders(f, "train/", "valid/")),
    "folders Train, Test": (6, lambda f: of_folders(f, "Train/", "Test/")),
    "folders training_set, test_set": (6, lambda f: of_folders(f, "training_set/", "test_set/")),
    "votes": (1, lambda f: of_votes(f, VOTES.encode())),
    "votes, semicolons": (1, lambda f: of_votes(f, VOTES.replace(",", ";").encode())),
    "votes, tabs": (1, lambda f: of_votes(f, VOTES.replace(",", "\t").encode())),
    "votes of a spreadsheet": (1, lambda f: of_votes(f, VOTES.replace("\n", "\r\n").encode("utf-8-sig"))),
    "votes in UTF-16": (1, lambda f: of_votes(f, VOTES.encode("utf-16"))),
    "password of Windows": (1, lambda f: of_password(f, "gehеim 7\r\n".encode("utf-8-sig"))),
    "password in UTF-16": (1, lambda f: of_password(f, "gehеim 7\n".encode("utf-16"))),
}
"""What it is -> how many things are in it, how they are counted."""


def test_every_usual_list_is_read(tmp_path: Path) -> None:
    rows: Rows = []
    for number, (name, (expected, count)) in enumerate(LISTS.items()):
        try:
            found = count(tmp_path / str(number))
        except (DataError, EdgeError, ValueError) as error:
            rows.append((name, f"ERROR {error}"))
        else:
            rows.append((name, f"{'ok' if found == expected else 'WRONG'}: {found} of {expected}"))

    assert not told("annotations, lists, folders", rows)


def test_every_usual_bundle_is_read(tmp_path: Path) -> None:
    def copied(name: str) -> Path:
        return Path(shutil.copytree(PACKAGED, tmp_path / name))

    def linked() -> Path:
        (tmp_path / "current").symlink_to(copied("release-1"))
        return tmp_path / "current"

    def renamed() -> Path:
        folder = copied("2026-11-26")
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"version": "2026-11-26"}, indent=1))
        seal(folder)
        return folder

    def extra() -> Path:
        folder = copied("with notes")
        (folder / ".DS_Store").write_bytes(b"x")
        return folder

    kinds: dict[str, Callable[[], Path]] = {
        "embedded": lambda: PACKAGED,
        "copied": lambda: copied("copy"),
        "spaces and another script": lambda: copied("пакет 1 "),
        "behind a link": linked,
        "its version is a date": renamed,
        "a file of the system beside it": extra,
    }
    rows: Rows = []
    for name, made in kinds.items():
        try:
            bundle = load_bundle(made())
        except EdgeError as error:
            rows.append((name, f"ERROR {error}"))
        else:
            rows.append((name, f"ok: {bundle.manifest.name} {bundle.manifest.version}"))

    assert not told("bundles", rows)

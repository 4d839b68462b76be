"""Interlaced video (recorders, DV, old cameras) is decoded; this test chooses the OpenCV that is pinned."""

from __future__ import annotations

import base64
import shutil
import subprocess
import zlib
from pathlib import Path

import numpy as np
import pytest

from filmed import read_all
from oahega_edge.cameras.video import VideoFile

# Two frames of 64x64, the left half black, the right half white, made by FFmpeg 5.1 with
# -flags +ildct+ilme (libx264, mpeg2video, prores_ks); zlib, base 85.
CLIPS = {
    "h264.mp4": (
        "c-muNU{FXasVvAW&d+6FU}6B#Kx~v)mTZ_?U}DI?z`&7Kl$r{p9dc6=OMtX$YDYt3Lj3=4-`4#(tzA;ja5iVIho5Jf"
        "pyWIknW(?zn~#Pny>0|5<aV6JA$=nJ|G&Ml4h#&;#<}_VWkBJa+_H=m1{A>j0!RcfFfxD;0x+VgLgza$-~~)T6kAf1"
        "m<?pdlw^bLWX57z0ESLt>~(-UKqWP$q!>ucq~;WtAn6D|=w-Z`o06FbWGLjOp!?kjh*=mykAOM487VnMFqyK<lvHGu"
        "VL*PqM`B(|PAW(ZV?%CcUK)@gQkDxg6xo?7DG)iCl%mu$BuDX-7Ud{F*o+RvB}q9z_JQJ(;uIt`8$gkdBPc+gc3|)T"
        "(jG7sqCP<Nrj~lf=6Z$(1`0WuNfkzBCP+FY{{IJ(W<XWWj42GF{~t0)rUU6UMJz794IQ9J;Q$hh6Mii8QD$Ud%lP5c"
        "uhaea#}ANRfr7;10;oGcSR|>W2pY(u4<ML9qPPSc0WkM6fe}zG&|k>nAS?qEOGXo8LXxXOO+XBqK+F#@D>)xYp8*gj"
        "m8O({A~h;E6-<MGB60)*BfTiGpdbf1_;fQNsYG>UNj}IxSzxA0gatG(B-4N)X#@^Q0F)z)2L"
    ),
    "mpeg2.mpg": (
        "c-muNVBDq1z{tRO*f^bmfpIqjCy1f=|G|T2K<)#E!-fpZ)f)vFnByk``I}i79EAV>e;@&5Zxv|*>H`AC9Sj@{4h$d;"
        "|NkE#ng0Ku!4izZHFi^$xGvT7=&rlHR8uh1D@X|_%!FN-8M`nGc3}pF@c+LXK(;l?Lv0hvl?Is(p_m~Q3xwLoF2?_V"
        "6pVsVFbYP&C>RA00066cOTP"
    ),
    "prores.mov": (
        "c-rMt%}T>S5T0&p>n}(ts8BFMk1A0S@zfkddQiwkPlBx3goY+2X16JNQN+6!U%`WKAtLw+9zA&QAq1UG({|g6C>|X$"
        "`DSM4=iAK&07{NH4Nruo0T5^-jJ8~6OW$Wyp#Sb#p#wJnJ2bYy0OJY>AqHe~-^)k}BPrxlC?uFK6#iOoAUPd~4n-*H"
        "IT!^}n7_WyKR>-(Rxhi=k>BS3@4b@;KL}zh^ZdBZpii=I_%a~_^65#YKWor8;9DX1EQyFV&^{22WM=k@Zst(sPv#n3"
        "0u`GHj##!mE|dzhSDU%@nM={od^WiERn#1ue<aRQoq3To{JIy#$$!(6$$bn2HG0fE8<R4o?;blCFU5Y+RHeDtX~eKm"
        "Gx9XG(Zm)NwA%+Ntlg)~BHK|mFqzg#`<06$5AlKv&Xk;xhE`oYrtR%rGdX*yc)_8DX04MkBk%qC=JMLc@`|o&VH89*"
        "KWy+Wwb>7O5aW((dt?l)>5%d;?Jaed3&E9nq&*AD$jegV=~{v%TsuqG-qSe7tU$@Hpe{6-kRNI8j<+J1+IvK@4w79>"
        "$bJF|NuZD"
    ),
}


def halves(path: Path) -> list[tuple[float, float]]:
    """Mean brightness of the left and the right half of each frame, off their edge."""
    with VideoFile(path) as camera:
        frames = [frame.pixels for frame in read_all(camera)]
    return [
        (
            float(pixels[:, : pixels.shape[1] * 3 // 8].mean()),
            float(pixels[:, pixels.shape[1] * 5 // 8 :].mean()),
        )
        for pixels in frames
    ]


@pytest.mark.parametrize("name", CLIPS)
def test_interlaced_frames_show_what_was_filmed(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(zlib.decompress(base64.b85decode(CLIPS[name])))

    found = halves(path)

    assert len(found) == 2
    np.testing.assert_allclose(found, [(0, 255)] * 2, atol=12)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is absent")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("h264.ts", "-c:v libx264 -flags +ildct+ilme"),
        ("h264.mkv", "-c:v libx264 -x264-params bff=1"),
        ("ten.mkv", "-c:v libx264 -pix_fmt yuv420p10le -flags +ildct+ilme"),
        ("mpeg2.ts", "-c:v mpeg2video -flags +ildct+ilme"),
        ("mpeg4.avi", "-c:v mpeg4 -flags +ildct+ilme"),
        ("prores.mov", "-c:v prores_ks -flags +ildct+ilme"),
        ("dv.avi", "-c:v dvvideo -pix_fmt yuv420p"),
        ("dv.dv", "-c:v dvvideo -pix_fmt yuv420p"),
    ],
)
def test_every_usual_interlaced_form_is_decoded(name: str, options: str, tmp_path: Path) -> None:
    drawn = "color=c=black:s=720x576:r=25,setfield=tff,drawbox=x=360:w=360:h=576:color=white:t=fill"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", drawn, "-t", "1", *options.split()]
    subprocess.run([*command, str(tmp_path / name)], check=True)

    found = halves(tmp_path / name)

    assert len(found) >= 24
    np.testing.assert_allclose(found, [(0, 255)] * len(found), atol=12)

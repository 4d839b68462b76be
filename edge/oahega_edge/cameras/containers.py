"""Whether a video's file is shorter than its own container says, the one sure sign that it was cut off.

Counts and durations are no such sign: phones and screens record at a varying rate, edit lists hide frames,
and a last frame may stand for long. Of a stream without sizes (TS, MPEG, raw) nobody can tell.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from oahega_edge.files import open_file

ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
MP4_FIRST_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
TAIL = 4096
LARGEST_VIDEO = 1 << 50
"""Bytes: no limit in practice, as a video is read frame by frame."""


def is_cut_off(path: Path) -> bool:
    """By the sizes in MP4, MOV, Matroska, WebM, AVI and ASF, the trailer of GIF, and a tail of zeros."""
    if not path.is_file():  # of a pipe, nobody can tell
        return False
    with open_file(path, LARGEST_VIDEO) as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(16)
        file.seek(max(0, size - TAIL))
        tail = file.read()
        if head.startswith(b"GIF8"):  # GIF89a, section 27: the trailer
            return not tail.rstrip(b"\0\r\n").endswith(b";")
        if size > TAIL and not any(tail):  # what a download reserved and never filled
            return True
        file.seek(0)
        if head[4:8] in MP4_FIRST_BOXES:
            return _end_of_boxes(file, size) > size
        if head.startswith(b"\x1aE\xdf\xa3"):
            return _end_of_elements(file, size) > size
        if head.startswith(b"RIFF"):
            return _end_of_chunks(file, size) > size + 1  # a last byte of padding may be absent
        if head == ASF_HEADER:
            return _asf_size(file.read(65536)) > size
    return False


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """ISO 14496-12, section 4.2: size, type; size 1 is followed by 64 bits, size 0 reaches to the end."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8 or not head[4:8].isascii():
            break  # up to the end, or no box any more
        at += length
    return at


def _end_of_elements(file: BinaryIO, size: int) -> int:
    """RFC 8794: id and size of each element; a size of ones only is unknown, as live recordings have it."""
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(12)
        id_length = _vint_length(head[0])
        length = _vint_length(head[id_length]) if id_length < len(head) else 0
        if not (0 < id_length <= 4 and length) or id_length + length > len(head):
            break
        ones = (1 << 7 * length) - 1
        value = int.from_bytes(head[id_length : id_length + length], "big") & ones
        if value == ones:
            break
        at += id_length + length + value
    return at


def _vint_length(first: int) -> int:
    return 9 - first.bit_length() if first else 0


def _end_of_chunks(file: BinaryIO, size: int) -> int:
    """One RIFF chunk after another (OpenDML); a recorder that lost power leaves the size at 0."""
    at = 0
    while at + 8 <= size:
        file.seek(at)
        head = file.read(8)
        length = int.from_bytes(head[4:8], "little")
        if head[:4] != b"RIFF" or not length:
            break
        at += 8 + length + length % 2
    return at


def _asf_size(head: bytes) -> int:
    """ASF specification, 3.2: the size that the file properties state; 0 where there are none."""
    at = head.find(ASF_FILE_PROPERTIES)
    return int.from_bytes(head[at + 40 : at + 48], "little") if at >= 0 else 0

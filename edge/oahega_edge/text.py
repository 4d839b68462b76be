"""Text files as people save them: UTF-8 with or without a byte order mark, UTF-16, any line ends."""

from __future__ import annotations

import codecs
from pathlib import Path

from oahega_edge.files import read_file


def read_text(path: Path, most: int) -> str:
    """The file's text without its mark, each line ending in `\\n`; at most `most` bytes.

    Raises OSError, and ValueError for another encoding.
    """
    return decode_text(read_file(path, most))


def decode_text(data: bytes) -> str:
    """As `read_text`, from bytes."""
    encoding = _encoding(data)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"it is not {encoding.removesuffix('-sig').upper()} at byte {error.start}; save it as UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def is_text(name: str) -> bool:
    """Whether a file's name is UTF-8. One that is not ends the process when it is handed to OpenCV."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _encoding(data: bytes) -> str:
    """By the mark; without one, a zero beside the first letter tells UTF-16."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if len(data) > 1 and 0 in data[:2]:
        return "utf-16-le" if data[1] == 0 else "utf-16-be"
    return "utf-8-sig"

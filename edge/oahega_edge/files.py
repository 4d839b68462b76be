"""Files from outside are read in one way: regular files only, whole, up to a stated size, without waiting.

What does not fit is an OSError whose `strerror` is the reason, fit to stand inside a sentence.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

NULL = os.makedev(1, 3)
"""/dev/null is an empty file: `--config /dev/null` asks for no settings."""
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def read_file(path: Path, most: int, folder: Path | None = None) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Links are followed, but not out of `folder` where one is given.
    """
    with open_file(path, most, folder) as file:
        try:
            return _content(file)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None


def open_file(path: Path, most: int, folder: Path | None = None) -> BufferedReader:
    """As `read_file`, for what is too large for the memory, or of which a part is enough."""
    try:
        # O_PATH opens nothing: no device is touched, no pipe is waited for. What is opened below is the same
        # inode, whatever happens to the path meanwhile.
        found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except ValueError:
        raise OSError(errno.EINVAL, "there is a zero byte in its name", str(path)) from None
    try:
        _check(found, most)
        if folder is not None and not _place(found).is_relative_to(os.path.realpath(folder)):
            raise OSError(errno.ELOOP, "it is a link out of its folder")
        descriptor = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        return os.fdopen(descriptor, "rb")
    except OSError as error:  # with the name that the caller knows, instead of the descriptor's
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        os.close(found)


@contextmanager
def in_memory(content: bytes) -> Iterator[Path]:
    """A path to these bytes that never touches a disk, for libraries that open files themselves."""
    descriptor = os.memfd_create("content", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _check(found: int, most: int) -> None:
    about = os.fstat(found)
    kind = stat.S_IFMT(about.st_mode)
    if kind == stat.S_IFCHR and about.st_rdev == NULL:
        return
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(kind, 'no regular file')}, not a regular file")
    if about.st_size > most:
        raise OSError(errno.EFBIG, f"it has {about.st_size} bytes, more than {most}")


def _place(found: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{found}"))


def _content(file: BufferedReader) -> bytes:
    size = os.fstat(file.fileno()).st_size
    content = file.read(size + 1)
    if len(content) != size:
        how = "ended early" if len(content) < size else "grew"
        raise OSError(errno.EIO, f"it {how} while its {size} bytes were read")
    return content


def replace_file(path: Path, text: str) -> None:
    """Write a file of ours anew: a power cut leaves the old one or the new one.

    Bytes and names of `os`: paths and texts of Python take a third of the time of the whole.
    """
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}.new")
    with open(beside, "wb") as new:  # ours alone: the state folder
        new.write(text.encode())
        new.flush()
        os.fsync(new.fileno())
    os.replace(beside, path)

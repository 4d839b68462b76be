"""Where the control sockets of this machine's daemons lie, and that a folder has one daemon at most."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from oahega_edge.errors import EdgeError

_log = logging.getLogger(__name__)

PROGRAM = "oahega-edge"
SOCKET = "control.sock"
SYSTEM = Path("/run")
"""Where systemd makes the RuntimeDirectory of each service."""
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL}
"""What file systems without locks answer."""


def own_folder(environment: Mapping[str, str], name: str) -> Path:
    """Of the daemon `name`: systemd's RuntimeDirectory where there is one, else a folder of this user's."""
    given = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
    return Path(given) if given else _of_the_user(environment) / f"{PROGRAM}-{name}"


def daemon_folder(environment: Mapping[str, str], device: str, instance: str | None) -> Path:
    """Of a daemon, for a process beside it: the service's where systemd runs it, else this user's."""
    service = SYSTEM / (PROGRAM if instance is None else f"{PROGRAM}-{instance}")
    if service.is_dir() and "RUNTIME_DIRECTORY" not in environment:
        return service
    return own_folder(environment, instance or device)


def sockets(environment: Mapping[str, str], name: str | None = None) -> list[Path]:
    """Where daemons may listen: all that this machine and user have folders for, or those called `name`."""
    given = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if given:
        return [Path(given) / SOCKET]
    pattern = f"{PROGRAM}*" if name is None else f"{PROGRAM}-{name}"
    places = dict.fromkeys((SYSTEM, _of_the_user(environment)))
    folders = [folder for place in places for folder in sorted(place.glob(pattern)) if folder.is_dir()]
    return [folder / SOCKET for folder in folders]


def name_of(socket: Path) -> str:
    """What `--instance` calls the daemon at a socket; the plain service and a folder of its own have none."""
    return socket.parent.name.removeprefix(f"{PROGRAM}-") if socket.parent.name != PROGRAM else ""


def not_ours(folder: Path) -> str | None:
    """Why no socket may be made in a folder: others could put theirs in its place. None when it is ours."""
    link, found = folder.lstat(), folder.stat()
    if link.st_uid not in (0, os.geteuid()):
        return f"it is a link of the user {link.st_uid}"
    if found.st_uid != os.geteuid():
        return f"it belongs to the user {found.st_uid}"
    if found.st_mode & stat.S_IWOTH:
        return "every user may write to it"
    return next(filter(None, map(_not_trusted, folder.resolve().parents)), None)


@contextmanager
def claimed(folders: Iterable[Path]) -> Iterator[None]:
    """Hold the folders until the end of the block or process; EdgeError when another daemon holds one."""
    with ExitStack() as stack:
        held: set[tuple[int, int]] = set()
        for folder in folders:
            descriptor = _opened(folder)
            if descriptor is None:
                continue
            stack.callback(os.close, descriptor)
            found = os.fstat(descriptor)
            if (found.st_dev, found.st_ino) not in held:
                held.add((found.st_dev, found.st_ino))
                _lock(descriptor, folder)
        yield


def _not_trusted(parent: Path) -> str | None:
    """Why others could put another folder in the place of one inside of `parent`."""
    found = parent.stat()
    if found.st_uid not in (0, os.geteuid()):
        return f"{parent} belongs to the user {found.st_uid}"
    if found.st_mode & stat.S_IWOTH and not found.st_mode & stat.S_ISVTX:
        return f"every user may write to {parent}"
    return None


def _of_the_user(environment: Mapping[str, str]) -> Path:
    runtime = environment.get("XDG_RUNTIME_DIR")
    if runtime:
        return Path(runtime)
    home = environment.get("HOME") or os.path.expanduser("~")
    return Path(environment.get("XDG_STATE_HOME") or f"{home}/.local/state")


def _opened(folder: Path) -> int | None:
    """A descriptor of the folder, made where it is missing; None where that is impossible."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        _log.warning("%s cannot be used: %s", folder, error.strerror)
        return None


def _lock(descriptor: int, folder: Path) -> None:
    """Lock the folder itself: that leaves no file behind, and works where nothing can be written."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise EdgeError(
            f"another oahega-edge uses {folder} already; stop it, or give this one its own device.name and "
            "store.path"
        ) from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        _log.warning("%s cannot be locked (%s); start no second daemon on it", folder, error.strerror)

"""The last bundle that worked, kept as a copy in the state folder.

With it the device goes on when the bundle in its place does not fit: cut off while it was copied,
overwritten, deleted, or a link to nowhere. The copy's folder is named after the digest of its manifest.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from pathlib import Path

from oahega_edge.bundles.load import (
    LARGEST_MANIFEST,
    LARGEST_SIGNATURE,
    LARGEST_SUMS,
    MANIFEST,
    SIGNATURE,
    SUMS,
    is_embedded,
    load_bundle,
)
from oahega_edge.errors import EdgeError
from oahega_edge.files import read_file, replace_file

_log = logging.getLogger(__name__)

FOLDER = "last-good"
WORKED, MOST_WORKED = "worked", 16
"""Digests of the bundles that worked on this device, the newest last; how many are remembered."""
LARGEST_WORKED = 4096


class KeptBundle:
    """One copy, replaced when another bundle has worked; nothing is kept without a state folder."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else folder / FOLDER
        self._warned = False
        self._in_memory: list[str] = []
        """Digests of the bundles that worked, where no file of them can be read."""

    @property
    def path(self) -> Path | None:
        """Where it lies, None while there is none."""
        found = self._copies()
        return Path(os.path.realpath(found[-1])) if found else None

    @property
    def sha256(self) -> str | None:
        """The digest of its manifest."""
        found = self._copies()
        return found[-1].name if found else None

    def has_worked(self, sha256: str) -> bool:
        """Whether this bundle was kept once, so that going back to it needs no proof."""
        return sha256 in (self.sha256, *self._worked())

    def _worked(self) -> list[str]:
        """Digests, the newest last."""
        if self._folder is None:
            return self._in_memory
        try:
            return read_file(self._folder / WORKED, LARGEST_WORKED).decode().split()
        except (OSError, ValueError):
            return self._in_memory

    def _remember(self, sha256: str) -> None:
        known = self._worked()
        if known[-1:] == [sha256]:
            return
        self._in_memory = [*(each for each in known if each != sha256), sha256][-MOST_WORKED:]
        if self._folder is not None:
            replace_file(self._folder / WORKED, "\n".join(self._in_memory))

    def keep(self, path: Path, sha256: str) -> None:
        """Copy the bundle at `path` in place of the one that is kept; a failure is only logged."""
        before = self.sha256
        try:
            if self._folder is not None and before != sha256:
                self._replace(self._folder, path, sha256)
            for worked in filter(None, (before, sha256)):
                self._remember(worked)
            self._warned = False
        except (OSError, EdgeError) as error:
            if not self._warned:
                _log.warning(
                    "bundle %s cannot be kept in %s (%s); the next start needs it in its place",
                    path,
                    self._folder,
                    error,
                )
            self._warned = True

    def _copies(self) -> list[Path]:
        """The whole ones, oldest first; more than one when the power was cut in `keep`."""
        if self._folder is None:
            return []
        try:
            names = [each for each in self._folder.iterdir() if re.fullmatch("[0-9a-f]{64}", each.name)]
            return sorted((each for each in names if each.is_dir()), key=lambda each: each.lstat().st_mtime)
        except OSError:
            return []

    def _replace(self, folder: Path, path: Path, sha256: str) -> None:
        old = self._copies()
        new = folder / "new"
        folder.mkdir(parents=True, exist_ok=True)
        _remove(new)
        if is_embedded(path):
            new.symlink_to(path)  # it came with the code and needs neither copy nor signature
        else:
            _copy(path, new, sha256)
        target = folder / sha256
        _remove(target)
        new.rename(target)
        _sync(folder)
        for each in old:
            if each != target:
                _remove(each)


def _copy(path: Path, new: Path, sha256: str) -> None:
    """Every file that the manifest names, as it was verified, on the disk."""
    bundle = load_bundle(path)
    contents = {model.file: bundle.content(model) for model in bundle.manifest.files}
    contents[MANIFEST] = read_file(path / MANIFEST, LARGEST_MANIFEST, path)
    if hashlib.sha256(contents[MANIFEST]).hexdigest() != sha256:
        raise OSError("it is another bundle now")
    contents[SUMS] = read_file(path / SUMS, LARGEST_SUMS, path)
    if (path / SIGNATURE).exists():
        contents[SIGNATURE] = read_file(path / SIGNATURE, LARGEST_SIGNATURE, path)
    new.mkdir()
    for name, content in contents.items():
        with (new / name).open("xb") as file:
            file.write(content)
            os.fsync(file.fileno())
    _sync(new)


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A folder of opened samples, a folder per label, and the book of what is known of each.

`.samples.json` names every sample that was ever opened here: one that was thrown away or withdrawn does not
come back when the same files are opened again.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from oahega_build.errors import BuildError
from oahega_edge.errors import plain
from oahega_edge.files import read_file, replace_file

BOOK = ".samples.json"
LARGEST_BOOK = 1 << 26
NAME = re.compile(r"[0-9a-f]{32}")
"""Of a sample: the hash of the code that withdraws it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample."""

    told: str
    """What its person said that it shows."""
    label: str | None
    """The folder that it is in; None when it was thrown away or withdrawn."""
    model: str
    """The bundle of the device."""
    consent: str
    day: str
    device: str
    reviewed: bool = False


class Book:
    """The opened samples of one folder. Pictures of people: only their owner can read them."""

    def __init__(self, folder: Path) -> None:
        """BuildError where the folder cannot be used."""
        self.folder = folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._entries = _read(folder / BOOK)
        except OSError as error:
            raise BuildError(f"{folder} cannot be used: {error.strerror}; name another folder") from error

    def __len__(self) -> int:
        return sum(entry.label is not None for entry in self._entries.values())

    @property
    def present(self) -> dict[str, Entry]:
        """Samples whose picture is here, by name."""
        return {
            name: entry
            for name, entry in self._entries.items()
            if entry.label is not None and self.picture(name).is_file()
        }

    def knows(self, name: str) -> bool:
        """Whether it was opened before."""
        return name in self._entries

    def picture(self, name: str) -> Path:
        """The file of a sample whose entry has a label."""
        return self.folder / str(self._entries[name].label) / f"{name}.png"

    def add(self, name: str, entry: Entry, png: bytes) -> None:
        """A sample that was opened just now."""
        self._entries[name] = entry
        picture = self.picture(name)
        picture.parent.mkdir(mode=0o700, exist_ok=True)
        with os.fdopen(os.open(picture, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(png)

    def judge(self, name: str, label: str | None) -> None:
        """Confirm or correct the label; None throws the picture away. KeyError for an unknown one."""
        entry = self._entries[name]
        if entry.label is None:
            raise KeyError(name)
        if label is None:
            self._delete(name)
        elif label != entry.label:
            before, after = self.picture(name), self.folder / label / f"{name}.png"
            after.parent.mkdir(mode=0o700, exist_ok=True)
            before.rename(after)
            _remove_empty(before.parent)
        self._entries[name] = replace(entry, label=label, reviewed=True)
        self.save()

    def withdraw(self, name: str) -> bool:
        """Delete the picture, now and whenever it should come again; whether there was one."""
        entry = self._entries.get(name, Entry("", None, "", "", "", ""))
        self._entries[name] = replace(entry, label=None)
        return self._delete(name)

    def _delete(self, name: str) -> bool:
        """From wherever in the folder it is, also if somebody moved it by hand."""
        pictures = list(self.folder.glob(f"*/{name}.png"))
        for picture in pictures:
            picture.unlink()
            _remove_empty(picture.parent)
        return bool(pictures)

    def save(self) -> None:
        """Write the book, whole or not at all."""
        entries = {name: asdict(entry) for name, entry in sorted(self._entries.items())}
        replace_file(self.folder / BOOK, json.dumps(entries, ensure_ascii=False, indent=1) + "\n")


def _read(file: Path) -> dict[str, Entry]:
    try:
        return TypeAdapter(dict[str, Entry]).validate_json(read_file(file, LARGEST_BOOK))
    except FileNotFoundError:
        return {}
    except ValidationError as error:
        reason = plain(error.errors(include_url=False)[0]["msg"])
        raise BuildError(f"{file} is damaged ({reason}); delete it to open all samples anew") from None


def _remove_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()

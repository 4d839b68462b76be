"""Opens what `oahega_edge/samples/sealed.py` sealed, on the operator's machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from pydantic import BaseModel, ConfigDict, Field

from oahega_build.errors import BuildError
from oahega_build.samples.book import NAME, Book, Entry
from oahega_edge.errors import plain
from oahega_edge.files import read_file
from oahega_edge.manifest import Label
from oahega_edge.samples.codes import hash_of
from oahega_edge.samples.crop import LARGEST_SIDE
from oahega_edge.samples.sealed import HEADER, LARGEST, key_hash, read_header
from oahega_edge.samples.shelf import SEALED, WITHDRAWN


class About(BaseModel):
    """What stands beside a picture; checked, because whoever knows the public key can write it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: Label
    model: Annotated[str, Field(max_length=256)]
    consent: Literal["asked-at-the-device", "written"]
    day: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    size: Annotated[int, Field(alias="bytes", ge=1, le=LARGEST)]


@dataclass(slots=True)
class Opened:
    """What opening a folder brought."""

    opened: int = 0
    withdrawn: int = 0
    """Pictures that had been opened before and are deleted now."""
    for_others: int = 0
    """Sealed for another key."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """File -> reason."""

    def sentences(self, total: int) -> Iterator[str]:
        """What to tell the operator; `total` pictures are in the folder now."""
        yield f"opened {self.opened} samples, deleted {self.withdrawn} that were withdrawn; {total} are here"
        if self.for_others:
            yield f"{self.for_others} samples are sealed for another key; open them with that one"
        for name, reason in self.unreadable.items():
            yield f"{name} is left out: {reason}"


class WrongKey(ValueError):
    """Sealed for another key."""


def open_sealed(content: bytes, key: X25519PrivateKey, name: str) -> tuple[About, bytes]:
    """What is said of the picture, and the picture as PNG; `name` is the hash of its code.

    ValueError with the reason; WrongKey.
    """
    header = read_header(content)
    if header.code_hash.hex() != name:
        raise ValueError("it has the name of another sample")
    if header.recipient != key_hash(key.public_key().public_bytes_raw()):
        raise WrongKey("it is sealed for another key")
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    try:
        inside = suite.decrypt(content[HEADER.size :], key, content[: HEADER.size])
    except (InvalidTag, ValueError):
        raise ValueError("it was damaged or changed") from None
    line, _, rest = inside.partition(b"\n")
    about = About.model_validate_json(line)
    png = rest[: about.size]
    if not 0 < _largest_side(png) <= LARGEST_SIDE or _decoded(png) is None:
        raise ValueError(f"it holds no PNG of at most {LARGEST_SIDE} pixels")
    return about, png


def _largest_side(png: bytes) -> int:
    """As a PNG's beginning says, before anything is decoded: a few bytes may claim to be gigabytes."""
    if len(png) < 24 or png[:8] != b"\x89PNG\r\n\x1a\n" or png[12:16] != b"IHDR":
        return 0
    return max(int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big"))


def _decoded(png: bytes) -> Any:
    """None for what OpenCV does not read."""
    try:
        return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


def open_samples(fetched: Path, key: X25519PrivateKey, book: Book) -> Opened:
    """Open all below `fetched` (a folder per device) that is new to the book; delete what was withdrawn."""
    opened = Opened()
    withdrawn = {file.stem for file in fetched.rglob(f"*{WITHDRAWN}") if NAME.fullmatch(file.stem)}
    for name in withdrawn:
        opened.withdrawn += book.withdraw(name)
    for file in sorted(fetched.rglob(f"*{SEALED}")):
        if file.stem in withdrawn:
            file.unlink()
        elif NAME.fullmatch(file.stem) is None:
            opened.unreadable[plain(file.name)] = "its name is not that of a sample"
        elif not book.knows(file.stem):
            _open(file, fetched, key, book, opened)
    book.save()
    return opened


def withdraw_here(fetched: Path, book: Book, code: str) -> None:
    """Delete the sample of this code, opened or not, also if the device has forgotten it. BuildError."""
    try:
        name = hash_of(code).hex()
    except ValueError as error:
        raise BuildError(f"--withdraw: {error}") from None
    sealed = list(fetched.rglob(f"{name}{SEALED}"))
    if not sealed and not book.knows(name):
        raise BuildError("--withdraw: no sample here has this code; look at the devices: oahega-edge samples")
    book.withdraw(name)
    for file in sealed:
        file.unlink()
    book.save()


def _open(file: Path, fetched: Path, key: X25519PrivateKey, book: Book, opened: Opened) -> None:
    try:
        about, png = open_sealed(read_file(file, LARGEST), key, file.stem)
    except WrongKey:
        opened.for_others += 1
    except OSError as error:
        opened.unreadable[file.name] = error.strerror or "cannot be read"
    except ValueError as error:
        opened.unreadable[file.name] = "what is in it makes no sense" if "\n" in str(error) else str(error)
    else:
        parts = file.relative_to(fetched).parts
        device = parts[0] if len(parts) > 1 else ""
        book.add(
            file.stem, Entry(about.label, about.label, about.model, about.consent, about.day, device), png
        )
        opened.opened += 1

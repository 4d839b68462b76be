"""The file of a sample, sealed so that only the operator's private key opens it.

| bytes | content |
|---|---|
| 8 | `oahegaS1`: the kind of file and its version |
| 16 | hash of the code that withdraws the sample |
| 4 | day on which it goes, days since 1970-01-01, the most significant byte first |
| 8 | SHA-256 of the recipient's public key, its beginning |
| rest | HPKE (RFC 9180), base mode: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305 |

HPKE's `info` is the 36 bytes before the rest, so none of them can be changed.
The first 32 bytes of the rest are an X25519 key that was made for this sample alone and whose private half is
forgotten. Inside are one line of JSON, the picture as PNG, and zeros up to a multiple of `BLOCK`, so that the
size does not tell the label. No function of the device opens it; `oahega_build/samples/opening.py` does.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from datetime import date, timedelta

from oahega_edge.errors import SettingsError

MAGIC = b"oahegaS1"
HEADER = struct.Struct(">8s16sI8s")
BLOCK = 4096
LARGEST = 1 << 16
"""Bytes of a file: 96 x 96 pixels in three colours and all that is around them are less."""
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Sample:
    """What a person agreed to give."""

    png: bytes
    """The face as the classifier sees it."""
    label: str
    """What the person says that it shows."""
    model: str
    """The bundle in use, name and version."""
    consent: str
    """How the person agreed: the setting `samples.consent`."""
    day: date


@dataclass(frozen=True, slots=True)
class Header:
    """What can be read of a sealed sample without its key."""

    code_hash: bytes
    goes_on: date
    recipient: bytes
    """The beginning of a hash of the public key."""


def check_sealing(recipient: bytes) -> None:
    """SettingsError where the library is missing or too old, or where nothing can be sealed for this key."""
    try:
        seal(Sample(b"", "", "", "", _EPOCH), bytes(16), _EPOCH, recipient)
    except ImportError as error:
        raise SettingsError(
            f"samples.consent needs the package cryptography, 50 or newer ({error}): "
            "pip install 'oahega-edge[signed]'"
        ) from error
    except ValueError as error:
        raise SettingsError(
            "samples.recipient is a key for which nothing can be sealed; make one with "
            "`python -m oahega_build sample-key FILE`"
        ) from error


def seal(sample: Sample, code_hash: bytes, goes_on: date, recipient: bytes) -> bytes:
    """The content of the file; `recipient` is the operator's raw public key."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
    from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

    header = HEADER.pack(MAGIC, code_hash, (goes_on - _EPOCH).days, key_hash(recipient))
    suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
    return header + suite.encrypt(_packed(sample), X25519PublicKey.from_public_bytes(recipient), header)


def read_header(content: bytes) -> Header:
    """Of a file's beginning; ValueError where it is none."""
    if len(content) < HEADER.size:
        raise ValueError("it is cut off")
    magic, code_hash, days, recipient = HEADER.unpack_from(content)
    if magic != MAGIC:
        raise ValueError("it is no sealed sample of this release")
    try:
        return Header(code_hash, _EPOCH + timedelta(days), recipient)
    except OverflowError:
        raise ValueError("its day is no day") from None


def key_hash(recipient: bytes) -> bytes:
    """By which a sealed sample names its recipient."""
    return hashlib.sha256(recipient).digest()[:8]


def _packed(sample: Sample) -> bytes:
    about = {
        "label": sample.label,
        "model": sample.model,
        "consent": sample.consent,
        "day": sample.day.isoformat(),
        "bytes": len(sample.png),
    }
    content = json.dumps(about).encode() + b"\n" + sample.png
    return content + bytes(-len(content) % BLOCK)

"""Who made a bundle: an Ed25519 signature (RFC 8032) over its SHA256SUMS, which covers every other file."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from oahega_edge.errors import BundleError, SettingsError

KEY_BYTES = 32
SIGNATURE_BYTES = 64


def parse_public_key(text: str) -> Ed25519PublicKey:
    """A key as the settings hold it: 32 bytes in base64. SettingsError when it is none."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != KEY_BYTES:
        raise SettingsError(
            f"bundle.public_keys: {text!r} is not an Ed25519 key; "
            "put in the line that `oahega_build keygen` printed"
        )
    return Ed25519PublicKey.from_public_bytes(raw)


def verify(folder: Path, sums: bytes, text: bytes, keys: Sequence[Ed25519PublicKey]) -> None:
    """BundleError unless `text`, 64 bytes in base64, is a signature of `sums` by one of `keys`.

    Two keys are given while one replaces the other.
    """
    try:
        signature = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        signature = b""
    if len(signature) == SIGNATURE_BYTES:
        for key in keys:
            try:
                key.verify(signature, sums)
            except InvalidSignature:
                continue
            return
    raise BundleError(
        f"the signature of bundle {folder} fits none of the {len(keys)} keys in bundle.public_keys; "
        "get the bundle again from whom you trust, or add their key"
    )

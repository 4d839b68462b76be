"""Keys and signatures of bundles; the device's half is oahega_edge/bundles/signature.py."""

from __future__ import annotations

import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from oahega_build.errors import BuildError
from oahega_build.runs.private_keys import write_new_key
from oahega_edge.bundles.load import LARGEST_SUMS, SIGNATURE, SUMS, load_bundle
from oahega_edge.bundles.signature import KEY_BYTES
from oahega_edge.files import read_file

LARGEST_KEY = 1024
"""Bytes of a file."""


def make_key(private: Path) -> str:
    """Write a new private key (base64, mode 0600) and return the public one for the settings.

    Raises BuildError where the file exists: a lost key cannot be made again.
    """
    key = Ed25519PrivateKey.generate()
    write_new_key(private, base64.b64encode(key.private_bytes_raw()).decode())
    return _public(key)


def sign_bundle(folder: Path, private: Path) -> str:
    """Check and sign a sealed bundle; returns the public key."""
    key = read_key(private)
    load_bundle(folder)
    signature = base64.b64encode(key.sign(read_file(folder / SUMS, LARGEST_SUMS, folder))) + b"\n"
    temporary = folder / f"{SIGNATURE}.new"
    temporary.write_bytes(signature)
    temporary.replace(folder / SIGNATURE)
    return _public(key)


def read_key(private: Path) -> Ed25519PrivateKey:
    """Raises BuildError where the file holds no private key."""
    try:
        raw = base64.b64decode(read_file(private, LARGEST_KEY).strip(), validate=True)
    except (OSError, ValueError) as error:
        raise BuildError(f"the key {private} cannot be read ({error}); make one with `keygen`") from error
    if len(raw) != KEY_BYTES:
        raise BuildError(
            f"the key {private} holds {len(raw)} bytes instead of {KEY_BYTES}; make one with `keygen`"
        )
    return Ed25519PrivateKey.from_private_bytes(raw)


def _public(key: Ed25519PrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()

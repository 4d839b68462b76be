"""The operator's key pair for samples. The device gets the public half only."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from oahega_build.errors import BuildError
from oahega_build.runs.private_keys import write_new_key
from oahega_edge.files import read_file
from oahega_edge.samples.keys import PRIVATE, PUBLIC, key_text, read_key

LARGEST_KEY = 1024
"""Bytes of a file."""


def make_key(private: Path) -> str:
    """Write a new private key (mode 0600) and return the public one for `samples.recipient`.

    BuildError where the file exists: what was sealed for a lost key is lost.
    """
    key = X25519PrivateKey.generate()
    write_new_key(private, key_text(PRIVATE, key.private_bytes_raw()))
    return public_text(key)


def load_key(private: Path) -> X25519PrivateKey:
    """The private key of a file; BuildError, which repeats nothing of it."""
    try:
        text = read_file(private, LARGEST_KEY).decode("ascii").strip()
        return X25519PrivateKey.from_private_bytes(read_key(PRIVATE, text))
    except OSError as error:
        raise BuildError(f"the key {private} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise BuildError(f"the key {private} is no text; make one with `sample-key`") from None
    except ValueError as error:
        raise BuildError(f"the key {private} {error}; make one with `sample-key`") from None


def public_text(key: X25519PrivateKey) -> str:
    """The public half, for the settings of devices."""
    return key_text(PUBLIC, key.public_key().public_bytes_raw())

"""Keys of samples as text, with a checksum: what is sealed for a mistyped key nobody can open."""

from __future__ import annotations

import base64
import hashlib

PUBLIC, PRIVATE = "sample-key-", "secret-sample-key-"
"""Beginnings of the two texts; a key for signing bundles has neither."""
KEY_BYTES = 32
CHECK_BYTES = 4


def key_text(kind: str, key: bytes) -> str:
    """The raw X25519 `key` (32 bytes) as text; `kind` is PUBLIC or PRIVATE."""
    return kind + base64.urlsafe_b64encode(key + _check(kind, key)).decode()


def read_key(kind: str, text: str) -> bytes:
    """The 32 bytes of a key's text; ValueError, which never repeats the text."""
    if not text.startswith(kind):
        raise ValueError(f"is no key of samples, which begins with {kind}")
    try:
        raw = base64.urlsafe_b64decode(text.removeprefix(kind).encode("ascii"))
    except ValueError:
        raw = b""
    key, check = raw[:KEY_BYTES], raw[KEY_BYTES:]
    if len(key) != KEY_BYTES or check != _check(kind, key):
        raise ValueError("was cut off or mistyped; copy the whole key again")
    return key


def _check(kind: str, key: bytes) -> bytes:
    return hashlib.sha256(kind.encode() + key).digest()[:CHECK_BYTES]

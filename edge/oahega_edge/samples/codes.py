"""Codes by which a sample is withdrawn. The device keeps only their hashes."""

from __future__ import annotations

import hashlib
import secrets

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O and U, which are mistaken for other characters."""
CHARACTERS = 12
"""60 bits; more guesses than a device can answer."""
GROUP = 4
HASH_BYTES = 16
_ALIKE = str.maketrans("ILO", "110")


def new_code() -> str:
    """A code such as `7KQM-2XWD-90FA`."""
    drawn = "".join(secrets.choice(ALPHABET) for _ in range(CHARACTERS))
    return "-".join(drawn[i : i + GROUP] for i in range(0, CHARACTERS, GROUP))


def hash_of(code: str) -> bytes:
    """Of a code as people type it: in any case, with or without hyphens and spaces.

    ValueError for what cannot be a code.
    """
    typed = "".join(code.upper().replace("-", "").split()).translate(_ALIKE)
    if len(typed) != CHARACTERS or set(typed) - set(ALPHABET):
        raise ValueError(f"a code has {CHARACTERS} letters and digits, as in 7KQM-2XWD-90FA")
    return hashlib.sha256(b"oahega-edge sample 1 " + typed.encode()).digest()[:HASH_BYTES]

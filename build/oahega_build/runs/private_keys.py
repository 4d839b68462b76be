"""Files of private keys, whatever they are for."""

from __future__ import annotations

import os
from pathlib import Path

from oahega_build.errors import BuildError


def write_new_key(path: Path, text: str) -> None:
    """A new file for its owner only (mode 0600).

    Raises BuildError where the file exists: a lost key cannot be made again.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise BuildError(f"the key {path} cannot be written: {error.strerror}; name a new file") from error
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")

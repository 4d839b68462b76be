"""Verb `compare-bundles`: whether a bundle may take another one's place, and its signature if so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from oahega_build.comparison.compare import Sets, compare
from oahega_build.errors import BuildError
from oahega_build.runs.artifacts import as_plain
from oahega_build.runs.output import say


def judge(old: Path, new: Path, sets: Sets, margin: float, key: Path | None) -> None:
    """Print the comparison and sign `new` with the key. Raises BuildError where the verdict is bad."""
    if not sets.any:
        raise BuildError("there is nothing to compare on; give --home, --elsewhere or --site")
    if key is not None:
        from oahega_build.whole.signing import read_key, sign_bundle  # needs the package cryptography

        read_key(key)
    verdict = compare(old, new, sets, margin)
    if sys.stdout.isatty():
        for line in verdict.lines():
            say(line)
    else:
        say(json.dumps(as_plain(verdict.figures())))
    if not verdict.holds:
        raise BuildError(verdict.sentence())
    if key is not None:
        sign_bundle(new, key)

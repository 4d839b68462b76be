"""Files that the trainer reads: how large each kind may be, and arrays from a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from oahega_edge.files import open_file

LARGEST_DOCUMENT = 256 << 20
"""Bytes of recipes, metrics, logs and entries of runs, terms of use; a long search's log has a few MB."""
LARGEST_MODEL = 2 << 30
"""Bytes of a TFLite file or of weights: FlatBuffers, which hold TFLite models, end at 2 GiB."""
LARGEST_ARRAYS = 256 << 30
"""Bytes of packs, checkpoints and whatever is hashed; a pack has about 1 kB per face."""


@contextmanager
def open_arrays(path: Path) -> Iterator[NpzFile]:
    """An .npz file without pickles; an array is read when it is asked for. Raises OSError, ValueError."""
    with open_file(path, LARGEST_ARRAYS) as file, np.load(file, allow_pickle=False) as arrays:
        yield arrays

"""The verbs of the trainer. Each imports its stage when called, so that `--help` needs no TensorFlow.

What TensorFlow writes while it is imported is held back; see `runs/output.py` for the rest.
"""

from __future__ import annotations

import os
import sys

from oahega_build.cli import detector, emotion, ensemble, pictures, samples, scenes, whole
from oahega_build.cli.options import app
from oahega_build.runs.output import say_warnings
from oahega_edge.errors import EdgeError

__all__ = ["app", "detector", "emotion", "ensemble", "main", "pictures", "samples", "scenes", "whole"]


def main() -> None:
    """Run a verb. A foreseen failure becomes one sentence on stderr and an exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # no notes about absent GPUs
    say_warnings()
    try:
        app()
    except EdgeError as error:
        sentence = "; ".join([str(error), *getattr(error, "__notes__", ())])
        print(f"oahega_build: {sentence}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"oahega_build: {error.filename}: {error.strerror}; check the path", file=sys.stderr)
        sys.exit(1)

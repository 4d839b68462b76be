"""Failures that a stage foresees; `cli` turns each into one sentence and exit code 1."""

from oahega_edge.errors import EdgeError


class BuildError(EdgeError):
    """Base of the trainer's failures. The text says what, with which value, and what to do now."""


class DataError(BuildError):
    """The pictures, the votes or the labels cannot be used as they are."""


class RecipeError(BuildError):
    """The recipe cannot be found or contradicts itself or the data."""


class RunError(BuildError):
    """The run's folder is finished already, or belongs to another recipe."""


class RunUnfinished(BuildError):
    """The run is trained, but not exported here."""


class ExportError(BuildError):
    """The exported file is not what was asked for: not int8 throughout, or tensors are missing."""

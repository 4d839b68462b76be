"""From the name of a folder to a label: any word of any script, in lower case."""

from __future__ import annotations

import re
import unicodedata

from oahega_build.errors import DataError
from oahega_edge.chain.trigger import UNCERTAIN


def label_of(name: str) -> str:
    """`Very Happy` -> `very-happy`, `Überrascht` -> `überrascht`; DataError says which rule a name breaks."""
    try:
        text = unicodedata.normalize("NFC", name.encode().decode()).lower()
    except UnicodeEncodeError as error:
        raise DataError("it is not text in UTF-8") from error
    label = re.sub(r"[^\w-]+", "-", text).strip("-")
    problem = label_problem(label)
    if problem:
        raise DataError(problem)
    return label


def label_problem(label: str) -> str:
    """Why this is no label, or nothing."""
    if not label or not label[0].isalpha():
        return "a label begins with a letter"
    if label == UNCERTAIN:
        return f"`{UNCERTAIN}` is what the device says when it is sure of no class"
    if label != unicodedata.normalize("NFC", label).lower() or re.search(r"[^\w-]", label):
        return "a label has lower case letters, digits, - and _ only"
    return ""

"""What does not fit in a message, in plain words instead of pydantic's."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from oahega_edge.errors import plain

WORDS = {
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be a text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "model_type": "must be an object of JSON",
    "dict_type": "must be an object of JSON",
}
"""By the type of pydantic's error; the braces hold what pydantic knows of it."""
WHOLE = "the payload"


def complaint(error: Exception) -> str:
    """The first fault: which field, what it must be, and which value it has. Other errors as they are."""
    if not isinstance(error, ValidationError):
        return plain(error)
    first: Any = error.errors(include_url=False)[0]
    place = plain(".".join(map(str, first["loc"]))) or WHOLE
    kind, context = first["type"], first.get("ctx", {})
    if kind == "json_invalid":
        return f"{WHOLE} is no JSON: {plain(context['error'])}"
    if kind == "missing":
        return f"{place} is missing"
    if kind == "extra_forbidden":
        return f"there is no field {place}"
    said = WORDS[kind].format(**context) if kind in WORDS else _foreign(first["msg"])
    return f"{place} {said}, not {_shown(first['input'])}"


def _foreign(message: str) -> str:
    """Of a kind without words of ours."""
    return f"does not fit ({plain(message.removeprefix('Value error, '))})"


def _shown(value: object) -> str:
    """A value as JSON has it, shortened."""
    return plain(json.dumps(value, ensure_ascii=False, default=str))

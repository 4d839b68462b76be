"""Writes the contract's documents: `python -m oahega_edge.contract.schema_files`. A test compares."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from oahega_edge import manifest
from oahega_edge.contract import asyncapi, events, messages, summary

FOLDER = Path(__file__).with_name("schemas")
DIALECT = "https://json-schema.org/draft/2020-12/schema"

PUBLISHED: Mapping[str, type[BaseModel]] = {
    "event": events.Event,
    "summary": summary.IntervalSummary,
    "info": messages.Info,
    "state": messages.State,
    "showing": messages.Showing,
    "health": messages.Health,
    "response": messages.Response,
    "discovery": messages.Discovery,
}
"""What the device says."""
ACCEPTED: Mapping[str, type[BaseModel]] = {
    "command-set": messages.SetCommand,
    "command-mute": messages.MuteCommand,
    "command-empty": messages.EmptyCommand,
    "manifest": manifest.Manifest,
}
"""What the device reads."""


def schema_of(name: str, model: type[BaseModel]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of one message, as it is on the wire."""
    body = model.model_json_schema(by_alias=True, mode="serialization" if name in PUBLISHED else "validation")
    return {"$schema": DIALECT, "$id": f"urn:oahega:{name}:1", **body}


def files() -> dict[str, str]:
    """Name and content of every generated file."""
    made = {
        f"{name}.schema.json": schema_of(name, model) for name, model in {**PUBLISHED, **ACCEPTED}.items()
    }
    made["asyncapi.json"] = asyncapi.document()
    return {name: json.dumps(content, indent=2, ensure_ascii=False) + "\n" for name, content in made.items()}


def main() -> None:
    """Write them all."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"wrote {name}", file=sys.stderr)


if __name__ == "__main__":
    main()

"""Stage `bundle`: a detector and an emotion model, each with its entry, to one folder for the device."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from oahega_build.emotion.decision import DECISION
from oahega_build.errors import RunError
from oahega_build.runs import artifacts
from oahega_build.runs.entries import ENTRY
from oahega_edge.bundles.load import MANIFEST, load_bundle, seal
from oahega_edge.manifest import (
    FORMAT_VERSION,
    DetectorEntry,
    EmotionEntry,
    Manifest,
    ModelCard,
)

MODEL_CARD = "MODEL_CARD.md"

Entry = TypeVar("Entry", DetectorEntry, EmotionEntry)


def make_bundle(detector: Path, emotion: Path, out: Path, name: str, version: str) -> Path:
    """Write `out` (made anew) from two run folders and check it as the device will.

    Each run folder holds `entry.json` and the files that it names. Raises RunError for a folder that is no
    finished run, BundleError when the result does not pass the device's own checks.
    """
    entries: tuple[DetectorEntry, EmotionEntry] = (
        _read_entry(detector, DetectorEntry),
        _read_entry(emotion, EmotionEntry),
    )
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        name=name,
        version=version,
        created=artifacts.now(),
        terms=tuple(dict.fromkeys(term for entry in entries for term in entry.card.data)),
        detector=entries[0],
        emotion=entries[1].model_copy(update={"suggested": DECISION}),
    )
    making = out.with_name(out.name + artifacts.UNFINISHED)
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    _copy_models(detector, entries[0], making)
    _copy_models(emotion, entries[1], making)
    artifacts.write_json(making / MANIFEST, manifest.model_dump(mode="json"))
    (making / MODEL_CARD).write_text(model_card(manifest))
    seal(making)
    load_bundle(making)
    shutil.rmtree(out, ignore_errors=True)
    making.rename(out)
    return out


def _read_entry(folder: Path, kind: type[Entry]) -> Entry:
    path = folder / ENTRY
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(
            f"{path} is no {kind.__name__} ({str(error).splitlines()[0]}); give the folder of a finished run"
        ) from error


def _copy_models(folder: Path, entry: DetectorEntry | EmotionEntry, into: Path) -> None:
    for model in (entry.cpu, entry.edgetpu):
        if model is None:
            continue
        if (into / model.file).exists():
            raise RunError(f"both models are called {model.file}; rename one of them and its entry")
        try:
            shutil.copyfile(folder / model.file, into / model.file)
        except OSError as error:
            raise RunError(
                f"{folder / model.file} cannot be read ({error.strerror}); export it again"
            ) from error


def model_card(manifest: Manifest) -> str:
    """`MODEL_CARD.md`: data, terms, figures, limits, for people."""
    detector, emotion = manifest.detector, manifest.emotion
    parts = [
        f"# {manifest.name} {manifest.version}",
        "",
        f"Made {manifest.created} by `python -m oahega_build bundle`. Every figure below was measured on the "
        "files of this folder through the device's own code.",
        "",
        *_section(
            "Detector",
            detector.cpu.file,
            f"{detector.input.width}x{detector.input.height} {detector.input.colour}, "
            f"{detector.input.dtype}; finds {', '.join(detector.labels)}.",
            detector.card,
        ),
        *_section(
            "Emotion",
            emotion.cpu.file,
            f"{emotion.input.width}x{emotion.input.height} {emotion.input.colour}, {emotion.input.dtype}; "
            f"tells {', '.join(emotion.labels)} apart. Probabilities are calibrated with the temperature "
            f"{emotion.temperature}; suggested threshold {emotion.suggested.threshold}, N = "
            f"{emotion.suggested.frames}.",
            emotion.card,
        ),
        "## Terms of the training data",
        "",
        *[f"- {term}" for term in manifest.terms],
        "",
        "Photographs whose terms are unclear served training and testing only; none is part of this folder. "
        "The same models are trained on pictures of your own with the commands in `build/README.md`.",
        "",
        "## Limits",
        "",
        "The emotion model names what a face shows, not what a person feels. Its classes are those of its "
        "training data; an expression outside them is given the nearest one or, below the threshold, none. "
        "How evenly ages, skin tones, head coverings and lighting are represented in the training pictures "
        "has not been counted, and no figure per group of people has been measured. "
        "Do not use it to judge individuals.",
        "",
    ]
    return "\n".join(parts)


def _section(title: str, file: str, what: str, card: ModelCard) -> Sequence[str]:
    rows = [f"| {name.replace('_', ' ')} | {value} |" for name, value in card.metrics.items()]
    return [
        f"## {title}: `{file}`",
        "",
        what,
        "",
        f"Recipe `{card.recipe}`, commit `{card.commit}`, {card.created}.",
        "",
        "| figure | value |",
        "|---|---|",
        *rows,
        "",
    ]

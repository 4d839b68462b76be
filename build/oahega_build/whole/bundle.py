"""Stage `bundle`: a detector and an emotion model, each with its entry, to one folder for the device."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import ValidationError

from oahega_build.emotion.decision import DECISION
from oahega_build.errors import RunError
from oahega_build.models.operators import multiply_adds
from oahega_build.runs import artifacts
from oahega_build.runs.entries import COVERED, DECISIONS, ELSEWHERE, ENTRY, MULTIPLY_ADDS, SKIN
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.bundles.load import MANIFEST, load_bundle, seal
from oahega_edge.files import read_file
from oahega_edge.manifest import (
    DetectorEntry,
    EmotionEntry,
    Manifest,
    SuggestedDecision,
    format_version_of,
)

MODEL_CARD = "MODEL_CARD.md"

Entry = TypeVar("Entry", DetectorEntry, EmotionEntry)


def make_bundle(
    detector: Path,
    emotion: Path,
    out: Path,
    name: str,
    version: str,
    decision: SuggestedDecision = DECISION,
) -> Path:
    """Write `out` (made anew) from two run folders and check it as the device will.

    Each run folder holds `entry.json` and the files that it names. Raises RunError if a folder is not a
    finished run, BundleError if the result does not pass the device's own checks.
    """
    entries: tuple[DetectorEntry, EmotionEntry] = (
        _counted(detector, _read_entry(detector, DetectorEntry)),
        _counted(emotion, _read_entry(emotion, EmotionEntry)),
    )
    manifest = Manifest(
        format_version=format_version_of(*entries),
        name=name,
        version=version,
        created=artifacts.now(),
        terms=tuple(dict.fromkeys(term for entry in entries for term in entry.card.data)),
        detector=entries[0],
        emotion=entries[1].model_copy(update={"suggested": decision}),
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
        return kind.model_validate_json(read_file(path, LARGEST_DOCUMENT))
    except (OSError, ValidationError) as error:
        raise RunError(
            f"{path} is not a {kind.__name__} ({str(error).splitlines()[0]}); "
            "give the folder of a finished run"
        ) from error


def _counted(folder: Path, entry: Entry) -> Entry:
    """With the multiply-adds of its file on the card, after a check that it is the file."""
    path = folder / entry.cpu.file
    try:
        digest = artifacts.sha256_of(path)
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror}); export it again") from error
    if digest != entry.cpu.sha256:
        raise RunError(f"{path} is not the file that {ENTRY} names; export it again")
    metrics = {**entry.card.metrics, MULTIPLY_ADDS: multiply_adds(path)}
    return entry.model_copy(update={"card": entry.card.model_copy(update={"metrics": metrics})})


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
    templates = Environment(
        loader=PackageLoader("oahega_build.whole"),
        autoescape=False,  # Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return templates.get_template(MODEL_CARD).render(
        name=manifest.name,
        version=manifest.version,
        created=manifest.created,
        terms=manifest.terms,
        detector=manifest.detector,
        emotion=manifest.emotion,
        elsewhere=ELSEWHERE,
        decisions=DECISIONS,
        measured_elsewhere=any(name.startswith(ELSEWHERE) for name in manifest.emotion.card.metrics),
        covered=manifest.emotion.card.metrics.get(COVERED),
        skin=manifest.detector.card.metrics.get(SKIN),
    )

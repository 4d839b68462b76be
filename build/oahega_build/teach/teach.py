"""Verb `teach`: the trunk of a bundle's emotion model with a last layer for expressions of one's own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from oahega_build.emotion.calibrate import fit_prior, suggested_threshold
from oahega_build.emotion.decision import DECISION
from oahega_build.errors import BuildError
from oahega_build.models.exported import golden, output_tensors
from oahega_build.runs import artifacts
from oahega_build.runs.entries import ENTRY
from oahega_build.runs.output import held_back, say
from oahega_build.runs.reading import LARGEST_DOCUMENT, LARGEST_MODEL
from oahega_build.scenes.elsewhere import FaceFinder
from oahega_build.teach.faces import read_faces
from oahega_build.teach.head import fit, fit_temperature, prove
from oahega_build.teach.last_layer import Classifier
from oahega_build.teach.lesson import Lesson, kept_labels, plain_lesson, with_kept
from oahega_build.teach.memory import read_memory
from oahega_build.teach.verdict import Verdict
from oahega_build.whole.bundle import make_bundle
from oahega_edge.bundles.load import MANIFEST, Bundle, load_bundle
from oahega_edge.chain.classification import softmax
from oahega_edge.chain.preprocess import Quantizer
from oahega_edge.files import read_file
from oahega_edge.manifest import EmotionEntry, ModelCard, ModelFile, SuggestedDecision, output_of
from oahega_edge.text import read_text

TERMS = "TERMS.txt"
"""In the folder of the pictures: their terms, for the card."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for."""

    pictures: Path
    """A folder per class."""
    out: Path
    """The bundle's folder; an older bundle there is replaced."""
    base: Path
    """The bundle that gives detector and trunk."""
    name: str
    version: str
    key: Path | None = None
    """To sign with."""
    keep: str = ""
    """Labels of the base, with commas; `old=new` renames one."""
    anyway: bool = False
    """Make a bundle that is no better than guessing."""


def teach(wish: Wish) -> Path:
    """Make the bundle and say how good it is. Raises BuildError when it would be no better than guessing."""
    require_place(wish)
    base = load_bundle(wish.base)
    entry = base.manifest.emotion
    with held_back():  # the runtime speaks of its kernels
        classifier = Classifier(read_file(base.file(entry.cpu), LARGEST_MODEL))
        lesson = _lesson(wish, entry, classifier)
    with threadpool_limits(1):  # waiting for each other costs these small matrices more than it saves
        proof = prove(lesson.features, lesson.truth, lesson.groups)
        head = fit(lesson.features, lesson.truth, lesson.groups)
    verdict = Verdict(lesson, proof, fit_temperature(proof.logits, lesson.truth))
    say(verdict.headline())
    for remark in verdict.remarks():
        say(remark)
    if verdict.useless and not wish.anyway:
        raise BuildError(
            f"{', '.join(lesson.faces.labels)} cannot be recognized better than by guessing; no bundle was "
            f"made: {verdict.advice()} (or make it with --anyway)"
        )
    content = classifier.with_head(head, lesson.features)
    with _place_for(wish.out.resolve()) as making:
        emotion = _emotion(making / "emotion", content, base, verdict, wish)
        detector = _detector(making / "detector", base)
        decision = _decision(verdict, base)
        made = make_bundle(detector, emotion, making / "bundle", wish.name, wish.version, decision)
        if wish.key is not None:
            from oahega_build.whole.signing import sign_bundle  # needs the package cryptography

            sign_bundle(made, wish.key)
        shutil.rmtree(wish.out, ignore_errors=True)
        made.rename(wish.out)
    return wish.out


def _lesson(wish: Wish, entry: EmotionEntry, classifier: Classifier) -> Lesson:
    memory = read_memory(wish.base) if wish.keep else None
    faces = read_faces(wish.pictures, entry, FaceFinder(wish.base).faces, 1 if memory else 2)
    lesson = plain_lesson(faces, classifier.features([Quantizer(entry.input)(crop) for crop in faces.crops]))
    if memory is None:
        return lesson
    return with_kept(lesson, memory, kept_labels(wish.keep, memory, faces.labels))


def require_place(wish: Wish) -> None:
    """Raise BuildError where `out` holds something that is no bundle, before any work."""
    out = wish.out
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise BuildError(f"{out} holds something that is no bundle; give a new folder with --out")
    if out.exists() and not out.is_dir():
        raise BuildError(f"{out} is a file; give a new folder with --out")
    if out.resolve() in (wish.pictures.resolve(), wish.base.resolve()):
        raise BuildError(f"{out} would replace what it is made from; give a new folder with --out")


@contextmanager
def _place_for(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out` that is gone afterwards, whatever happens; a killed run's is emptied."""
    making = out.with_name(f".{out.name}.making")
    try:
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        yield making
    except OSError as error:
        raise BuildError(
            f"{out} cannot be written: {error.strerror}; make room there, or give another folder with --out"
        ) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _emotion(folder: Path, content: bytes, base: Bundle, verdict: Verdict, wish: Wish) -> Path:
    """A run's folder with the model and its entry, as `make_bundle` takes it."""
    folder.mkdir()
    before = base.manifest.emotion
    (folder / before.cpu.file).write_bytes(content)
    outputs = output_tensors(content, {"logits": output_of(before, "logits").tensor})
    logits, truth = verdict.proof.logits, verdict.lesson.truth
    entry = EmotionEntry(
        cpu=ModelFile(file=before.cpu.file, sha256=artifacts.sha256_of(folder / before.cpu.file)),
        input=before.input,
        crop=before.crop,
        outputs=outputs,
        labels=verdict.lesson.labels,
        temperature=verdict.temperature,
        prior=fit_prior(logits, truth, verdict.temperature),
        suggested=_decision(verdict, base),
        golden=golden(content, before.input, outputs),
        card=_card(content, base, verdict, wish),
    )
    artifacts.write_json(folder / ENTRY, entry.model_dump(mode="json"))
    return folder


def _decision(verdict: Verdict, base: Bundle) -> SuggestedDecision:
    """At least the threshold of the embedded models: people show more than the classes of a small set."""
    answers = softmax(verdict.proof.logits, verdict.temperature)
    least = suggested_threshold(answers, verdict.lesson.truth)
    threshold = max(DECISION.threshold, least)
    return base.manifest.emotion.suggested.model_copy(update={"threshold": threshold})


def _card(content: bytes, base: Bundle, verdict: Verdict, wish: Wish) -> ModelCard:
    faces = verdict.faces
    terms = wish.pictures / TERMS
    said = read_text(terms, LARGEST_DOCUMENT).strip() if terms.is_file() else "terms not stated"
    metrics: dict[str, float | int | str] = {
        "cross_validated_balanced_accuracy": str(verdict.proof.balanced),
        **{f"faces_{label}": int(faces.of(label).sum()) for label in faces.labels},
        **({"kept": ", ".join(verdict.lesson.kept)} if verdict.lesson.kept else {}),
        "groups": len(np.unique(faces.groups)),
        "trunk": f"{base.identity}, {base.manifest.emotion.cpu.sha256[:12]}",
        "bytes": len(content),
    }
    own = f"own pictures: {len(faces.truth)} faces in {len(faces.labels)} classes; {said}"
    return ModelCard(
        recipe="teach",
        commit=artifacts.commit(),
        created=artifacts.now(),
        data=(*base.manifest.emotion.card.data, own),
        metrics=metrics,
    )


def _detector(folder: Path, base: Bundle) -> Path:
    folder.mkdir()
    entry = base.manifest.detector
    for file in (entry.cpu, entry.edgetpu):
        if file is not None:
            shutil.copyfile(base.file(file), folder / file.file)
    artifacts.write_json(folder / ENTRY, entry.model_dump(mode="json"))
    return folder

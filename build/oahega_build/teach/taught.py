"""From faces to a taught emotion model: its file, its manifest entry, and what can be said of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oahega_build.emotion.calibrate import fit_prior, suggested_threshold
from oahega_build.emotion.decision import DECISION
from oahega_build.errors import BuildError
from oahega_build.models.exported import golden, input_tensor, output_tensors
from oahega_build.pictures.folders import parts_of
from oahega_build.pictures.problems import Problems
from oahega_build.runs import artifacts
from oahega_build.runs.entries import ENTRY
from oahega_build.runs.output import held_back, say
from oahega_build.runs.reading import LARGEST_DOCUMENT, LARGEST_MODEL
from oahega_build.teach.faces import Faces, read_faces
from oahega_build.teach.freedom import Comparison, compare
from oahega_build.teach.head import fit_temperature
from oahega_build.teach.last_layer import Classifier
from oahega_build.teach.lesson import Lesson, kept_labels, plain_lesson, with_kept
from oahega_build.teach.memory import read_memory
from oahega_build.teach.verdict import Verdict
from oahega_edge.bundles.load import Bundle, load_bundle
from oahega_edge.chain.classification import softmax
from oahega_edge.chain.preprocess import Quantizer
from oahega_edge.files import read_file
from oahega_edge.manifest import EmotionEntry, ModelCard, ModelFile, SuggestedDecision, output_of
from oahega_edge.text import read_text

TERMS = "TERMS.txt"
"""In the folder of the pictures: their terms, for the card."""
MOST_IN_ALL = 4000
"""Faces of a class that `all` reads; more are thinned evenly."""


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """A model that is worth to be written."""

    base: Bundle
    pictures: Path
    comparison: Comparison
    verdict: Verdict

    @property
    def decision(self) -> SuggestedDecision:
        """At least the threshold of the embedded models: people show more than the classes of a small set."""
        answers = softmax(self.verdict.proof.logits, self.verdict.temperature)
        least = suggested_threshold(answers, self.verdict.lesson.truth)
        threshold = max(DECISION.threshold, least)
        return self.base.manifest.emotion.suggested.model_copy(update={"threshold": threshold})

    def write(self, folder: Path) -> None:
        """`emotion.tflite` and `entry.json`, as `make_bundle` takes them.

        Without a second crop, which is mirrored: expressions of one's own may differ by side, as a wink does.
        """
        before = self.base.manifest.emotion
        content = self.comparison.chosen.make()
        file = folder / before.cpu.file
        file.write_bytes(content)
        outputs = output_tensors(content, {"logits": output_of(before, "logits").tensor})
        input_ = input_tensor(
            content, before.input.colour, before.input.pixel_scale, before.input.pixel_offset
        )
        logits, truth = self.verdict.proof.logits, self.verdict.lesson.truth
        entry = EmotionEntry(
            cpu=ModelFile(file=file.name, sha256=artifacts.sha256_of(file)),
            input=input_,
            crop=before.crop,
            outputs=outputs,
            labels=self.verdict.lesson.labels,
            temperature=self.verdict.temperature,
            prior=fit_prior(logits, truth, self.verdict.temperature),
            suggested=self.decision,
            golden=golden(content, input_, outputs),
            card=self._card(content),
        )
        artifacts.write_json(folder / ENTRY, entry.model_dump(mode="json"))

    def _card(self, content: bytes) -> ModelCard:
        faces, lesson = self.verdict.faces, self.verdict.lesson
        terms = self.pictures / TERMS
        said = read_text(terms, LARGEST_DOCUMENT).strip() if terms.is_file() else "terms not stated"
        metrics: dict[str, float | int | str] = {
            "cross_validated_balanced_accuracy": str(self.verdict.proof.balanced),
            "learned": self.comparison.chosen.way,
            **{f"faces_{label}": int(faces.of(label).sum()) for label in faces.labels},
            **({"kept": ", ".join(lesson.kept)} if lesson.kept else {}),
            "groups": len(np.unique(faces.groups)),
            "trunk": f"{self.base.identity}, {self.base.manifest.emotion.cpu.sha256[:12]}",
            "bytes": len(content),
        }
        own = f"own pictures: {len(faces.truth)} faces in {len(faces.labels)} classes; {said}"
        return ModelCard(
            recipe="teach",
            commit=artifacts.commit(),
            created=artifacts.now(),
            data=(*self.base.manifest.emotion.card.data, own),
            metrics=metrics,
        )


def taught(
    pictures: Path,
    base: Bundle,
    read: Callable[[EmotionEntry, int], Faces],
    keep: str = "",
    anyway: bool = False,
    head_only: bool = False,
) -> Taught:
    """Learn from the faces that `read` gives, and say how good it is; it gets the least number of classes.

    Raises BuildError when the classes cannot be told apart better than by guessing, unless `anyway`.
    """
    entry = base.manifest.emotion
    file = base.file(entry.cpu)
    with held_back():  # the runtime speaks of its kernels
        classifier = Classifier(read_file(file, LARGEST_MODEL))
        lesson = _lesson(base, read, keep, classifier)
    comparison = compare(lesson, classifier, file, entry, head_only)
    proof = comparison.chosen.proof
    verdict = Verdict(lesson, proof, fit_temperature(proof.logits, lesson.truth))
    for sentence in (verdict.headline(), *comparison.lines(), *verdict.remarks()):
        say(sentence)
    if verdict.useless and not anyway:
        raise BuildError(
            f"{', '.join(lesson.faces.labels)} cannot be recognized better than by guessing; no bundle was "
            f"made: {verdict.advice()} (or make it with --anyway)"
        )
    return Taught(base, pictures, comparison, verdict)


def _lesson(
    base: Bundle, read: Callable[[EmotionEntry, int], Faces], keep: str, classifier: Classifier
) -> Lesson:
    entry = base.manifest.emotion
    memory = read_memory(base.path) if keep else None
    faces = read(entry, 1 if memory else 2)
    lesson = plain_lesson(faces, classifier.features([Quantizer(entry.input)(crop) for crop in faces.crops]))
    if memory is None:
        return lesson
    return with_kept(lesson, memory, kept_labels(keep, memory, faces.labels))


def teach_run(
    base: Path, data: Path, group_pattern: str, head_only: bool, artifacts_folder: Path, run_name: str
) -> None:
    """Stage `teach` of `all`: the emotion model of `base` taught the training pictures of a dataset."""
    bundle = load_bundle(base)

    def read(entry: EmotionEntry, least_classes: int) -> Faces:
        folder = parts_of(data, Problems())["train"]
        return read_faces(folder, entry, None, least_classes, MOST_IN_ALL, group_pattern)

    described = {"base": bundle.sha256, "group_pattern": group_pattern, "head_only": head_only}
    with artifacts.open_run(artifacts_folder, "teach", run_name, described) as run:
        made = taught(data, bundle, read, head_only=head_only)
        made.write(run.folder)
        run.write_metrics(made.comparison.figures())

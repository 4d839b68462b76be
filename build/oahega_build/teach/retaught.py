"""From labelled samples of a site to a model that learned on from them, and what can be said of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oahega_build.errors import BuildError, DataError
from oahega_build.models.exported import golden, input_tensor, output_tensors
from oahega_build.runs import artifacts
from oahega_build.runs.entries import ENTRY
from oahega_build.runs.output import held_back
from oahega_build.runs.reading import LARGEST_MODEL
from oahega_build.teach.faces import Faces
from oahega_build.teach.head import Features, Numbers
from oahega_build.teach.last_layer import Classifier
from oahega_build.teach.memory import read_memory
from oahega_build.teach.site import Known, Proofs, known_by, prove, refit
from oahega_edge.bundles.load import Bundle
from oahega_edge.chain.preprocess import Quantizer
from oahega_edge.files import read_file
from oahega_edge.manifest import EmotionEntry, ModelCard, ModelFile, output_of


@dataclass(frozen=True, slots=True, eq=False)
class Retaught:
    """A base and what the samples of a site bring to it."""

    base: Bundle
    faces: Faces
    classifier: Classifier
    known: Known
    features: Features
    truth: Numbers
    """Index into the base's labels."""
    proofs: Proofs

    @property
    def chance(self) -> float:
        """What guessing among the labels of the samples gives."""
        return 1 / len(self.faces.labels)

    @property
    def useless(self) -> bool:
        """Whether guessing may be as good, so that the labels say nothing."""
        return self.proofs.after.balanced.low <= self.chance

    def remarks(self) -> Iterator[str]:
        """Counts, and what was left out."""
        counts = (f"{label} {int(self.faces.of(label).sum())}" for label in self.faces.labels)
        yield f"faces: {', '.join(counts)}"
        missing = sorted(set(self.base.manifest.emotion.labels) - set(self.faces.labels))
        if missing:
            yield f"no samples of {', '.join(missing)}: they are answered as the base remembers them"
        yield from self.faces.problems
        if self.base.manifest.emotion.edgetpu is not None:
            yield "the base's file for the Edge TPU does not fit any more; run `compile` on the new bundle"

    def write(self, folder: Path) -> None:
        """`emotion.tflite` and `entry.json`, as `make_bundle` takes them."""
        before = self.base.manifest.emotion
        head = refit(self.known, self.features, self.truth)
        content = self.classifier.with_head(head, np.concatenate([self.features, self.known.drawn]))
        file = folder / before.cpu.file
        file.write_bytes(content)
        given = before.input
        input_ = input_tensor(content, given.colour, given.pixel_scale, given.pixel_offset)
        outputs = output_tensors(content, {"logits": output_of(before, "logits").tensor})
        entry = before.model_copy(
            update={
                "cpu": ModelFile(file=file.name, sha256=artifacts.sha256_of(file)),
                "edgetpu": None,
                "input": input_,
                "outputs": outputs,
                "temperature": 1.0,  # the layer has the operating point in its weights
                "offsets": None,
                "golden": golden(content, input_, outputs),
                "card": self._card(content),
            }
        )
        artifacts.write_json(folder / ENTRY, entry.model_dump(mode="json"))

    def _card(self, content: bytes) -> ModelCard:
        faces = self.faces
        return ModelCard(
            recipe="retrain",
            commit=artifacts.commit(),
            created=artifacts.now(),
            data=(
                *self.base.manifest.emotion.card.data,
                f"samples of a site: {len(self.truth)} faces in {len(faces.labels)} classes",
            ),
            metrics={
                "site_cross_validated_balanced_accuracy": str(self.proofs.after.balanced),
                "site_before": str(self.proofs.before.balanced),
                **{f"faces_{label}": int(faces.of(label).sum()) for label in faces.labels},
                "base": f"{self.base.identity}, {self.base.sha256[:12]}",
                "bytes": len(content),
            },
        )


def retaught(base: Bundle, faces: Faces) -> Retaught:
    """What the samples bring. Raises BuildError where the base cannot learn on from them."""
    entry = base.manifest.emotion
    _require_known(faces, entry)
    memory = read_memory(base.path)
    if memory.labels != entry.labels:
        raise BuildError(
            f"{base.path} remembers {', '.join(memory.labels)} and tells {', '.join(entry.labels)}; "
            "run `remember` on it"
        )
    with held_back():  # the runtime speaks of its kernels
        classifier = Classifier(read_file(base.file(entry.cpu), LARGEST_MODEL))
        features = classifier.features([Quantizer(entry.input)(crop) for crop in faces.crops])
    known = known_by(classifier.head(), entry, memory)
    truth = np.array([entry.labels.index(label) for label in faces.labels])[faces.truth]
    return Retaught(
        base, faces, classifier, known, features, truth, prove(known, features, truth, faces.groups)
    )


def _require_known(faces: Faces, entry: EmotionEntry) -> None:
    new = sorted(set(faces.labels) - set(entry.labels))
    if new:
        raise DataError(
            f"the base does not tell {', '.join(new)}, only {', '.join(entry.labels)}; correct the label, or "
            "make a bundle with a new expression by `teach --keep`"
        )

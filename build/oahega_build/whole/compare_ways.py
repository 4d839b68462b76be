"""Verb `compare-ways`: four ways to a classifier on the same few pictures.

From nothing; from ImageNet weights, frozen, with a new last layer, as the paper begins; from our trunk with a
new last layer; from our trunk, trained further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from oahega_build.emotion.evaluate import VALID_LOG
from oahega_build.emotion.metrics import balanced_accuracy
from oahega_build.emotion.network import predict
from oahega_build.emotion.train import Trainer
from oahega_build.errors import DataError, RecipeError
from oahega_build.models.interpreter import open_interpreter
from oahega_build.pictures.dataset import Sample, read_dataset
from oahega_build.pictures.framing import device_crop
from oahega_build.runs import artifacts
from oahega_build.runs.reading import LARGEST_MODEL
from oahega_build.runs.recipes import load_recipe
from oahega_build.teach.finetune import FineTuning
from oahega_build.teach.head import Features, Numbers, fit, told_by
from oahega_build.teach.last_layer import Classifier, Head
from oahega_build.whole.recipe import EverythingRecipe
from oahega_edge.bundles.load import load_bundle
from oahega_edge.chain.preprocess import Quantizer, resize_pixels
from oahega_edge.files import read_file

TESTED = 190
"""Faces of a class that are answered, the same for every way and every number of pictures."""
FROM_NOTHING = "quick"
"""Recipe whose student is trained."""

Answers = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.integer]]
"""(numbers of the faces to learn from, of those to answer) -> classes."""


@dataclass(frozen=True, slots=True)
class Row:
    """One way with one number of pictures."""

    way: str
    each: int
    """Pictures per class."""
    balanced: tuple[float, ...]
    """Balanced accuracy of each draw."""

    def __str__(self) -> str:
        """A line of the table."""
        draws = ", ".join(f"{value:.3f}" for value in self.balanced)
        return f"{self.each:>4} per class  {self.way:<28} {np.mean(self.balanced):.3f}  ({draws})"


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """All of them on one set of faces."""

    samples: Sequence[Sample]
    truth: NDArray[np.int64]
    """Index into the classes."""
    base: Path
    init: Path
    folder: Path
    """For what a training leaves."""

    def all(self) -> Iterator[tuple[str, Answers]]:
        """Name and way."""
        yield "from nothing", self._from_nothing
        yield "ImageNet, frozen", self._by_last_layer(self._imagenet_features())
        bundle = load_bundle(self.base)
        entry, file = bundle.manifest.emotion, bundle.file(bundle.manifest.emotion.cpu)
        quantize = Quantizer(entry.input)
        crops = [device_crop(s.pixels, entry.input, entry.crop) for s in self.samples]
        classifier = Classifier(read_file(file, LARGEST_MODEL))
        features, told = classifier.features([quantize(crop) for crop in crops]), told_by(classifier.head())
        yield "our trunk, last layer", self._by_last_layer(features, told)
        for whole in (False, True):
            tuning = FineTuning(file, entry, whole)

            def trained(
                seen: NDArray[np.int64], rest: NDArray[np.int64], tuning: FineTuning = tuning
            ) -> NDArray[np.integer]:
                head = self._last_layer(features, seen, told)
                model = tuning.fit([crops[i] for i in seen], self.truth[seen], head)
                return np.asarray(tuning.logits(model, [crops[i] for i in rest]).argmax(axis=1))

            yield f"our trunk, {'whole' if whole else 'last block'} trained", trained

    def _by_last_layer(self, features: Features, told: Features | None = None) -> Answers:
        return lambda seen, rest: self._last_layer(features, seen, told)(features[rest]).argmax(axis=1)

    def _last_layer(self, features: Features, seen: Numbers, told: Features | None) -> Head:
        return fit(features[seen], self.truth[seen], seen, self._classes, told)

    def _imagenet_features(self) -> NDArray[np.float64]:
        interpreter = open_interpreter(read_file(self.init, LARGEST_MODEL))
        given, answer = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        height, width = (int(side) for side in given["shape"][1:3])
        scale, zero_point = answer["quantization"]
        rows = []
        for sample in self.samples:
            face = resize_pixels(sample.pixels, (width, height), "linear")
            interpreter.set_tensor(given["index"], np.repeat(face[None, :, :, None], 3, axis=3))
            interpreter.invoke()
            rows.append(interpreter.get_tensor(answer["index"]).reshape(-1))
        return np.asarray(scale * (np.array(rows, np.float64) - zero_point))

    def _from_nothing(self, seen: NDArray[np.int64], rest: NDArray[np.int64]) -> NDArray[np.integer]:
        """The student of FROM_NOTHING alone, as long as that recipe trains it."""
        student = load_recipe(FROM_NOTHING, EverythingRecipe).student
        if student is None:
            raise RecipeError(f"the recipe {FROM_NOTHING} trains no student; take one that does")
        recipe = replace(student, distil_share=0.0)
        training = [self._labelled(i) for i in seen]
        with (
            TemporaryDirectory(dir=self.folder) as folder,  # each draw trains anew, after an interrupt too
            artifacts.open_run(Path(folder), "from-nothing", "draw", recipe) as run,
        ):
            trainer = Trainer(recipe, [str(i) for i in range(self._classes)], training, training, run)
            trainer.train()
            answers = predict(trainer.exported_model(), [self._labelled(i) for i in rest], recipe)
        return np.asarray(answers.argmax(axis=1))

    def _labelled(self, i: int) -> Sample:
        label = int(self.truth[i])
        return replace(self.samples[i], label=label, target=np.eye(self._classes, dtype=np.float32)[label])

    @property
    def _classes(self) -> int:
        return int(self.truth.max()) + 1


def compare_ways(
    data: Path,
    classes: Sequence[str],
    sizes: Sequence[int],
    draws: int,
    base: Path,
    init: Path,
    artifacts_folder: Path,
    run_name: str,
) -> Iterator[Row]:
    """Stage `compare-ways`, on pictures of `valid`, of which the trunk has seen none; the look is logged."""
    described = {
        **{"data": data.name, "classes": classes, "sizes": sizes, "draws": draws},
        **{"base": load_bundle(base).sha256, "init": artifacts.sha256_of(init)},
    }
    with artifacts.open_run(artifacts_folder, "compare-ways", run_name, described) as run:
        dataset = read_dataset(data, "grey")
        unknown = sorted(set(classes) - set(dataset.labels))
        if unknown:
            raise DataError(f"{data} has no {', '.join(unknown)}; it has {', '.join(dataset.labels)}")
        named = {dataset.labels.index(label): label for label in classes}
        samples = list(_pool(dataset.valid, named, TESTED + max(sizes)))
        truth = np.array([classes.index(named[sample.label]) for sample in samples])
        rows = []
        for way, answers in Ways(samples, truth, base, init, run.checkpoints).all():
            for each in sizes:
                figures = [_drawn(truth, each, draw, answers) for draw in range(draws)]
                rows.append(Row(way, each, tuple(round(figure, 4) for figure in figures)))
                yield rows[-1]
        run.write_metrics({"rows": rows})
    shown = {f"{row.way}, {row.each}": round(float(np.mean(row.balanced)), 4) for row in rows}
    artifacts.log_look(VALID_LOG, data.name, f"compare-ways: {', '.join(classes)}", shown)


def _pool(samples: Sequence[Sample], named: Mapping[int, str], each: int) -> Iterator[Sample]:
    """`each` of every label, spread evenly; ImageNet features cost the most time."""
    for label, name in named.items():
        mine = [sample for sample in samples if sample.label == label]
        if len(mine) < each:
            raise DataError(
                f"{name} has {len(mine)} faces in valid and {each} are needed, {TESTED} of them to be "
                "answered; leave it out of --classes, or give a smaller number to --each"
            )
        yield from (mine[i] for i in np.linspace(0, len(mine) - 1, each).astype(int))


def _drawn(truth: NDArray[np.int64], each: int, draw: int, answers: Answers) -> float:
    rng = np.random.default_rng(draw)
    order = [rng.permutation(np.flatnonzero(truth == label)) for label in np.unique(truth)]
    rest = np.concatenate([mine[:TESTED] for mine in order])
    seen = np.concatenate([mine[TESTED : TESTED + each] for mine in order])
    return balanced_accuracy(answers(seen, rest), truth[rest])

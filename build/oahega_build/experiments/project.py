"""Stage `project`: embeddings of a dataset (paper, section 3), and the labels that look wrong.

Writes files for the TensorBoard Embedding Projector, a static picture, and a list of pictures whose nearest
neighbours have other labels, most suspicious first.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import DataError
from oahega_build.labelling.contact_sheet import Tile, write_sheet
from oahega_build.pictures.dataset import Sample, near_duplicates, read_dataset
from oahega_build.runs.artifacts import open_run

NEIGHBOURS = 10
THUMBNAIL = 48
"""Side of a cell of the sprite, pixels."""
LARGEST_SPRITE = 8192
"""Side of the sprite, pixels. Browsers reject larger textures."""
SUSPICIOUS_SHOWN = 100
SUSPICION = 0.7
"""A label is listed if at least this share of the neighbours disagrees."""
LARGEST_MAP = 5000
"""Number of points in the static picture; t-SNE is slow with more."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A picture whose neighbours disagree with its label."""

    sample: Sample
    share: float
    """Share of the nearest neighbours that have another label."""
    suggested: int
    """The most frequent other label among the neighbours, or the picture's own label if there is none."""
    margin: float
    """Mean similarity of the neighbours with the suggested label, minus that of those with the own label."""


def project(data: Path, model: Path, artifacts: Path, run: str, most: int = 20_000) -> Path:
    """Make `<artifacts>/project/<run>` from `data/train` (or `data`), of at most `most` pictures.

    `model`: a run of train-emotion (its own features), or a quantized MobileNetV1 .tflite (ImageNet's).
    """
    described = {"data": data, "model": model, "most": most}
    with open_run(artifacts, "project", run, described) as made:
        embed, colour, name = open_backbone(model)
        dataset = read_dataset(data, colour)
        samples = _thinned(dataset.train, most)
        vectors = embed(samples)
        found = suspicious(vectors, samples)
        write_projector(made.folder, vectors, samples, dataset.labels)
        write_suspicions(made.folder, found, dataset.labels)
        points = draw_map(made.folder, vectors, samples, dataset.labels, found)
        listed = [f for f in found if f.share >= SUSPICION]
        made.write_metrics(
            {
                "model": name,
                "pictures": len(samples),
                "dimensions": int(vectors.shape[1]),
                "neighbours": NEIGHBOURS,
                "agreement": {
                    label: round(float(np.mean([1 - f.share for f in found if f.sample.label == i])), 4)
                    for i, label in enumerate(dataset.labels)
                },
                "suspicious": len(listed),
                "map": points,
            }
        )
    return made.finished


def _thinned(samples: Sequence[Sample], most: int) -> list[Sample]:
    step = max(1, -(-len(samples) // most))
    return list(samples[::step])


def open_backbone(model: Path) -> tuple[Any, str, str]:
    """Return a function from samples to unit vectors (n, d), the colour that it needs, and its name."""
    if model.is_dir():
        return _trained(model)
    return _imagenet(model)


def _trained(run: Path) -> tuple[Any, str, str]:
    import keras

    from oahega_build.emotion.network import predict, trained_model
    from oahega_build.emotion.recipe import recipe_of

    recipe = recipe_of(run)
    model = trained_model(run, recipe, classes_of(run), recipe.side)
    features = keras.Model(model.inputs, model.get_layer("pool").output)
    return (
        lambda samples: _unit(predict(features, samples, recipe)),
        recipe.colour,
        f"{run.parent.name}/{run.name}",
    )


def classes_of(run: Path) -> int:
    """The number of classes of a finished run, from its entry.json."""
    from oahega_build.emotion.evaluate import load_emotion

    return len(load_emotion(run).labels)


def _imagenet(path: Path) -> tuple[Any, str, str]:
    import keras

    from oahega_build.emotion.network import build_model, predict
    from oahega_build.emotion.recipe import EmotionRecipe
    from oahega_build.models.trunk import Trunk
    from oahega_build.models.warmstart import read_convolutions, warm_start

    width = read_convolutions(path)[0].kernel.shape[-1] / 32
    recipe = EmotionRecipe(Trunk(width=width, batch_norm=False), side=128, colour="rgb")
    model = build_model(recipe, 2, recipe.side, "float32")
    warm_start(model, recipe.trunk, path)
    features = keras.Model(model.inputs, model.get_layer("pool").output)
    return lambda samples: _unit(predict(features, samples, recipe)), "rgb", path.stem


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    flat = np.asarray(vectors, np.float32).reshape(len(vectors), -1)
    flat = flat - flat.mean(axis=0)  # ReLU features share a large common part, which would hide differences
    norms = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(1e-9, norms), np.float32)


def suspicious(vectors: NDArray[np.floating], samples: Sequence[Sample]) -> list[Suspicion]:
    """Compare every picture with its NEIGHBOURS nearest pictures; most suspicious first.

    Near-duplicates of a picture do not count as neighbours, because they would confirm each other's label.
    Raises DataError if there are too few pictures.
    """
    groups = np.array(near_duplicates(samples))
    labels = np.array([sample.label for sample in samples])
    count = min(NEIGHBOURS, len(samples) // 2)
    if count < 2:
        raise DataError(f"{len(samples)} pictures are too few to have neighbours; give more")
    found = []
    for start in range(0, len(samples), 512):
        block = slice(start, start + 512)
        similarity = vectors[block] @ vectors.T
        similarity[groups[block, None] == groups[None, :]] = -2
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
        for row, neighbours in enumerate(nearest):
            found.append(_suspicion(samples[start + row], labels[neighbours], similarity[row, neighbours]))
    return sorted(found, key=lambda s: (-s.share, -s.margin, s.sample.name))


def _suspicion(sample: Sample, labels: NDArray[np.integer], similarity: NDArray[np.floating]) -> Suspicion:
    others = np.bincount(labels, minlength=sample.label + 1)
    others[sample.label] = 0
    suggested = int(others.argmax()) if others.any() else sample.label
    own = similarity[labels == sample.label]
    named = similarity[labels == suggested]
    return Suspicion(
        sample,
        share=float((labels != sample.label).mean()),
        suggested=suggested,
        margin=float(named.mean() - (own.mean() if len(own) else -1.0)),
    )


def write_projector(
    folder: Path, vectors: NDArray[np.floating], samples: Sequence[Sample], labels: Sequence[str]
) -> None:
    """Write vectors.tsv, metadata.tsv, sprite.png, projector_config.pbtxt: `tensorboard --logdir FOLDER`."""
    lines = ["\t".join(f"{value:.5f}" for value in vector) for vector in vectors]
    (folder / "vectors.tsv").write_text("\n".join(lines) + "\n")
    rows = [f"{labels[sample.label]}\t{sample.name}" for sample in samples]
    (folder / "metadata.tsv").write_text("label\tfile\n" + "\n".join(rows) + "\n")
    side = sprite_side(len(samples))
    columns = int(np.ceil(np.sqrt(len(samples))))
    write_sheet(folder / "sprite.png", [Tile(s.pixels) for s in samples], side, columns)
    config = (
        'embeddings {\n  tensor_path: "vectors.tsv"\n  metadata_path: "metadata.tsv"\n'
        f'  sprite {{\n    image_path: "sprite.png"\n    single_image_dim: {side}\n'
        f"    single_image_dim: {side}\n  }}\n}}\n"
    )
    (folder / "projector_config.pbtxt").write_text(config)


def sprite_side(pictures: int) -> int:
    """The side of a cell, pixels, that keeps the sprite below LARGEST_SPRITE."""
    return max(8, min(THUMBNAIL, LARGEST_SPRITE // int(np.ceil(np.sqrt(max(1, pictures))))))


def write_suspicions(folder: Path, found: Sequence[Suspicion], labels: Sequence[str]) -> None:
    """Write suspicious.csv (all pictures from SUSPICION on) and suspicious.png (the first ones)."""
    listed = [f for f in found if f.share >= SUSPICION]
    with (folder / "suspicious.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "label", "suggested", "disagreeing", "margin"))
        for f in listed:
            row = (f.sample.name, labels[f.sample.label], labels[f.suggested])
            writer.writerow((*row, round(f.share, 2), round(f.margin, 3)))
    tiles = [
        Tile(f.sample.pixels, f"{labels[f.sample.label][:7]}>{labels[f.suggested][:7]}", alarm=True)
        for f in listed[:SUSPICIOUS_SHOWN]
    ]
    write_sheet(folder / "suspicious.png", tiles)


def draw_map(
    folder: Path,
    vectors: NDArray[np.floating],
    samples: Sequence[Sample],
    labels: Sequence[str],
    found: Sequence[Suspicion],
) -> str:
    """Draw a point per picture, with a ring if suspicious. Returns the name of the method."""
    from matplotlib.figure import Figure

    step = max(1, -(-len(samples) // LARGEST_MAP))
    shown = list(range(0, len(samples), step))
    points, method = flattened(vectors[shown])
    suspects = {id(f.sample) for f in found if f.share >= SUSPICION}
    figure = Figure(figsize=(7, 6), layout="constrained")
    axes = figure.subplots()
    truth = np.array([samples[i].label for i in shown])
    for i, label in enumerate(labels):
        of_label = points[truth == i]
        axes.scatter(of_label[:, 0], of_label[:, 1], s=12, label=label, alpha=0.75, linewidths=0)
    ringed = points[[id(samples[i]) in suspects for i in shown]]
    axes.scatter(ringed[:, 0], ringed[:, 1], s=40, facecolors="none", edgecolors="black", linewidths=0.7)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(fontsize=8, markerscale=2)
    axes.set_title(f"{len(shown)} pictures, {method}; ringed: neighbours disagree", fontsize=9)
    for ending in ("png", "svg"):
        figure.savefig(folder / f"embeddings.{ending}", dpi=120)
    return method


def flattened(vectors: NDArray[np.floating]) -> tuple[NDArray[np.float64], str]:
    """Reduce vectors to (n, 2), by t-SNE if there are enough pictures, otherwise by principal components."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    # With one thread the points are the same on every machine, and a training beside it is not slowed down.
    with threadpool_limits(1):
        if len(vectors) < 60:
            components = PCA(2, random_state=0).fit_transform(vectors)
            return np.asarray(components, np.float64), "principal components"
        reduced = PCA(min(50, *vectors.shape), random_state=0).fit_transform(vectors)
        embedding = TSNE(2, perplexity=min(20, len(vectors) // 4), init="pca", random_state=0)
        return np.asarray(embedding.fit_transform(reduced), np.float64), "t-SNE"

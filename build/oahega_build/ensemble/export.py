"""Stage `export-ensemble`: a net's weights to its int8 file, operating point and manifest entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from oahega_build.emotion.calibrate import Evidence, fit_operating_point, fit_prior
from oahega_build.emotion.decision import DECISION
from oahega_build.emotion.evaluate import face_logits, load_emotion
from oahega_build.emotion.metrics import summary
from oahega_build.emotion.recipe import PIXEL_OFFSET, PIXEL_SCALE
from oahega_build.ensemble.lesson import load_weights
from oahega_build.ensemble.pack import VOTES, Pack, fold, joined, read_pack
from oahega_build.ensemble.recipe import EnsembleRecipe, Net, recipe_of
from oahega_build.ensemble.train import build_net, weights_of, without_resizing
from oahega_build.ensemble.variation import CANVAS, CROP
from oahega_build.errors import RunError
from oahega_build.models.exported import golden, input_tensor, output_tensors
from oahega_build.models.quantize import to_int8
from oahega_build.pictures.framing import Framing, device_crop, square_framing
from oahega_build.runs import artifacts
from oahega_build.runs.reading import LARGEST_MODEL
from oahega_build.scenes.elsewhere import CHOOSE, FaceFinder, Source, read_source
from oahega_edge.chain.classification import calibrated
from oahega_edge.files import read_file
from oahega_edge.manifest import Crop, EmotionEntry, InputTensor, ModelCard, ModelFile, SecondCrop

MODEL_NAME, WEIGHTS_NAME = "emotion.tflite", "weights.npz"
REPRESENTATIVE = 512
"""Training pictures that fix the ranges of the int8 activations."""
ELSEWHERE_WEIGHT = 1.5
"""Of all sources elsewhere against the faces at home. Unclear faces are left out: at any weight they made the
answers on clear ones less sure than those are right."""
CAUTION = 1.1
"""How much higher the temperature is than the fit says: places that nobody has seen are harder than those of
the fit. More would make the answers at home too unsure."""
CLEAR = 0.55
"""Share of the votes for one label above which a face counts as showing it."""


def export_ensemble(
    source: Path,
    name: str,
    packs: Sequence[Path],
    elsewhere: Sequence[Path],
    detector: Path,
    terms: Sequence[str],
    artifacts_folder: Path,
    run_name: str,
) -> Path:
    """`artifacts/export-ensemble/<run>/` with emotion.tflite, weights.npz, entry.json and metrics.json.

    The operating point is fitted on the packs' held-out faces and on the parts for choosing of the sources
    `elsewhere`, on the file's own answers. A teacher is exported as a classifier of the recipe's labels: what
    it says of other votes is left out. Raises BuildError.
    """
    recipe = recipe_of(source)
    weights = weights_of(source, name)
    nets = {**recipe.teachers, **recipe.students}
    if name not in nets or not weights.is_file():
        raise RunError(f"{source} holds no net {name!r}; it has {', '.join(nets)}")
    described = {"source": source.name, "student": name, "weights": artifacts.sha256_of(weights)}
    with artifacts.open_run(artifacts_folder, "export-ensemble", run_name, described) as run:
        net = nets[name]
        model = build_net(net, len(recipe.labels))
        if name in recipe.students:
            load_weights(weights, name, model)
        else:
            _load_labels(weights, name, net, recipe.labels, model)
        pack = joined([read_pack(path) for path in packs])
        find = FaceFinder(detector)
        sources = [read_source(root, recipe.labels, CHOOSE, find) for root in elsewhere]
        asked = InputTensor(
            width=net.side, height=net.side, colour="grey", dtype="float32",
            pixel_scale=PIXEL_SCALE, pixel_offset=PIXEL_OFFSET,
        )  # fmt: skip
        crop, second_crop = _crops_of(recipe)
        data = to_int8(without_resizing(model), _spread(pack.where(~pack.held_out), crop, asked), asked)
        artifacts.write_bytes(run.folder / MODEL_NAME, data)
        artifacts.write_bytes(run.folder / WEIGHTS_NAME, read_file(weights, LARGEST_MODEL))
        entry = _entry(run.folder, data, recipe, crop, second_crop, source.name, name, terms)
        entry, metrics = _at_its_operating_point(entry, data, pack.where(pack.held_out), sources)
        artifacts.write_json(run.folder / "metrics.json", metrics)
        artifacts.write_json(run.folder / "entry.json", entry.model_dump(mode="json"))
    return run.finished


def fit_exported(
    source: Path,
    packs: Sequence[Path],
    elsewhere: Sequence[Path],
    detector: Path,
    artifacts_folder: Path,
    run_name: str,
) -> Path:
    """Stage `fit-operating-point`: an exported model with another operating point; its file stays the same.

    `artifacts/fit-operating-point/<run>/` holds the file and its new entry. Raises BuildError.
    """
    model = load_emotion(source)
    described = {"model": model.entry.cpu.sha256, "elsewhere": [root.name for root in elsewhere]}
    with artifacts.open_run(artifacts_folder, "fit-operating-point", run_name, described) as run:
        pack = joined([read_pack(path) for path in packs])
        find = FaceFinder(detector)
        sources = [read_source(root, model.labels, CHOOSE, find) for root in elsewhere]
        entry = model.entry.model_copy(update={"offsets": None})
        entry, metrics = _at_its_operating_point(entry, model.data, pack.where(pack.held_out), sources)
        artifacts.write_bytes(run.folder / entry.cpu.file, model.data)
        artifacts.write_json(run.folder / "metrics.json", metrics)
        artifacts.write_json(run.folder / "entry.json", entry.model_dump(mode="json"))
    return run.finished


def _load_labels(weights: Path, name: str, net: Net, labels: Sequence[str], model: keras.Model) -> None:
    """The weights of a teacher, without its answers about other votes than `labels`."""
    teacher = build_net(net, len(VOTES))
    load_weights(weights, name, teacher)
    chosen = [VOTES.index(label) for label in labels]
    for mine, theirs in zip(model.weights, teacher.weights, strict=True):
        value = np.asarray(theirs)
        mine.assign(value if mine.shape == value.shape else value[..., chosen])


def _spread(pack: Pack, crop: Crop, input_: InputTensor) -> list[NDArray[np.uint8]]:
    """About REPRESENTATIVE crops, evenly over the pack."""
    return _crops(pack.canvas[:: max(1, len(pack) // REPRESENTATIVE)], crop, input_)


def _crops(canvas: NDArray[np.uint8], crop: Crop, input_: InputTensor) -> list[NDArray[np.uint8]]:
    """As the device crops the faces, at the size of its input."""
    return [device_crop(face, input_, crop) for face in _stored_crops(canvas)]


def _stored_crops(canvas: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, CROP, CROP): the canvas without its edge, framed as training pictures are."""
    edge = (CANVAS - CROP) // 2
    return canvas[:, edge : edge + CROP, edge : edge + CROP]


def _crops_of(recipe: EnsembleRecipe) -> tuple[Crop, SecondCrop | None]:
    """How a device crops faces for a net of this recipe."""
    crop, *others = (square_framing(view.side, view.lower).crop for view in recipe.turns or (recipe.view,))
    if not others:
        return crop, None
    return crop, SecondCrop(scale=others[0].scale, shift=others[0].shift, mirrored=True)


def _entry(
    folder: Path,
    data: bytes,
    recipe: EnsembleRecipe,
    crop: Crop,
    second_crop: SecondCrop | None,
    source: str,
    name: str,
    terms: Sequence[str],
) -> EmotionEntry:
    outputs = output_tensors(data, {"logits": "logits"})
    exported = input_tensor(data, "grey", PIXEL_SCALE, PIXEL_OFFSET)
    return EmotionEntry(
        cpu=ModelFile(file=MODEL_NAME, sha256=artifacts.sha256_of(folder / MODEL_NAME)),
        input=exported,
        crop=crop,
        second_crop=second_crop,
        outputs=outputs,
        labels=recipe.labels,
        temperature=1.0,
        suggested=DECISION,
        golden=golden(data, exported, outputs),
        card=ModelCard(
            recipe=f"{source}: {name}",
            commit=artifacts.commit(),
            created=artifacts.now(),
            data=tuple(terms),
            metrics={},
            weights=artifacts.sha256_of(folder / WEIGHTS_NAME),
        ),
    )


def _at_its_operating_point(
    entry: EmotionEntry, data: bytes, held_out: Pack, sources: Sequence[Source]
) -> tuple[EmotionEntry, dict[str, float | int | str]]:
    """Temperature, offsets and prior, and the figures that chose them."""
    box = Framing().box
    logits = face_logits(data, entry, [(face, box) for face in _stored_crops(held_out.canvas)])
    own = held_out.votes @ (fold(entry.labels) == 1)
    clear = own.max(axis=1) > CLEAR
    labels = own.argmax(axis=1)
    certain = np.eye(len(entry.labels))[labels]
    evidence = [Evidence(logits[clear], certain[clear])]
    for source in sources:
        found = face_logits(data, entry, [(face.pixels, face.box) for face in source.faces])
        targets = np.eye(len(entry.labels))[[f.label for f in source.faces]]
        evidence.append(Evidence(found, targets, ELSEWHERE_WEIGHT / len(sources), balanced=1.0))
    temperature, offsets = fit_operating_point(evidence)
    temperature = round(temperature * CAUTION, 4)
    offsets = tuple(round(offset / CAUTION, 4) for offset in offsets)
    prior = fit_prior(logits[clear], labels[clear], temperature, offsets)
    entry = entry.model_copy(update={"temperature": temperature, "offsets": offsets, "prior": prior})
    figures = {"held_out": summary(calibrated(logits[clear], entry), labels[clear])}
    for source, answered in zip(sources, evidence[-len(sources) :] if sources else (), strict=True):
        truth = answered.targets.argmax(axis=1)
        figures[source.name.replace("/", "_")] = summary(calibrated(answered.logits, entry), truth)
    card: dict[str, float | int | str] = {"bytes": len(data), "held_out_pictures": int(clear.sum())}
    for name, of in figures.items():
        card |= {f"{name}_{key}": value for key, value in dataclasses.asdict(of).items()}
    return entry.model_copy(update={"card": entry.card.model_copy(update={"metrics": card})}), card

"""The verbs of the trainer. Each imports its stage when called, so that `--help` needs no TensorFlow.

What TensorFlow writes while it is imported is held back; see `runs/output.py` for the rest.
"""

from __future__ import annotations

import os
import sys
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from oahega_build.runs.output import held_back
from oahega_edge.errors import EdgeError

app = typer.Typer(
    name="oahega_build",
    help="Train the models of a bundle from pictures. Each stage writes artifacts/<stage>/<run>/.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Artifacts = Annotated[Path, typer.Option(help="Folder that holds artifacts/<stage>/<run>/.")]
RunName = Annotated[
    str, typer.Option("--run", help="Name of the run's folder. An unfinished run is resumed.")
]
RecipeName = Annotated[str, typer.Option("--recipe", help="Name of a packaged recipe, or a .py file.")]
Data = Annotated[
    Path, typer.Option(help="Dataset: a folder per class, or train/ and valid/ with a folder per class.")
]
DetectorData = Annotated[Path, typer.Option("--data", help="Folder that the recipe's paths are relative to.")]
Part = Annotated[str, typer.Option(help="valid (every use is logged), train or held-out.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="field=value: change a field of the recipe. Repeatable.")
]
Elsewhere = Annotated[
    list[Path] | None,
    typer.Option(
        help="Folder of faces from another source, by class, or of voted faces without classes; repeat for "
        "several. Where it has `people.csv`, `--part valid` measures the part `report` and logs the look; "
        "otherwise the part `choose` is measured."
    ),
]
FaceDetector = Annotated[
    Path, typer.Option(help="Bundle whose detector finds the faces of the sources elsewhere.")
]

DEFAULT_ARTIFACTS = Path("artifacts")
EMBEDDED = Path(str(files("oahega_edge") / "bundles" / "default"))


@app.callback()
def _root() -> None:
    """Make Typer treat `app` as a group of verbs."""


@app.command("train-emotion")
def train_emotion(
    data: Data,
    recipe: RecipeName = "emotion_student",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
) -> None:
    """Train the emotion classifier and export it as emotion.tflite and entry.json."""
    with held_back():
        from oahega_build.emotion.recipe import EmotionRecipe
        from oahega_build.emotion.train import train
        from oahega_build.runs.recipes import load_recipe

    print(train(load_recipe(recipe, EmotionRecipe, override or ()), recipe, data, artifacts, run))


@app.command("distill")
def distill(
    data: Data,
    teacher: Annotated[list[Path], typer.Option(help="Folder of a train-emotion run. Repeatable.")],
    recipe: RecipeName = "emotion_distilled",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
) -> None:
    """Train a small emotion classifier on the answers of larger ones, and export it."""
    with held_back():
        from oahega_build.emotion import distill as stage
        from oahega_build.emotion.recipe import EmotionRecipe
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, EmotionRecipe, override or ())
    print(stage.distill(chosen, recipe, teacher, data, artifacts, run))


@app.command("pack-faces")
def pack_faces(
    voted: Annotated[
        list[Path], typer.Option(help="Dataset with votes.csv, with or without classes; repeat for several.")
    ],
    collected: Annotated[
        Path | None, typer.Option(help="Run of `collect` with the recipe collect_unlabelled.")
    ] = None,
    peers: Annotated[
        list[Path] | None, typer.Option(help="Folder of the models that label those; repeat for several.")
    ] = None,
    elsewhere: Annotated[
        Path | None, typer.Option(help="Source whose part `choose` the labellers' answers are fitted on.")
    ] = None,
    detector: FaceDetector = EMBEDDED,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Voted and collected faces into files that `train-ensemble` reads wherever there is a GPU."""
    with held_back():
        from oahega_build.ensemble.faces import pack_faces as stage
        from oahega_build.recipes.emotion_world import RECIPE

    print(stage(voted, collected, peers or (), elsewhere, detector, RECIPE.labels, artifacts, run))


@app.command("train-ensemble")
def train_ensemble(
    pack: Annotated[
        list[Path], typer.Option(help="File of `pack-faces`; repeat for several, or to show one twice.")
    ],
    recipe: RecipeName = "emotion_world",
    start: Annotated[
        list[str] | None,
        typer.Option(help="net=FILE: weights.npz of an earlier run, or faceres-deep.json; repeat."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Most seconds for each lesson; its schedule fits itself into them.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Nets that this process trains; repeat. Others do the rest.")
    ] = None,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
) -> None:
    """Train teachers and the students that they teach; KERAS_BACKEND=torch or jax uses a GPU."""
    from oahega_build.ensemble.recipe import EnsembleRecipe
    from oahega_build.ensemble.train import train_ensemble as stage
    from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, EnsembleRecipe, override or ())
    starts = {name: Path(file) for name, _, file in (text.partition("=") for text in start or ())}
    print(stage(chosen, pack, artifacts, run, starts, seconds, only or ()))


@app.command("answer-pack")
def answer_pack(
    source: Annotated[Path, typer.Argument(help="Run of train-ensemble that holds the teachers.")],
    teacher: Annotated[list[str], typer.Option(help="Which of its teachers; repeatable.")],
    pack: Annotated[list[Path], typer.Option(help="File of `pack-faces`; repeatable.")],
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Of their answers; the votes keep the rest.")
    ] = 0.65,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Ask teachers about the faces of packs once, so that a student can learn without them."""
    from oahega_build.ensemble.answers import answer_pack as stage

    print(stage(source, teacher, pack, share, artifacts, run))


@app.command("export-ensemble")
def export_ensemble(
    source: Annotated[Path, typer.Argument(help="Run of train-ensemble.")],
    student: Annotated[str, typer.Option(help="Which of its students.")],
    pack: Annotated[list[Path], typer.Option(help="File of `pack-faces`, whose held-out part is used.")],
    elsewhere: Annotated[
        list[Path] | None, typer.Option(help="Source whose part `choose` the operating point is fitted on.")
    ] = None,
    term: Annotated[
        list[str] | None, typer.Option(help="A training set with its terms, for the card; repeat.")
    ] = None,
    detector: FaceDetector = EMBEDDED,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """A student to int8 with its operating point: emotion.tflite, weights.npz and entry.json."""
    with held_back():
        from oahega_build.ensemble.export import export_ensemble as stage

    print(stage(source, student, pack, elsewhere or (), detector, term or (), artifacts, run))


@app.command("fit-operating-point")
def fit_operating_point(
    model: Annotated[Path, typer.Argument(help="Folder with entry.json and its .tflite.")],
    pack: Annotated[list[Path], typer.Option(help="File of `pack-faces`, whose held-out part is used.")],
    elsewhere: Annotated[
        list[Path] | None, typer.Option(help="Source whose part `choose` is used as well; repeatable.")
    ] = None,
    detector: FaceDetector = EMBEDDED,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Fit temperature and offsets of an exported emotion model anew; its file stays the same."""
    with held_back():
        from oahega_build.ensemble.export import fit_exported as stage

    print(stage(model, pack, elsewhere or (), detector, artifacts, run))


@app.command("quantize")
def quantize(
    source: Annotated[Path, typer.Argument(help="Folder of a train-emotion run, finished or not.")],
    data: Data,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Export the current weights of a run as int8, with calibration and manifest entry."""
    with held_back():
        from oahega_build.emotion.export import export_run

    print(export_run(source, data, artifacts, run))


@app.command("overview")
def overview(data: Data, run: RunName = "default", artifacts: Artifacts = DEFAULT_ARTIFACTS) -> None:
    """Show counts, sizes, near-duplicates and unreadable files of a dataset as a table and a picture."""
    from oahega_build.pictures.prepare import overview_run

    print(overview_run(data, artifacts, run).as_table())


@app.command("evaluate-emotion")
def evaluate_emotion(
    model: Annotated[Path, typer.Argument(help="Folder with entry.json and its .tflite.")],
    data: Data,
    part: Part = "valid",
    elsewhere: Elsewhere = None,
    detector: FaceDetector = EMBEDDED,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Measure an exported model: Table 1 with intervals, calibration, face sizes, corruptions."""
    with held_back():
        from oahega_build.emotion import evaluate as stage
        from oahega_build.scenes import elsewhere as other

    print(other.told([model], (), elsewhere, part, detector, artifacts, run))
    print(stage.evaluate_run(model, data, part, artifacts, run).as_text())


@app.command("compare-emotion")
def compare_emotion(
    models: Annotated[list[Path], typer.Argument(help="Folders with entry.json and its .tflite.")],
    data: Data,
    peers: Annotated[
        list[Path] | None, typer.Option(help="Folder of other people's models; repeat for several.")
    ] = None,
    part: Part = "valid",
    elsewhere: Elsewhere = None,
    detector: FaceDetector = EMBEDDED,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Compare emotion models on the same pictures, in one table per source."""
    with held_back():
        from oahega_build.emotion import compare as stage
        from oahega_build.scenes import elsewhere as other

    print(other.told(models, peers or (), elsewhere, part, detector, artifacts, run))
    print(stage.as_table(stage.compare_run(models, data, peers or (), part, artifacts, run)))


@app.command("compare-distillation")
def compare_distillation(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Runs of train-emotion and of distill, with all their seeds."),
    ],
    data: Data,
    part: Annotated[
        list[str], typer.Option(help="held-out, valid (every use is logged) or train. Repeatable.")
    ] = ["held-out"],  # noqa: B006
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Measure what the teacher adds: the student and its untaught twin over several seeds."""
    with held_back():
        from oahega_build.experiments import compare_distillation as stage

    print(stage.as_table(stage.compare_distillation(runs, data, part, artifacts, run)))


@app.command("evaluate-video")
def evaluate_video(
    data: Data,
    scenes: Annotated[Path, typer.Option(help="Folder of pictures without people, used as backgrounds.")],
    bundle: Annotated[Path | None, typer.Option(help="The bundle to evaluate.")] = None,
    yunet: Annotated[
        Path | None, typer.Option(help="Instead of --bundle: YuNet (.onnx) as the detector, with --emotion.")
    ] = None,
    emotion: Annotated[Path | None, typer.Option(help="With --yunet: folder of an emotion model.")] = None,
    clips: Annotated[
        Path | None, typer.Option(help="Videos of real people, to count changes of the decision.")
    ] = None,
    part: Annotated[
        str, typer.Option(help="held-out to choose settings, valid for the final report.")
    ] = "held-out",
    count: Annotated[int, typer.Option(min=1, help="Sequences per noise level.")] = 12,
    seconds: Annotated[float, typer.Option(min=5, help="Length of a sequence.")] = 20.0,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", help="section.key=value: change a device setting. Repeatable."),
    ] = None,
) -> None:
    """Measure accuracy, stability and delay of decisions on labelled sequences, beside the paper's method."""
    with held_back():
        from oahega_build.scenes import evaluate_video as stage
        from oahega_build.scenes.chain import device_settings, open_chain

    with open_chain(bundle, yunet, emotion) as chain:
        settings = device_settings(bundle, override or ())
        size = (count, seconds)
        print(stage.evaluate_run(chain, settings, data, scenes, clips, part, size, artifacts, run))


@app.command("evaluate-scenes")
def evaluate_scenes(
    bundle: Annotated[Path, typer.Argument(help="The bundle to evaluate.")],
    data: Data,
    people: Annotated[
        Path | None, typer.Option(help="Folder of a `label` run: show the faces on its people's shoulders.")
    ] = None,
    scenes: Annotated[
        Path | None,
        typer.Option(help="Instead of --people: folder of pictures without people, to show the faces in."),
    ] = None,
    part: Part = "held-out",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Measure accuracy on faces in scenes through detector, tracker and crop. A missed face is an error."""
    with held_back():
        from oahega_build.scenes import evaluate_scenes as stage
        from oahega_build.scenes.chain import device_settings

    place = people or scenes
    if place is None or (people and scenes):
        raise typer.BadParameter("give either --people or --scenes")
    settings = device_settings(bundle, ())
    onto_people = people is not None
    print(stage.evaluate_run(bundle, settings, data, place, onto_people, part, artifacts, run).as_text())


@app.command("bundle")
def bundle(
    detector: Annotated[Path, typer.Option(help="Folder with the detector's entry.json and .tflite.")],
    emotion: Annotated[Path, typer.Option(help="Folder with the emotion model's entry.json and .tflite.")],
    out: Annotated[Path, typer.Option(help="Folder of the bundle. An existing one is replaced.")],
    name: Annotated[str, typer.Option(help="Name of the bundle in events, lower case.")] = "oahega-default",
    version: Annotated[str, typer.Option(help="Version of the bundle.")] = "0.1.0",
) -> None:
    """Make a bundle: two models, their manifest and model card in one folder."""
    from oahega_build.whole.bundle import make_bundle

    print(make_bundle(detector, emotion, out, name, version))


@app.command("keygen")
def keygen(
    private: Annotated[Path, typer.Argument(help="New file for the private key; keep it off the devices.")],
) -> None:
    """Make a key to sign bundles with. Prints the public key for the setting `bundle.public_keys`."""
    from oahega_build.whole.signing import make_key

    print(make_key(private))


@app.command("sign")
def sign(
    folder: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    key: Annotated[Path, typer.Option(help="The private key that `keygen` wrote.")],
) -> None:
    """Check and sign a bundle. Prints the public key."""
    from oahega_build.whole.signing import sign_bundle

    print(sign_bundle(folder, key))


@app.command("label")
def label(
    data: DetectorData,
    recipe: RecipeName = "label_shared",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    processes: Annotated[int, typer.Option(help="Number of processes.")] = 2,
    override: Overrides = None,
) -> None:
    """Complete the annotations with detectors as teachers, and write TFRecord shards and contact sheets."""
    with held_back():
        from oahega_build.labelling import label as stage
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, stage.LabelRecipe, override or ())
    print(stage.label(chosen, data, artifacts, run, processes))


@app.command("train-detector")
def train_detector(
    data: DetectorData,
    recipe: RecipeName = "detector_default",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    workers: Annotated[int, typer.Option(help="Number of threads that compose examples.")] = 2,
    processes: Annotated[bool, typer.Option(help="Use processes instead of threads, to feed a GPU.")] = False,
    precision: Annotated[
        str, typer.Option(help="Dtype policy of Keras; mixed_bfloat16 for a GPU.")
    ] = "float32",
    seconds: Annotated[float, typer.Option(help="End the training within this time; 0: never.")] = 0.0,
    override: Overrides = None,
) -> None:
    """Train the face and person detector and export it as detector.tflite and entry.json.

    KERAS_BACKEND=torch (or jax) trains it on a GPU; the export, which needs TensorFlow, is then left to
    `export-detector`.
    """
    with held_back():
        import keras

        from oahega_build.detector import train as stage
        from oahega_build.detector.recipe import DetectorRecipe
        from oahega_build.runs.recipes import load_recipe

    keras.config.set_dtype_policy(precision)
    chosen = load_recipe(recipe, DetectorRecipe, override or ())
    means = stage.Means(workers, processes, seconds)
    print(stage.train(chosen, recipe, data, artifacts, run, means))


@app.command("pack-labels")
def pack_labels(
    target: Annotated[Path, typer.Argument(help="Folder for train.npz and held.npz.")],
    run: RunName = "shared",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    longest: Annotated[int, typer.Option(help="Pixels of a picture's longer side at most.")] = 400,
    quality: Annotated[int, typer.Option(help="Of the WebP files in it.")] = 75,
) -> None:
    """Pack a labelling run for a machine that has no TensorFlow."""
    with held_back():
        from oahega_build.pictures.packed import write_packed
        from oahega_build.pictures.records import read_records, shards_of

    target.mkdir(parents=True, exist_ok=True)
    for split in ("train", "held"):
        records = read_records(shards_of(artifacts / "label" / run, split))
        print(f"{write_packed(target / f'{split}.npz', records, longest, quality)} pictures of {split}")


@app.command("export-detector")
def export_detector(
    target: Annotated[Path, typer.Argument(help="Folder for detector.tflite and entry.json.")],
    recipe: RecipeName = "detector_default",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
    post_processing: Annotated[
        bool, typer.Option(help="Also write detector_postprocess.tflite, for pycoral and other tools.")
    ] = False,
) -> None:
    """Export the detector of a finished run again, or of the last checkpoint of an unfinished one."""
    with held_back():
        from oahega_build.detector import export as stage
        from oahega_build.detector.recipe import DetectorRecipe
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, DetectorRecipe, override or ())
    with held_back():
        made = stage.export_checkpoint(chosen, recipe, artifacts, run, target, post_processing)
    print(made)


@app.command("evaluate-covered")
def evaluate_covered(
    model: Annotated[
        Path, typer.Argument(help="A bundle, or a folder with entry.json, whose card gets the figures.")
    ],
    boxed: Annotated[Path, typer.Option(help="Pictures with hand-made boxes of `face` and `masked_face`.")],
    detector: Annotated[
        Path, typer.Option(help="Bundle whose detector's input the heights are of, unless MODEL is a bundle.")
    ] = EMBEDDED,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Measure how often an expression is read from a face behind a mask."""
    with held_back():
        from oahega_build.scenes import evaluate_covered as stage

    print(stage.as_text(stage.evaluate(model, boxed, detector, artifacts, run)))


@app.command("suggest-scores")
def suggest_scores(
    detector: Annotated[Path, typer.Argument(help="Folder with detector.tflite and entry.json.")],
    boxed: Annotated[Path, typer.Option(help="Pictures with boxes of all faces, or of all persons.")],
    nobody: Annotated[Path, typer.Option(help="Pictures without people.")],
    label: Annotated[str, typer.Option(help="face or person.")] = "face",
    false: Annotated[float, typer.Option(help="Cost of a false track, in missed faces.")] = 3.0,
    false_alone: Annotated[float, typer.Option(help="The same where nobody is.")] = 30.0,
    least_precision: Annotated[float, typer.Option(help="Take no score below this precision.")] = 0.65,
) -> None:
    """Choose the suggested score of a label by the cost of its misses and false tracks."""
    with held_back():
        from oahega_build.detector.costs import Cost
        from oahega_build.detector.suggest import suggest

    cost = Cost(false, false_alone)
    for choice in suggest(detector, label, boxed, nobody, cost, least_precision):
        print(
            f"{choice.score:.2f}: cost {choice.cost:.3f}, recall {choice.recall:.3f}, "
            f"precision {choice.precision:.3f}, in empty pictures {choice.false_alone:.4f}"
        )


@app.command("evaluate-detector")
def evaluate_detector(
    detector: Annotated[Path, typer.Argument(help="Folder with detector.tflite and entry.json.")],
    data: DetectorData,
    records: Annotated[str, typer.Option(help="Name of the labelling run with the pictures.")] = "shared",
    split: Annotated[str, typer.Option(help="train, held or valid.")] = "valid",
    boxed: Annotated[
        Path | None, typer.Option(help="Pictures with hand-made boxes of `face` and `masked_face`.")
    ] = None,
    recipe: RecipeName = "detector_rivals",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Measure an exported detector with the device's own code, beside other detectors."""
    with held_back():
        from oahega_build.detector import evaluate as stage
        from oahega_build.runs.recipes import load_recipe

    rivals = load_recipe(recipe, stage.Rivals)
    print(stage.evaluate(detector, records, split, rivals, data, artifacts, run, boxed))


@app.command("compile")
def compile_models(
    files: Annotated[list[Path], typer.Argument(help="The .tflite files that will share one Edge TPU.")],
    target: Annotated[Path, typer.Option("--out", help="Folder for NAME_edgetpu.tflite.")] = Path("."),
    only_check: Annotated[bool, typer.Option("--check", help="Only show what would map.")] = False,
) -> None:
    """Compile models for the Edge TPU, or show where each operator would run."""
    with held_back():
        from oahega_build.models import edgetpu

    checks = [edgetpu.check(file) for file in files]
    for found in checks:
        print("\n".join(found.sentences()))
    fit = "fit" if edgetpu.fit_together(checks) else "do not fit"
    print(f"together their parameters {fit} into the 8 MiB on the chip")
    if not only_check:
        for made in edgetpu.compile_together(files, target):
            print(f"{made.file}: {made.on_chip} operators on the Edge TPU, {made.on_cpu} on the CPU")


@app.command("collect")
def collect(
    source: Annotated[Path, typer.Option(help="Folder with a folder of videos and pictures per class.")],
    detectors: Annotated[
        Path, typer.Option("--data", help="Folder that the detector's files are relative to.")
    ],
    recipe: RecipeName = "collect_default",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
    processes: Annotated[int, typer.Option(min=1, help="Number of processes on this machine.")] = 1,
    shard: Annotated[
        str, typer.Option(help="i/n: only every n-th unit, to share the work between machines.")
    ] = "0/1",
) -> None:
    """Crop faces from videos and pictures into a folder per class, with labels.csv and contact sheets."""
    with held_back():
        from oahega_build.labelling import collect as stage
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, stage.CollectRecipe, override or ())
    made = stage.collect(chosen, source, detectors, artifacts, run, processes, _shard(shard))
    print(f"{made}: look at {stage.SHEETS}/, correct {stage.LIST}, then `relabel {made}`")


@app.command("relabel")
def relabel(run: Annotated[Path, typer.Argument(help="Folder of a finished collect run.")]) -> None:
    """Move collected faces to the classes of the corrected labels.csv. An empty label leaves a face out."""
    from oahega_build.labelling import collect as stage

    for change, count in sorted(stage.relabel(run).items()):
        print(f"{count} x {change}")


def _shard(text: str) -> tuple[int, int]:
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and int(number) < int(of)):
        raise typer.BadParameter(f"invalid shard {text!r}: expected i/n with i from 0, such as 0/4")
    return int(number), int(of)


@app.command("project")
def project(
    data: Data,
    model: Annotated[
        Path,
        typer.Option(
            help="A run of train-emotion, or a quantized MobileNetV1 .tflite for ImageNet embeddings."
        ),
    ],
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Write embeddings for the TensorBoard projector, a picture of them, and suspicious labels."""
    with held_back():
        from oahega_build.experiments import project as stage

    print(f"{stage.project(data, model, artifacts, run)}: suspicious.csv, suspicious.png, embeddings.png")


@app.command("prune")
def prune(
    source: Annotated[Path, typer.Argument(help="Folder of a train-emotion or distill run.")],
    data: Data,
    beside: Annotated[
        list[Path] | None,
        typer.Option(help="Other runs (teacher, untaught twin) for the same table. Repeatable."),
    ] = None,
    recipe: RecipeName = "prune_default",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
) -> None:
    """Remove weights and channels, continue training, and compare size, time and accuracy."""
    with held_back():
        from oahega_build.experiments import prune as stage
        from oahega_build.experiments.prune_recipe import PruneRecipe
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, PruneRecipe, override or ())
    others = {f"{other.parent.name}/{other.name}": other for other in beside or ()}
    print(stage.prune(chosen, source, data, artifacts, run, others))


@app.command("all")
def everything(
    out: Annotated[Path, typer.Option(help="Output folder: bundle/, report.html and artifacts/.")],
    dataset: Annotated[
        Path | None,
        typer.Option(help="Dataset: a folder per class, or train/ and valid/ with a folder per class."),
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(
            help="Instead of --dataset: a folder of videos and pictures per class to collect faces from."
        ),
    ] = None,
    recipe: RecipeName = "quick",
    override: Overrides = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle to take the detector from. Default: the embedded bundle.")
    ] = None,
    detection: Annotated[
        Path | None, typer.Option(help="Instead of --bundle: data to label and to train a detector on.")
    ] = None,
    label_recipe: Annotated[str, typer.Option(help="Recipe of `label`, for --detection.")] = "label_shared",
    detector_recipe: Annotated[
        str, typer.Option(help="Recipe of `train-detector`, for --detection.")
    ] = "detector_default",
    detectors: Annotated[
        Path, typer.Option(help="Folder that the files of detector plug-ins are relative to, for --videos.")
    ] = Path("."),
    start: Annotated[
        Path | None, typer.Option(help="Bundle whose emotion model is fine-tuned on the dataset.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Private key to sign the bundle with (`keygen`).")] = None,
    name: Annotated[str, typer.Option(help="Name of the bundle, lower case.")] = "oahega-own",
    version: Annotated[str, typer.Option(help="Version of the bundle.")] = "0.1.0",
    workers: Annotated[
        int, typer.Option(min=1, help="Number of processes for collecting, labelling and tuning.")
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print the plan with its expected cost.")
    ] = False,
) -> None:
    """Make a bundle and its report from pictures. Steps that are up to date are skipped."""
    from oahega_build.runs.recipes import load_recipe
    from oahega_build.whole import everything as stage
    from oahega_build.whole.deliver import BUNDLE, REPORT
    from oahega_build.whole.options import Options
    from oahega_build.whole.recipe import EverythingRecipe
    from oahega_edge.bundles.load import DEFAULT_BUNDLE

    options = Options(
        out=out,
        dataset=dataset,
        videos=videos,
        detectors=detectors,
        bundle=bundle or DEFAULT_BUNDLE,
        detection=detection,
        label_recipe=label_recipe,
        detector_recipe=detector_recipe,
        start=start,
        key=key,
        name=name,
        version=version,
        workers=workers,
    )
    stage.everything(load_recipe(recipe, EverythingRecipe, override or ()), options, dry_run)
    if not dry_run:
        print(f"{out / BUNDLE} and {out / REPORT}")


@app.command("teach")
def teach(
    pictures: Annotated[
        Path, typer.Option(help="A folder per class of face crops, pictures or videos that show one face.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; an older bundle there is replaced.")],
    base: Annotated[Path, typer.Option(help="Bundle whose detector and trunk are used.")] = EMBEDDED,
    name: Annotated[str, typer.Option(help="Name of the bundle, lower case.")] = "oahega-own",
    version: Annotated[str, typer.Option(help="Version of the bundle.")] = "0.1.0",
    key: Annotated[Path | None, typer.Option(help="Private key to sign the bundle with (`keygen`).")] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Make the bundle even if it is no better than guessing.")
    ] = False,
) -> None:
    """Make a classifier for expressions of your own from a few pictures, in seconds; needs no TensorFlow."""
    from oahega_build.teach import teach as stage

    print(stage.teach(stage.Wish(pictures, out, base, name, version, key, anyway)))


@app.command("report")
def report(
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    devices: Annotated[
        list[Path] | None, typer.Option(help="File written by `oahega-edge bench --models`. Repeatable.")
    ] = None,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "OAHEGA edge: a run",
) -> None:
    """Show every finished run of an artifacts folder on one self-contained page."""
    from oahega_build.whole.report.page import write_report
    from oahega_build.whole.report.runs import find_runs

    print(write_report(find_runs(artifacts), out, devices or (), title))


@app.command("tune")
def tune(
    data: Data,
    recipe: RecipeName = "tune_student",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes on this machine.")] = 1,
    storage: Annotated[
        str, typer.Option(help="postgresql://USER@HOST/DATABASE: share the search with other machines.")
    ] = "",
) -> None:
    """Search the paper's eight hyper-parameters. Writes best.json, Table 1 and figure 5."""
    with held_back():
        from oahega_build.experiments import tune as stage
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, stage.TuneRecipe, override or ())
    made = stage.tune(chosen, data, artifacts, run, workers, storage)
    print((made / "table_1.txt").read_text(), end="")


def main() -> None:
    """Run a verb. A foreseen failure becomes one sentence on stderr and an exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # no notes about absent GPUs
    try:
        app()
    except EdgeError as error:
        sentence = "; ".join([str(error), *getattr(error, "__notes__", ())])
        print(f"oahega_build: {sentence}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"oahega_build: {error.filename}: {error.strerror}; check the path", file=sys.stderr)
        sys.exit(1)

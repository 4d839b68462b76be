"""The verbs of the trainer. Each imports its stage when called, so that `--help` needs no TensorFlow.

What TensorFlow writes while it is imported is held back; see `runs/output.py` for the rest.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from oahega_build.runs.output import held_back
from oahega_edge.errors import EdgeError

app = typer.Typer(
    name="oahega_build",
    help="From pictures to the models of a bundle. Each stage leaves artifacts/<stage>/<run>/.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Artifacts = Annotated[Path, typer.Option(help="Folder that holds artifacts/<stage>/<run>/.")]
RunName = Annotated[str, typer.Option("--run", help="Name of the run's folder; the same name resumes it.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="A module of oahega_build.recipes, or a .py file.")]
Data = Annotated[Path, typer.Option(help="Folder with a folder per class, or train/ and valid/ of them.")]
DetectorData = Annotated[Path, typer.Option("--data", help="Folder below which the recipe's paths lie.")]
Part = Annotated[str, typer.Option(help="valid (every look is logged), train, or held-out.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="field=value, changes the recipe.")]

DEFAULT_ARTIFACTS = Path("artifacts")


@app.callback()
def _root() -> None:
    """Keep `app` a group of verbs, however many there are."""


@app.command("train-emotion")
def train_emotion(
    data: Data,
    recipe: RecipeName = "emotion_student",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
) -> None:
    """Train the emotion classifier and export it: emotion.tflite and entry.json."""
    with held_back():
        from oahega_build.emotion.recipe import EmotionRecipe
        from oahega_build.emotion.train import train
        from oahega_build.runs.recipes import load_recipe

    print(train(load_recipe(recipe, EmotionRecipe, override or ()), recipe, data, artifacts, run))


@app.command("distill")
def distill(
    data: Data,
    teacher: Annotated[list[Path], typer.Option(help="Folder of a train-emotion run; repeat for several.")],
    recipe: RecipeName = "emotion_distilled",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
) -> None:
    """Train a small emotion classifier on what larger ones answer, and export it."""
    with held_back():
        from oahega_build.emotion import distill as stage
        from oahega_build.emotion.recipe import EmotionRecipe
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, EmotionRecipe, override or ())
    print(stage.distill(chosen, recipe, teacher, data, artifacts, run))


@app.command("quantize")
def quantize(
    source: Annotated[Path, typer.Argument(help="Folder of a train-emotion run, finished or not.")],
    data: Data,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Export a run's present weights to int8 with calibration and manifest entry."""
    with held_back():
        from oahega_build.emotion.export import export_run

    print(export_run(source, data, artifacts, run))


@app.command("overview")
def overview(data: Data, run: RunName = "default", artifacts: Artifacts = DEFAULT_ARTIFACTS) -> None:
    """Counts, sizes, near-copies and unreadable files of a dataset, as a table and a picture."""
    from oahega_build.pictures.prepare import overview_run

    print(overview_run(data, artifacts, run).as_table())


@app.command("evaluate-emotion")
def evaluate_emotion(
    model: Annotated[Path, typer.Argument(help="Folder with entry.json and its .tflite.")],
    data: Data,
    part: Part = "valid",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Precision, recall, F1 with intervals, calibration, face sizes and corruptions of an exported model."""
    with held_back():
        from oahega_build.emotion import evaluate as stage

    print(stage.evaluate_run(model, data, part, artifacts, run).as_text())


@app.command("compare-emotion")
def compare_emotion(
    models: Annotated[list[Path], typer.Argument(help="Folders with entry.json and its .tflite.")],
    data: Data,
    peers: Annotated[Path | None, typer.Option(help="Folder of other people's models.")] = None,
    part: Part = "valid",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Several emotion models on the same pictures in one table."""
    with held_back():
        from oahega_build.emotion import compare as stage

    print(stage.as_table(stage.compare_run(models, data, peers, part, artifacts, run)))


@app.command("compare-distillation")
def compare_distillation(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Runs of train-emotion and of distill, with as many seeds as there are."),
    ],
    data: Data,
    part: Annotated[
        list[str], typer.Option(help="held-out, valid (every look is logged) or train; repeat for several.")
    ] = ["held-out"],  # noqa: B006
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """What the teacher gave: the student and its untaught twin over seeds, curves and difference."""
    with held_back():
        from oahega_build.experiments import compare_distillation as stage

    print(stage.as_table(stage.compare_distillation(runs, data, part, artifacts, run)))


@app.command("evaluate-video")
def evaluate_video(
    data: Data,
    scenes: Annotated[Path, typer.Option(help="Folder of pictures without people, the backgrounds.")],
    bundle: Annotated[Path | None, typer.Option(help="The bundle to judge.")] = None,
    yunet: Annotated[Path | None, typer.Option(help="Instead: YuNet (.onnx) as detector ...")] = None,
    emotion: Annotated[Path | None, typer.Option(help="... and the folder of an emotion model.")] = None,
    clips: Annotated[Path | None, typer.Option(help="Videos of real people, for their flips.")] = None,
    part: Annotated[str, typer.Option(help="held-out to choose, valid for the one report.")] = "held-out",
    count: Annotated[int, typer.Option(min=1, help="Sequences per noise level.")] = 12,
    seconds: Annotated[float, typer.Option(min=5, help="Length of each.")] = 20.0,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value of a device.")
    ] = None,
) -> None:
    """Steadiness, truth and delay of the decisions on labelled sequences, beside the paper's way."""
    with held_back():
        from oahega_build.scenes import evaluate_video as stage

    with stage.open_chain(bundle, yunet, emotion) as chain:
        settings = stage.device_settings(bundle, override or ())
        size = (count, seconds)
        print(stage.evaluate_run(chain, settings, data, scenes, clips, part, size, artifacts, run))


@app.command("evaluate-scenes")
def evaluate_scenes(
    bundle: Annotated[Path, typer.Argument(help="The bundle to judge.")],
    data: Data,
    people: Annotated[
        Path | None, typer.Option(help="Folder of a `label` run: the faces on its people's shoulders, or ...")
    ] = None,
    scenes: Annotated[
        Path | None, typer.Option(help="... folder of pictures without people: the faces alone in them.")
    ] = None,
    part: Part = "held-out",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Accuracy on faces in scenes, through detector, tracker and crop; a missed face is an error."""
    with held_back():
        from oahega_build.scenes import evaluate_scenes as stage
        from oahega_build.scenes.evaluate_video import device_settings

    place = people or scenes
    if place is None or (people and scenes):
        raise typer.BadParameter("give --people or --scenes, to say where the faces are shown")
    settings = device_settings(bundle, ())
    onto_people = people is not None
    print(stage.evaluate_run(bundle, settings, data, place, onto_people, part, artifacts, run).as_text())


@app.command("bundle")
def bundle(
    detector: Annotated[Path, typer.Option(help="Folder with the detector's entry.json and .tflite.")],
    emotion: Annotated[Path, typer.Option(help="Folder with the emotion model's entry.json and .tflite.")],
    out: Annotated[Path, typer.Option(help="The bundle's folder; replaced when it exists.")],
    name: Annotated[str, typer.Option(help="Lower case, as the events will name it.")] = "oahega-default",
    version: Annotated[str, typer.Option(help="Of the bundle.")] = "0.1.0",
) -> None:
    """Put two models, their manifest and model card into one folder for the device."""
    from oahega_build.whole.bundle import make_bundle

    print(make_bundle(detector, emotion, out, name, version))


@app.command("keygen")
def keygen(
    private: Annotated[Path, typer.Argument(help="New file for the private key; keep it off the devices.")],
) -> None:
    """Make a key that signs bundles; prints the public key for `bundle.public_keys` of the devices."""
    from oahega_build.whole.signing import make_key

    print(make_key(private))


@app.command("sign")
def sign(
    folder: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    key: Annotated[Path, typer.Option(help="The private key that `keygen` wrote.")],
) -> None:
    """Check a bundle and sign it; prints the public key that fits."""
    from oahega_build.whole.signing import sign_bundle

    print(sign_bundle(folder, key))


@app.command("label")
def label(
    data: DetectorData,
    recipe: RecipeName = "label_shared",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    processes: Annotated[int, typer.Option(help="Processes that make shards at the same time.")] = 2,
    override: Overrides = None,
) -> None:
    """Let teachers fill in what the annotations leave out: TFRecord shards and contact sheets."""
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
    threads: Annotated[int, typer.Option(help="Threads that compose examples.")] = 2,
    override: Overrides = None,
) -> None:
    """Train the face-and-person detector and export it: detector.tflite and entry.json."""
    with held_back():
        from oahega_build.detector import train as stage
        from oahega_build.detector.recipe import DetectorRecipe
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, DetectorRecipe, override or ())
    print(stage.train(chosen, recipe, data, artifacts, run, threads))


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
    """Make a detector out of a finished run again, or of the last checkpoint of one that goes on."""
    with held_back():
        from oahega_build.detector import export as stage
        from oahega_build.detector.recipe import DetectorRecipe
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, DetectorRecipe, override or ())
    with held_back():
        made = stage.export_checkpoint(chosen, recipe, artifacts, run, target, post_processing)
    print(made)


@app.command("evaluate-detector")
def evaluate_detector(
    detector: Annotated[Path, typer.Argument(help="Folder with detector.tflite and entry.json.")],
    data: DetectorData,
    records: Annotated[str, typer.Option(help="Name of the labelling run with the pictures.")] = "shared",
    split: Annotated[str, typer.Option(help="train, held or valid.")] = "valid",
    recipe: RecipeName = "detector_rivals",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Measure an exported detector through the device's own code, beside its rivals."""
    with held_back():
        from oahega_build.detector import evaluate as stage
        from oahega_build.runs.recipes import load_recipe

    rivals = load_recipe(recipe, stage.Rivals)
    print(stage.evaluate(detector, records, split, rivals, data, artifacts, run))


@app.command("compile")
def compile_models(
    files: Annotated[list[Path], typer.Argument(help="The .tflite files that shall share one Edge TPU.")],
    target: Annotated[Path, typer.Option("--out", help="Folder for NAME_edgetpu.tflite.")] = Path("."),
    only_check: Annotated[bool, typer.Option("--check", help="Only say what would map.")] = False,
) -> None:
    """Compile models for the Edge TPU, or say operator by operator what would map where."""
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
    detectors: Annotated[Path, typer.Option("--data", help="Folder below which the detector's files lie.")],
    recipe: RecipeName = "collect_default",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes on this machine.")] = 1,
    shard: Annotated[str, typer.Option(help="i/n: only every n-th unit, for several machines.")] = "0/1",
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
    """Move collected faces to the classes that the corrected labels.csv names; empty leaves a face out."""
    from oahega_build.labelling import collect as stage

    for change, count in sorted(stage.relabel(run).items()):
        print(f"{count} x {change}")


def _shard(text: str) -> tuple[int, int]:
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and int(number) < int(of)):
        raise typer.BadParameter(f"{text!r} is no shard; write i/n with i from 0, as in 0/4")
    return int(number), int(of)


@app.command("project")
def project(
    data: Data,
    model: Annotated[
        Path, typer.Option(help="A run of train-emotion, or a quantized MobileNetV1 .tflite for ImageNet's.")
    ],
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Embeddings for the TensorBoard projector, a picture of them, suspicious labels first."""
    with held_back():
        from oahega_build.experiments import project as stage

    print(f"{stage.project(data, model, artifacts, run)}: suspicious.csv, suspicious.png, embeddings.png")


@app.command("prune")
def prune(
    source: Annotated[Path, typer.Argument(help="Folder of a train-emotion or distill run.")],
    data: Data,
    beside: Annotated[
        list[Path] | None, typer.Option(help="Other such runs (teacher, untaught twin) for the same table.")
    ] = None,
    recipe: RecipeName = "prune_default",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
) -> None:
    """Remove weights and channels, train further, compare size, time and accuracy."""
    with held_back():
        from oahega_build.experiments import prune as stage
        from oahega_build.experiments.prune_recipe import PruneRecipe
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, PruneRecipe, override or ())
    others = {f"{other.parent.name}/{other.name}": other for other in beside or ()}
    print(stage.prune(chosen, source, data, artifacts, run, others))


@app.command("all")
def everything(
    out: Annotated[Path, typer.Option(help="Gets bundle/, report.html and artifacts/.")],
    dataset: Annotated[
        Path | None, typer.Option(help="Folder with a folder per class, or train/ and valid/ of them.")
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="Instead: a folder of videos and pictures per class to collect from.")
    ] = None,
    recipe: RecipeName = "quick",
    override: Overrides = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Gives the detector; the embedded one when not set.")
    ] = None,
    detection: Annotated[
        Path | None, typer.Option(help="Data to label and to train a detector on, instead of --bundle.")
    ] = None,
    label_recipe: Annotated[str, typer.Option(help="For --detection; as of `label`.")] = "label_shared",
    detector_recipe: Annotated[
        str, typer.Option(help="For --detection; as of `train-detector`.")
    ] = "detector_default",
    detectors: Annotated[
        Path, typer.Option(help="Folder below which the files of detector plug-ins lie (--videos).")
    ] = Path("."),
    start: Annotated[
        Path | None, typer.Option(help="A bundle whose emotion model is fine-tuned on the dataset.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Private key of `keygen`, to sign with.")] = None,
    name: Annotated[str, typer.Option(help="Of the bundle, lower case.")] = "oahega-own",
    version: Annotated[str, typer.Option(help="Of the bundle.")] = "0.1.0",
    workers: Annotated[int, typer.Option(min=1, help="Processes for collecting, labelling, tuning.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print the plan with its cost.")] = False,
) -> None:
    """From pictures to a signed bundle and its report; what is up to date is not made again."""
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


@app.command("report")
def report(
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    devices: Annotated[
        list[Path] | None, typer.Option(help="File of `oahega-edge bench --models`; repeat for several.")
    ] = None,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "OAHEGA edge: a run",
) -> None:
    """Every finished run below the artifacts folder on one self-contained page."""
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
    workers: Annotated[int, typer.Option(min=1, help="Processes on this machine.")] = 1,
    storage: Annotated[
        str, typer.Option(help="postgresql://USER@HOST/DATABASE, to share the search with other machines.")
    ] = "",
) -> None:
    """Search the paper's eight hyper-parameters: best.json, Table 1, figure 5."""
    with held_back():
        from oahega_build.experiments import tune as stage
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, stage.TuneRecipe, override or ())
    made = stage.tune(chosen, data, artifacts, run, workers, storage)
    print((made / "table_1.txt").read_text(), end="")


def main() -> None:
    """Run a verb; a foreseen failure becomes one sentence on stderr and its exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's notes about GPUs that nobody asked for
    try:
        app()
    except EdgeError as error:
        sentence = "; ".join([str(error), *getattr(error, "__notes__", ())])
        print(f"oahega_build: {sentence}", file=sys.stderr)
        sys.exit(error.exit_code)

"""Verb `all`: from a folder of pictures to a signed bundle, one step after another."""

from __future__ import annotations

import csv
import dataclasses
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import oahega_edge
from oahega_build.emotion.recipe import EmotionRecipe
from oahega_build.errors import DataError, RecipeError
from oahega_build.experiments.prune_recipe import PruneRecipe
from oahega_build.experiments.tune import best_recipe
from oahega_build.labelling.collect import GROUP_PATTERN
from oahega_build.pictures.dataset import Overview
from oahega_build.runs.artifacts import open_run, write_json
from oahega_build.runs.freshness import folder_digest
from oahega_build.runs.output import held_back, say
from oahega_build.runs.plan import Plan, Step, as_text, run_plan
from oahega_build.whole.recipe import EverythingRecipe
from oahega_edge.bundles.load import DEFAULT_BUNDLE, MANIFEST, load_bundle
from oahega_edge.tools.bench_models import described, time_models

BUNDLE, REPORT, VALID_LOG = "bundle", "report.html", "valid-log.jsonl"
BENCH_RUNS, BENCH_THREADS = 100, 4
"""Timed invocations of each model, and threads at most, of which no device has more."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the command line asks for."""

    out: Path
    dataset: Path | None = None
    videos: Path | None = None
    detectors: Path = Path(".")
    """Folder below which the files of detector plug-ins lie."""
    bundle: Path = DEFAULT_BUNDLE
    """Gives the detector unless `detection` is set."""
    detection: Path | None = None
    """Data for `label` and `train-detector`."""
    label_recipe: str = "label_shared"
    detector_recipe: str = "detector_default"
    start: Path | None = None
    """A bundle whose emotion model is fine-tuned on `dataset`."""
    key: Path | None = None
    """Private key to sign with."""
    name: str = "oahega-own"
    version: str = "0.1.0"
    workers: int = 1


def make_plan(recipe: EverythingRecipe, wish: Wish) -> Plan:
    """All steps with their hashes; reads the pictures' bytes, trains nothing. Raises BuildError."""
    plan = Plan(wish.out)
    data, source, pictures, pattern = _data_steps(plan, recipe, wish)
    emotion = _emotion_steps(plan, recipe, wish, data, source, pictures, pattern)
    detector = _detector_steps(plan, wish)
    _bundle_steps(plan, wish, emotion, detector)
    return plan


# Pictures


def _data_steps(plan: Plan, recipe: EverythingRecipe, wish: Wish) -> tuple[Path, Step | str, int, str]:
    """(dataset with train and valid, the step that makes it or its digest, training pictures, groups)."""
    if (wish.dataset is None) == (wish.videos is None):
        raise RecipeError("give either a dataset (a folder per class) or videos to collect faces from")
    from oahega_build.pictures.folders import parts_of
    from oahega_build.pictures.problems import Problems

    pattern = recipe.group_pattern
    before: Step | str
    if wish.videos is not None:
        before, dataset, pictures = _collect_step(plan, recipe, wish, wish.videos)
        pattern = GROUP_PATTERN
    else:
        dataset = wish.dataset  # type: ignore[assignment]
        before, pictures = folder_digest(dataset), count_pictures(dataset)
    parts = parts_of(dataset, Problems()) if dataset.is_dir() else {}
    if "valid" in parts:
        data, source = dataset, before
        pictures = count_pictures(parts["train"])
    else:
        split = plan.add(
            "split",
            f"{recipe.test_share:.0%} of {dataset.name} set aside for the figures",
            {"share": recipe.test_share, "pattern": pattern},
            [before],
            __name__,
            lambda stage, own: split_dataset(dataset, recipe.test_share, pattern, plan.artifacts, own),
            work=pictures,
            guess=pictures / 300,
        )
        data, source = split.result / dataset.name, split
        pictures = round(pictures * (1 - recipe.test_share))
    plan.add(
        "overview",
        "counts, sizes, near-copies",
        {},
        [source],
        "oahega_build.pictures.dataset",
        lambda stage, own: overview_run(data, plan.artifacts, own),
        work=pictures,
        guess=pictures / 500,
    )
    return data, source, pictures, pattern


def _collect_step(plan: Plan, recipe: EverythingRecipe, wish: Wish, videos: Path) -> tuple[Step, Path, int]:
    from oahega_build.labelling import collect as stage
    from oahega_build.pictures.problems import Problems

    if recipe.collect is None:
        raise RecipeError("the recipe has no `collect` part, which --videos needs; take another or add one")
    chosen = recipe.collect
    units = len(stage.plan(videos, Problems()))
    step = plan.add(
        "collect",
        f"faces from {units} videos and picture folders of {videos.name}",
        chosen,
        [folder_digest(videos), *(folder_digest(wish.detectors / f) for f in chosen.detector.files)],
        "oahega_build.labelling.collect",
        lambda stage, own: stage.collect(chosen, videos, wish.detectors, plan.artifacts, own, wish.workers),
        work=units,
        guess=units * 20,
    )
    return step, step.result / stage.FACES, units * 100


def count_pictures(folder: Path) -> int:
    """Files that look like pictures, at any depth."""
    from oahega_edge.cameras.endings import is_picture

    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give one with a folder of pictures per class")
    return sum(is_picture(path) for path in folder.rglob("*"))


def split_dataset(source: Path, share: float, pattern: str, artifacts_folder: Path, name: str) -> Path:
    """Stage `split`: `<name of source>/train` and `/valid` of a dataset without them; the same everywhere.

    Near-copies, and what `pattern` groups, stay on one side. Files are linked where the disk allows it.
    """
    from oahega_build.pictures.dataset import VOTES, read_dataset, split_groups, split_off

    described = {"source": source, "share": share, "pattern": pattern}
    with open_run(artifacts_folder, "split", name, described) as run:
        dataset, target = read_dataset(source), run.folder / source.name
        groups = split_groups(dataset.train, pattern)
        parts = dict(zip(("train", "valid"), split_off(dataset.train, share, 0, groups), strict=True))
        placed = {}
        for part, samples in parts.items():
            for sample in samples:
                label = dataset.labels[sample.label]
                inner = sample.name.split("/", 1)[1].replace("/", "-")
                placed[sample.name] = f"{part}/{label}/{inner}"
                _link(source / sample.name, target / placed[sample.name])
        if (source / VOTES).is_file():
            _copy_votes(source / VOTES, target / VOTES, placed, dataset.labels)
        terms = source / "TERMS.txt"
        if terms.is_file():
            shutil.copyfile(terms, target / terms.name)
        run.write_metrics(
            {
                "labels": dataset.labels,
                **{part: len(samples) for part, samples in parts.items()},
                "problems": dataset.problems,
            }
        )
    return run.finished


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _copy_votes(source: Path, target: Path, placed: dict[str, str], labels: Sequence[str]) -> None:
    from oahega_build.pictures.tables import read_table

    table = read_table(source, {"file", *labels})
    with target.open("w", newline="") as copy:
        writer = csv.writer(copy)
        writer.writerow(("file", *labels))
        for row in table.rows:
            name = table.path_in(row["file"])
            if name in placed:
                writer.writerow((placed[name], *(table.number(row[label]) for label in labels)))


def overview_run(data: Path, artifacts_folder: Path, name: str) -> Overview:
    """Stage `overview` of the dataset."""
    from oahega_build.pictures import dataset as stage

    with open_run(artifacts_folder, "overview", name, {"data": data.name}) as run:
        figures = stage.overview(stage.read_dataset(data))
        run.write_metrics(figures.as_figures())
        stage.draw_overview(figures, run.folder / "overview.png")
    return figures


# Emotion


def _emotion_steps(
    plan: Plan,
    recipe: EverythingRecipe,
    wish: Wish,
    data: Path,
    source: Step | str,
    pictures: int,
    pattern: str,
) -> Step:
    """The steps up to the evaluated student; the step that makes it."""
    speed = recipe.pictures_per_second

    def grouped(chosen: EmotionRecipe) -> EmotionRecipe:
        return dataclasses.replace(chosen, group_pattern=pattern) if pattern else chosen

    def trained(what: str, chosen: EmotionRecipe, name: str, after: Sequence[Step | str] = ()) -> Step:
        work = pictures * chosen.epochs
        return plan.add(
            "train-emotion",
            f"{what}, {chosen.epochs} epochs, int8, calibrated",
            chosen,
            [source, *after],
            "oahega_build.emotion.train",
            lambda stage, own: stage.train(chosen, name, data, plan.artifacts, own),
            work=work,
            guess=work / speed + 20,
        )

    beside: dict[str, Step] = {}
    if wish.start is not None:
        student = trained("the bundle's model fine-tuned", *_fine_tuning(recipe, wish.start, grouped))
    else:
        teacher = _teacher_step(plan, recipe, wish, data, source, pictures, grouped, trained)
        student, twin = _student_steps(
            plan, recipe, data, source, pictures, grouped(recipe.student), teacher, trained
        )
        if twin is not None:
            _distillation_step(plan, data, source, student, twin, pictures)
            beside["without a teacher"] = twin
        if teacher is not None:
            beside["teacher"] = teacher
            if recipe.project:
                _project_step(plan, data, source, teacher, pictures)
            _evaluation_step(plan, "the teacher", data, source, teacher, pictures)
    if recipe.prune is not None:
        _prune_step(plan, recipe.prune, recipe.pictures_per_second, data, source, student, beside, pictures)
    _evaluation_step(plan, "the bundle's model", data, source, student, pictures)
    return student


def _fine_tuning(
    recipe: EverythingRecipe, bundle: Path, grouped: Callable[[EmotionRecipe], EmotionRecipe]
) -> tuple[EmotionRecipe, str, list[str]]:
    """The recipe that goes on from a bundle's emotion model, its name, and the model's digest."""
    from oahega_build.runs.recipes import load_recipe

    loaded = load_bundle(bundle)
    entry = loaded.manifest.emotion
    try:
        made_by = load_recipe(entry.card.recipe, EmotionRecipe)
    except RecipeError:
        made_by = recipe.student
    chosen = dataclasses.replace(
        made_by,
        init=loaded.file(entry.cpu),
        start=None,
        distil_share=0.0,
        epochs=recipe.start_epochs,
        early_epochs=0,
        learning_rate=made_by.learning_rate / 5,
    )
    return grouped(chosen), entry.card.recipe, [entry.cpu.sha256]


def _teacher_step(
    plan: Plan,
    recipe: EverythingRecipe,
    wish: Wish,
    data: Path,
    source: Step | str,
    pictures: int,
    grouped: Callable[[EmotionRecipe], EmotionRecipe],
    trained: Callable[..., Step],
) -> Step | None:
    started: list[Step | str] = [folder_digest(recipe.init)] if recipe.init else []
    if recipe.tune is None:
        if recipe.teacher is None:
            return None
        return trained("the teacher", grouped(_starting(recipe, recipe.teacher)), "teacher", started)
    search = dataclasses.replace(recipe.tune, base=grouped(_starting(recipe, recipe.tune.base)))
    if search.fine_tuned and search.base.init is None:
        raise RecipeError(
            "the search chooses layers to fine-tune and has no weights to start from; "
            "give them with --set init=MOBILENET.tflite"
        )
    epochs = sum(search.epochs) / 2
    work = pictures * epochs * search.trials
    found = plan.add(
        "tune",
        f"{search.trials} trials of {search.epochs[0]} to {search.epochs[1]} epochs by {search.objective}",
        search,
        [source, *started],
        "oahega_build.experiments.tune",
        lambda stage, own: stage.tune(search, data, plan.artifacts, own, wish.workers),
        work=work,
        guess=work / recipe.pictures_per_second + 20 * search.trials,
    )
    return plan.add(
        "train-emotion",
        "the teacher, with the best values of the search",
        {},
        [source, found],
        "oahega_build.emotion.train",
        lambda stage, own: stage.train(best_recipe(found.result), "tuned", data, plan.artifacts, own),
        work=pictures * epochs,
        guess=pictures * epochs / recipe.pictures_per_second + 20,
    )


def _starting(recipe: EverythingRecipe, chosen: EmotionRecipe) -> EmotionRecipe:
    return dataclasses.replace(chosen, init=recipe.init) if recipe.init else chosen


def _student_steps(
    plan: Plan,
    recipe: EverythingRecipe,
    data: Path,
    source: Step | str,
    pictures: int,
    student: EmotionRecipe,
    teacher: Step | None,
    trained: Callable[..., Step],
) -> tuple[Step, Step | None]:
    """(the student, its untaught twin where one is wanted)."""
    alone = dataclasses.replace(student, distil_share=0.0)
    if teacher is None or student.distil_share == 0:
        return trained("the student", alone, recipe.student_recipe), None
    twin = None
    if recipe.twin:
        said = "the student without a teacher, for comparison"
        twin = trained(said, alone, f"{recipe.student_recipe} alone")
    work = pictures * student.epochs
    taught = plan.add(
        "distill",
        f"the student taught by the teacher, {student.epochs} epochs, int8, calibrated",
        student,
        [source, teacher],
        "oahega_build.emotion.distill",
        lambda stage, own: stage.distill(
            student, recipe.student_recipe, [teacher.result], data, plan.artifacts, own
        ),
        work=work,
        guess=1.5 * work / recipe.pictures_per_second + 20,
    )
    return taught, twin


def _distillation_step(
    plan: Plan, data: Path, source: Step | str, student: Step, twin: Step, pictures: int
) -> None:
    plan.add(
        "compare-distillation",
        "the student beside its untaught twin, figures 7 and 8",
        {},
        [source, student, twin],
        "oahega_build.experiments.compare_distillation",
        lambda stage, own: stage.compare_distillation(
            [twin.result, student.result],
            data,
            ["held-out", "valid"],
            plan.artifacts,
            own,
            plan.out / VALID_LOG,
        ),
        work=pictures,
        guess=pictures / 500 + 5,
    )


def _project_step(plan: Plan, data: Path, source: Step | str, teacher: Step, pictures: int) -> None:
    plan.add(
        "project",
        "embeddings, suspicious labels first",
        {},
        [source, teacher],
        "oahega_build.experiments.project",
        lambda stage, own: stage.project(data, teacher.result, plan.artifacts, own),
        work=pictures,
        guess=pictures / 200 + 10,
    )


def _evaluation_step(
    plan: Plan, what: str, data: Path, source: Step | str, model: Step, pictures: int
) -> None:
    plan.add(
        "evaluate-emotion",
        f"{what}: Table 1, calibration, sizes, corruptions",
        {},
        [source, model],
        "oahega_build.emotion.evaluate",
        lambda stage, own: stage.evaluate_run(
            model.result, data, "valid", plan.artifacts, own, plan.out / VALID_LOG
        ),
        work=pictures,
        guess=pictures / 100 + 5,
    )


def _prune_step(
    plan: Plan,
    chosen: PruneRecipe,
    speed: float,
    data: Path,
    source: Step | str,
    student: Step,
    beside: Mapping[str, Step],
    pictures: int,
) -> None:
    work = pictures * chosen.epochs * (len(chosen.channels) + len(chosen.magnitudes))
    plan.add(
        "prune",
        "weights and channels removed, fine-tuned, compared",
        chosen,
        [source, student, *beside.values()],
        "oahega_build.experiments.prune",
        lambda stage, own: stage.prune(
            chosen,
            student.result,
            data,
            plan.artifacts,
            own,
            {name: step.result for name, step in beside.items()},
        ),
        work=work,
        guess=work / speed + 60,
    )


# Detector and bundle


def _detector_steps(plan: Plan, wish: Wish) -> Step:
    if wish.detection is not None:
        return _trained_detector(plan, wish, wish.detection)
    bundle = wish.start or wish.bundle
    digest = load_bundle(bundle).sha256
    return plan.add(
        "detector",
        f"taken from the bundle {bundle.name}",
        {},
        [digest],
        __name__,
        lambda stage, own: take_detector(bundle, plan.artifacts, own),
        guess=1,
    )


def _trained_detector(plan: Plan, wish: Wish, detection: Path) -> Step:
    from oahega_build.detector.recipe import DetectorRecipe
    from oahega_build.labelling import label as labelling
    from oahega_build.runs.recipes import load_recipe

    labels = load_recipe(wish.label_recipe, labelling.LabelRecipe)
    chosen = load_recipe(wish.detector_recipe, DetectorRecipe)
    labelled = plan.add(
        "label",
        f"faces and persons of {detection.name}, by {len(labels.teachers)} teachers",
        labels,
        [folder_digest(detection)],
        "oahega_build.labelling.label",
        lambda stage, own: stage.label(labels, detection, plan.artifacts, own, wish.workers),
        guess=600,
    )
    reading = dataclasses.replace(chosen, records=labelled.hash)
    return plan.add(
        "train-detector",
        f"{chosen.epochs} epochs of {chosen.examples} scenes",
        reading,
        [labelled],
        "oahega_build.detector.train",
        lambda stage, own: stage.train(reading, wish.detector_recipe, detection, plan.artifacts, own),
        work=chosen.epochs * chosen.examples,
        guess=chosen.epochs * chosen.examples / 47,
    )


def take_detector(bundle: Path, artifacts_folder: Path, name: str) -> Path:
    """Stage `detector`: the run folder that a bundle's detector would have come from."""
    loaded = load_bundle(bundle)
    entry = loaded.manifest.detector
    with open_run(artifacts_folder, "detector", name, {"bundle": loaded.sha256}) as run:
        for model in (entry.cpu, entry.edgetpu):
            if model is not None:
                shutil.copyfile(loaded.file(model), run.folder / model.file)
        write_json(run.folder / "entry.json", entry.model_dump(mode="json"))
        run.write_metrics(entry.card.metrics)
    return run.finished


def _bundle_steps(plan: Plan, wish: Wish, emotion: Step, detector: Step) -> None:
    made = plan.add(
        "bundle",
        f"{wish.name} {wish.version}, sealed" + (" and signed" if wish.key else ""),
        {"name": wish.name, "version": wish.version, "key": folder_digest(wish.key) if wish.key else None},
        [*(step for step in plan.steps if step.stage == "evaluate-emotion"), emotion, detector],
        "oahega_build.whole.bundle",
        lambda stage, own: bundle_run(wish, detector.result, emotion.result, plan.artifacts, own),
        guess=5,
    )
    plan.add(
        "bench",
        "the bundle's models on this machine (figure 9)",
        {},
        [made],
        "oahega_edge.tools.bench_models",
        lambda stage, own: bench_run(made.result / BUNDLE, plan.artifacts, own),
        guess=10,
    )
    before = list(plan.steps)
    plan.steps.append(
        Step(
            "deliver",
            f"to {wish.out / BUNDLE}",
            made.hash,
            wish.out / f".{BUNDLE}-{made.hash}",
            lambda: deliver(made.result / BUNDLE, wish.out, made.hash),
            guess=1,
            leaves=(wish.out / BUNDLE / MANIFEST,),
        )
    )
    plan.add(
        "report",
        f"to {wish.out / REPORT}",
        {},
        before,
        "oahega_build.whole.report.page",
        lambda stage, own: report_run(plan, own),
        guess=10,
        leaves=(wish.out / REPORT,),
    )


def bundle_run(wish: Wish, detector: Path, emotion: Path, artifacts_folder: Path, name: str) -> None:
    """Stage `bundle` in a run folder, signed when there is a key."""
    from oahega_build.whole.bundle import make_bundle

    with open_run(artifacts_folder, "bundle", name, {"name": wish.name, "version": wish.version}) as run:
        made = make_bundle(detector, emotion, run.folder / BUNDLE, wish.name, wish.version)
        signed_by = None
        if wish.key is not None:
            from oahega_build.whole.signing import sign_bundle

            signed_by = sign_bundle(made, wish.key)
        run.write_metrics(
            {
                "sha256": load_bundle(made).sha256,
                "public_key": signed_by,
                "files": {p.name: p.stat().st_size for p in sorted(made.iterdir())},
            }
        )


def bench_run(bundle: Path, artifacts_folder: Path, name: str) -> None:
    """Stage `bench`: what `oahega-edge bench --models` says of a bundle on this machine."""
    loaded = load_bundle(bundle)
    with open_run(artifacts_folder, "bench", name, {"bundle": loaded.sha256}) as run:
        times = list(time_models(loaded, min(os.cpu_count() or 1, BENCH_THREADS), "cpu", BENCH_RUNS))
        run.write_metrics(described(loaded, times, oahega_edge.__version__))


def deliver(bundle: Path, out: Path, name: str) -> None:
    """Put the finished bundle at `out/bundle`, replacing an older one in one step."""
    target, making = out / BUNDLE, out / f".{BUNDLE}-new"
    shutil.rmtree(making, ignore_errors=True)
    shutil.copytree(bundle, making)
    shutil.rmtree(target, ignore_errors=True)
    making.rename(target)
    for mark in out.glob(f".{BUNDLE}-*"):
        mark.unlink()
    (out / f".{BUNDLE}-{name}").touch()


def report_run(plan: Plan, name: str) -> None:
    """Stage `report` over exactly the runs of this plan; a finished one is only put in its place again."""
    from oahega_build.whole.report.page import write_report

    runs = [step.result for step in plan.steps if step.result.is_dir()]
    finished = plan.artifacts / "report" / name
    if not finished.is_dir():
        with open_run(plan.artifacts, "report", name, {"runs": [run.name for run in runs]}) as run:
            write_report(runs, run.folder / REPORT)
            run.write_metrics({"runs": len(runs)})
    shutil.copyfile(finished / REPORT, plan.out / REPORT)


def everything(recipe: EverythingRecipe, wish: Wish, dry_run: bool = False) -> Plan:
    """Plan, then do; `dry_run` stops after the plan. Raises BuildError."""
    plan = make_plan(recipe, wish)
    if dry_run:
        return plan
    say(as_text(plan))
    if not all(step.is_fresh for step in plan.steps):
        with held_back():
            import tensorflow as tf  # takes longer than everything else when there is nothing to do

            # Killed and resumed anywhere, the same bundle comes out.
            tf.config.experimental.enable_op_determinism()
    wish.out.mkdir(parents=True, exist_ok=True)
    run_plan(plan)
    return plan

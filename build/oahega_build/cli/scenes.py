"""The verbs that measure the whole chain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oahega_build.cli.options import DEFAULT_ARTIFACTS, EMBEDDED, Artifacts, Data, Part, RunName, app, numbers
from oahega_build.runs.output import held_back, say


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
    card: Annotated[
        Path | None,
        typer.Option(help="Folder with an emotion model's entry.json, whose card gets the reliability."),
    ] = None,
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
        print(stage.evaluate_run(chain, settings, data, scenes, clips, part, size, artifacts, run, card))


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


@app.command("measure-tuning")
def measure_tuning(
    elsewhere: Annotated[Path, typer.Option(help="Faces of other sources with people.csv.")],
    bundle: Annotated[Path, typer.Option(help="The bundle to tune.")] = EMBEDDED,
    faces: Annotated[int, typer.Option(min=25, help="How many a place labels.")] = 50,
    report: Annotated[
        bool, typer.Option("--report", help="Answer the part `report`; the look is logged.")
    ] = False,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Measure what `oahega-edge tune` brings on faces of other people."""
    from oahega_build.experiments import tuning_gain as stage

    for row in stage.measure(elsewhere, bundle, faces, report, artifacts, run):
        print(row)


@app.command("measure-sensitivity")
def measure_sensitivity(
    data: Data,
    elsewhere: Annotated[Path, typer.Option(help="Faces of other sources with people.csv.")],
    bundle: Annotated[Path, typer.Option(help="The bundle that answers.")] = EMBEDDED,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Measure what `trigger.sensitivity` does to single faces, at home and elsewhere."""
    with held_back():
        from oahega_build.experiments import sensitivity as stage

    for row in stage.measure(data, elsewhere, bundle, artifacts, run):
        say(str(row))


@app.command("measure-retraining")
def measure_retraining(
    data: Data,
    bundle: Annotated[Path, typer.Option(help="The bundle that learns on.")] = EMBEDDED,
    samples: Annotated[str, typer.Option(help="How many a site gives, with commas.")] = "100",
    draws: Annotated[int, typer.Option(min=1, help="How often samples are drawn.")] = 20,
    part: Annotated[
        str, typer.Option(help="held-out, or valid (every use is logged): whose faces are answered.")
    ] = "held-out",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Measure what `retrain` brings at a site that was made for it, with right and with shuffled labels."""
    with held_back():
        from oahega_build.experiments import retrain_gain as stage

    sizes = numbers("--samples", samples)
    for row in stage.measure(data, bundle, sizes, draws, part, artifacts, run):
        print(row)


@app.command("measure-teaching")
def measure_teaching(
    data: Data,
    voted: Annotated[Path, typer.Option(help="Faces with votes.csv, other expressions among the votes.")],
    bundle: Annotated[
        Path, typer.Option(help="The bundle that is taught; it remembers its classes.")
    ] = EMBEDDED,
    classes: Annotated[str, typer.Option(help="Of the bundle, with commas.")] = "happy,neutral,surprise",
    sizes: Annotated[str, typer.Option("--each", help="Pictures of each, with commas.")] = "5,10,20",
    tested: Annotated[int, typer.Option(min=1, help="Faces of each that are answered.")] = 230,
    strange: Annotated[
        str,
        typer.Option(help="Expressions that the bundle does not tell; the first also beside the kept ones."),
    ] = "fear,disgust,contempt",
    pictures: Annotated[int, typer.Option(min=3, help="Of each strange expression.")] = 20,
    draws: Annotated[int, typer.Option(min=1, help="How often pictures are drawn.")] = 5,
    part: Annotated[
        str, typer.Option(help="held-out, or valid (every use is logged): whose faces are answered.")
    ] = "valid",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Measure what `teach` makes of few pictures: known classes, strange ones, one beside the kept."""
    with held_back():
        from oahega_build.experiments import teach_gain as stage

    question = stage.Question(
        classes.split(","), numbers("--each", sizes), strange.split(","), pictures, draws, tested, part
    )
    for row in stage.measure(data, voted, bundle, question, artifacts, run):
        say(str(row))

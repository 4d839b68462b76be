"""The verbs around a bundle: everything at once, packing, signing, the report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oahega_build.cli.options import (
    DEFAULT_ARTIFACTS,
    EMBEDDED,
    Artifacts,
    CompareElsewhere,
    Data,
    Home,
    HomePart,
    Margin,
    Overrides,
    RecipeName,
    RunName,
    Scenes,
    Sequences,
    app,
    numbers,
)
from oahega_build.runs.output import held_back, say


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
    recipe: RecipeName = "taught",
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


@app.command("compare-ways")
def compare_ways(
    data: Data,
    init: Annotated[Path, typer.Option(help="A quantized MobileNetV1 .tflite with ImageNet features.")],
    classes: Annotated[str, typer.Option(help="With commas.")] = "happy,neutral,surprise",
    each: Annotated[str, typer.Option(help="Pictures per class, with commas.")] = "5,20,60",
    draws: Annotated[int, typer.Option(min=1, help="How often pictures are drawn.")] = 3,
    base: Annotated[Path, typer.Option(help="Bundle whose trunk is ours.")] = EMBEDDED,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Compare four ways to a classifier on the same few pictures: from nothing, ImageNet, and our trunk."""
    with held_back():  # loads TensorFlow
        from oahega_build.whole import compare_ways as stage

    rows = stage.compare_ways(
        data, classes.split(","), numbers("--each", each), draws, base, init, artifacts, run
    )
    for row in rows:
        say(str(row))


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


@app.command("retrain")
def retrain(
    samples: Annotated[
        Path, typer.Option(help="A folder per expression with labelled samples of a site, crops or pictures.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; an older bundle there is replaced.")],
    base: Annotated[
        Path, typer.Option(help="Bundle that learns on; it must remember its classes.")
    ] = EMBEDDED,
    name: Annotated[str, typer.Option(help="Name of the bundle. Default: the base's.")] = "",
    version: Annotated[
        str, typer.Option(help="Version of the bundle. Default: the base's and `+site`.")
    ] = "",
    key: Annotated[Path | None, typer.Option(help="Private key to sign the bundle with (`keygen`).")] = None,
    home: Home = None,
    elsewhere: CompareElsewhere = None,
    scenes: Scenes = None,
    part: HomePart = "valid",
    sequences: Sequences = 6,
    margin: Margin = 0.01,
) -> None:
    """Let a bundle learn on from labelled samples of a site, without forgetting what it knows.

    No bundle is made where the samples do not prove a gain at the site, or where it is worse elsewhere.
    """
    from oahega_build.comparison.compare import Sets
    from oahega_build.whole import retrain as stage

    sets = Sets(home, tuple(elsewhere or ()), scenes, None, part, sequences)
    print(stage.retrain(stage.Retraining(out, base, name, version, key, samples, sets, margin)))


@app.command("compare-bundles")
def compare_bundles(
    old: Annotated[Path, typer.Argument(help="The bundle in use.")],
    new: Annotated[Path, typer.Argument(help="The bundle that may take its place.")],
    home: Home = None,
    elsewhere: CompareElsewhere = None,
    scenes: Scenes = None,
    site: Annotated[
        Path | None,
        typer.Option(help="A folder per expression of a site's samples that neither learned from."),
    ] = None,
    part: HomePart = "valid",
    sequences: Sequences = 6,
    margin: Margin = 0.01,
    key: Annotated[
        Path | None, typer.Option(help="Sign NEW with this key where the verdict is good (`keygen`).")
    ] = None,
) -> None:
    """Compare two bundles on the same faces. Exit code 0: NEW is better somewhere, and nowhere worse."""
    from oahega_build.comparison.compare import Sets
    from oahega_build.whole import compare_bundles as stage

    sets = Sets(home, tuple(elsewhere or ()), scenes, site, part, sequences)
    stage.judge(old, new, sets, margin, key)


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

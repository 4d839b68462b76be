"""Faces in scenes and in sequences, on which two bundles are compared through the whole chain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oahega_build.comparison.paired import Row, paired
from oahega_build.comparison.sets import Both
from oahega_build.scenes.chain import Chain, bundle_chain, device_of, device_settings
from oahega_build.scenes.evaluate_scenes import Shown, alone, look_by
from oahega_build.scenes.render import render
from oahega_build.scenes.sequences import LEVELS, SEEDS, Scenario, Scenery, plan_scenarios
from oahega_build.scenes.video.methods import Device, ours
from oahega_build.scenes.video.metrics import Tally
from oahega_build.scenes.video.records import recorded_by

MOST_IN_SCENES = 400
"""Faces; more are thinned evenly. Each is drawn in six frames."""
VALID = "valid"

Playing = tuple[Chain, Device]
"""A bundle's models and what decides over them."""


@contextmanager
def playing(both: Both) -> Iterator[Sequence[Playing]]:
    """The chains of both, open, each with the device of its own suggestions; an equal detector is one."""
    with ExitStack() as stack:
        folders = [one.bundle.path for one in both.each]
        chains = [stack.enter_context(bundle_chain(folder)) for folder in folders]
        if both.share_detector:
            chains[1] = replace(chains[1], detector=chains[0].detector)
        yield [
            (chain, device_of(device_settings(folder, ()), chain))
            for folder, chain in zip(folders, chains, strict=True)
        ]


def in_scenes(both: Both, scenery: Scenery) -> Row:
    """Accuracy on faces in scenes, through detector, tracker and crop; a missed face is an error."""
    with playing(both) as chains:
        seen = np.array(
            [each for shown in alone(_thinned(scenery)) for each in looked(chains, shown, scenery.labels)]
        )
    right = seen[:, 1:] == seen[:, :1]

    def mean(chosen: NDArray[np.intp]) -> tuple[float, float]:
        old, new = right[chosen].mean(axis=0)
        return float(old), float(new)

    return paired("scenes", "accuracy", mean, len(right))


def looked(chains: Sequence[Playing], shown: Shown, labels: Sequence[str]) -> list[tuple[str, str, str]]:
    """(label, old answer, new answer) of each face of a scene, in words; a missed face has no answer."""
    old, new = look_by(shown, chains)
    words = [[*chain.classifier.labels, ""] for chain, _ in chains]
    return [
        (labels[first.label], words[0][first.answered], words[1][second.answered])
        for first, second in zip(old, new, strict=True)
    ]


def _thinned(scenery: Scenery) -> Scenery:
    most = MOST_IN_SCENES // len(scenery.labels)
    stills = [
        [of[i] for i in np.linspace(0, len(of) - 1, min(most, len(of))).astype(int)] for of in scenery.stills
    ]
    return replace(scenery, stills=stills)


def in_sequences(both: Both, scenery: Scenery, part: str, count: int, seconds: float) -> Row:
    """Frame F1 of the decisions on so many sequences, each at three noise levels."""
    with playing(both) as chains:
        values = np.array(
            [
                frame_f1(chains, scenery, scenario)
                for scenario in plan_scenarios(scenery, SEEDS.get(part, SEEDS[VALID]), count, seconds)
            ]
        )

    def mean(chosen: NDArray[np.intp]) -> tuple[float, float]:
        old, new = np.nanmean(values[chosen], axis=0)
        return float(old), float(new)

    return paired("sequences", "frame F1", mean, len(values))


def frame_f1(chains: Sequence[Playing], scenery: Scenery, scenario: Scenario) -> list[float]:
    """Of each chain on one scenario, over all noise levels."""
    tallies = [Tally(scenery.labels) for _ in chains]
    models = [(chain.detector, chain.classifier) for chain, _ in chains]
    for noise in LEVELS:
        frames = render(scenario, scenery, noise)
        records = recorded_by(scenario.name, noise.name, frames, models)
        for tally, record, (_, device) in zip(tallies, records, chains, strict=True):
            tally.add(record, ours(record, device.sights(record)))
    return [tally.figures().frame_f1 for tally in tallies]

"""A bundle at work: its models and the chain over them."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from oahega_edge.bundles.models import START_WAIT_S, Models, RuntimeOptions
from oahega_edge.chain.classifier import EmotionClassifier
from oahega_edge.chain.disclosure import published_labels
from oahega_edge.contract.events import ModelIdentity
from oahega_edge.contract.messages import AcceleratorHealth, Adjustable
from oahega_edge.service.chains import make_pipeline, seen_with
from oahega_edge.service.setup import Setup
from oahega_edge.stopwatch import Stopwatch

SWAP_WAIT_S = 5.0
"""Timeout for the accelerator in a bundle swap at run time. Short, because the loop is blocked and the
watchdog keeps running."""


class Engine:
    """Opens both models and the chain of a setup. Close it, or use it in a `with` block."""

    def __init__(self, setup: Setup, watch: Stopwatch, wait: float = START_WAIT_S) -> None:
        """`wait`: seconds for the accelerator before the CPU begins. When it raises, nothing is open."""
        settings = setup.settings
        self.untuned = setup.untuned
        self.labels = published_labels(setup.untuned.manifest.emotion.labels, settings.trigger.labels)
        self.terms = setup.untuned.manifest.terms
        self.reference = setup.untuned.manifest.emotion.reference
        self.adjustable = Adjustable(frames=settings.smoothing.frames, threshold=settings.trigger.threshold)
        self._watch = watch
        self._models = Models(setup.untuned, runtime_options(setup), wait)
        try:
            self.read = EmotionClassifier(setup.untuned.manifest.emotion, self._models.emotion)
            """Reads a face as the bundle does without any tuning."""
            self._answer_as(setup)
        except BaseException:
            self._models.close()
            raise

    def _answer_as(self, setup: Setup) -> None:
        """From now on; the models stay open, because tuning changes only what is made of their answers."""
        bundle, manifest = setup.bundle, setup.bundle.manifest
        self._setup, self.overlay = setup, setup.overlay
        self.bundle = ModelIdentity(name=manifest.name, version=manifest.version, sha256=bundle.sha256)
        self.emotion = manifest.emotion
        self.seen_with = seen_with(bundle, setup.settings)
        self.pipeline = make_pipeline(bundle, self._models, setup.settings, self._watch)

    def retune(self) -> None:
        """Use the tuning that the state folder holds now. Every face begins anew."""
        beside = self.pipeline.beside
        self._answer_as(self._setup.retuned())
        self.pipeline.beside = beside

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def accelerator(self) -> AcceleratorHealth:
        """What the models run on now."""
        return self._models.health()

    def release(self) -> None:
        """Let go of an accelerator that only one can hold, and go on without it."""
        self._models.release()

    def reclaim(self) -> None:
        """Take that accelerator again."""
        self._models.reclaim()

    def close(self) -> None:
        """Close the models; may be called twice."""
        self._models.close()


def runtime_options(setup: Setup) -> RuntimeOptions:
    """What the settings want the models to run on."""
    runtime = setup.settings.runtime
    return RuntimeOptions(
        library=runtime.library,
        threads=runtime.threads,
        accelerator=runtime.accelerator,
        python=Path(runtime.python) if runtime.python else None,
    )

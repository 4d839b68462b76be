"""Both networks of a bundle, opened and self-tested; on an accelerator where one is wanted and works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from oahega_edge.bundles.load import Bundle, self_test
from oahega_edge.contract.events import Accelerator
from oahega_edge.contract.messages import AcceleratorHealth
from oahega_edge.errors import AcceleratorError
from oahega_edge.manifest import DetectorEntry, EmotionEntry
from oahega_edge.runtimes import open_model
from oahega_edge.runtimes.edgetpu import find_edgetpu
from oahega_edge.runtimes.fallback import Fallback
from oahega_edge.runtimes.isolated import ModelSpec, open_isolated
from oahega_edge.runtimes.port import Model

START_WAIT_S = 20.0
"""A Coral gets its firmware at the first use; the daemon starts on the CPU when it takes longer."""


@dataclass(frozen=True, slots=True)
class RuntimeOptions:
    """What the models run on."""

    library: str = "auto"
    """auto, litert or tflite."""
    threads: int = 1
    accelerator: str = "cpu"
    """cpu, usb, pci, a numbered device like usb:0, or auto for the Edge TPU that is attached."""
    python: Path | None = None
    """Interpreter of the accelerator's process; None: this process's own."""


class Models:
    """The open models. Close them, or use them in a `with` block."""

    def __init__(self, bundle: Bundle, options: RuntimeOptions, wait: float = START_WAIT_S) -> None:
        """BundleError when a file does not fit or fails its self-test. An absent accelerator is not an error:
        after `wait` seconds the CPU begins.
        """
        self._bundle = bundle
        self._options = options
        self._entries: dict[str, DetectorEntry | EmotionEntry] = {
            "detector": bundle.manifest.detector,
            "emotion": bundle.manifest.emotion,
        }
        self._models: Mapping[str, Model] = self._open_on_cpu()
        self._fallback: Fallback | None = None
        self._device = (find_edgetpu() or "cpu") if options.accelerator == "auto" else options.accelerator
        if self._device != "cpu":
            self._fallback = Fallback(self._models, self._open_on_accelerator, self._test)
            self._fallback.start(wait)
            self._models = self._fallback.models

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def detector(self) -> Model:
        """Faces and people."""
        return self._models["detector"]

    @property
    def emotion(self) -> Model:
        """One face."""
        return self._models["emotion"]

    def close(self) -> None:
        """Close both; may be called twice."""
        for model in self._models.values():
            model.close()

    def release(self) -> None:
        """Let go of the accelerator, because another bundle's models need it, and go on without it."""
        if self._fallback is not None:
            self._fallback.release()

    def reclaim(self) -> None:
        """Take the accelerator again."""
        if self._fallback is not None:
            self._fallback.reclaim()

    def health(self) -> AcceleratorHealth:
        """What the models run on now."""
        fallback = self._fallback
        return AcceleratorHealth(
            active=_active(self.detector.accelerator),
            wanted=self._options.accelerator,
            degraded=fallback is not None and fallback.degraded,
            reason=None if fallback is None else fallback.reason,
            restarts=0 if fallback is None else fallback.failures,
        )

    def _open_on_cpu(self) -> dict[str, Model]:
        models: dict[str, Model] = {}
        try:
            for name, entry in self._entries.items():
                models[name] = open_model(
                    self._bundle.file(entry.cpu),
                    entry.outputs,
                    entry.input,
                    content=self._bundle.content(entry.cpu),
                    runtime=self._options.library,
                    threads=self._options.threads,
                )
            self._test(models)
        except BaseException:
            for model in models.values():
                model.close()
            raise
        return models

    def _open_on_accelerator(self) -> Mapping[str, Model]:
        """Both in one child process, which owns the device."""
        specs = {
            name: ModelSpec(
                self._bundle.file(entry.edgetpu),
                entry.outputs,
                entry.input,
                self._bundle.content(entry.edgetpu),
            )
            for name, entry in self._entries.items()
            if entry.edgetpu is not None
        }
        absent = sorted(set(self._entries) - set(specs))
        if absent:
            raise AcceleratorError(
                f"bundle {self._bundle.identity} has no file for the Edge TPU for {' and '.join(absent)}; "
                "use a bundle made with `compile`, or set runtime.accelerator to cpu"
            )
        return open_isolated(
            specs, runtime=self._options.library, device=self._device, python=self._options.python
        )

    def _test(self, models: Mapping[str, Model]) -> None:
        for name, entry in self._entries.items():
            self_test(entry, models[name])


def _active(name: str) -> Accelerator:
    """A runtime's name for itself as the messages know it."""
    match name:
        case "edgetpu-usb":
            return "edgetpu-usb"
        case "edgetpu-pci":
            return "edgetpu-pci"
        case _:
            return "cpu"

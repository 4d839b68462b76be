"""Settings with the bundle that completes them."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from oahega_edge.bundles.load import DEFAULT_BUNDLE, EMBEDDED, Bundle, is_embedded, load_bundle
from oahega_edge.errors import EdgeError
from oahega_edge.service.settings import Layers, Settings
from oahega_edge.tuning.overlay import read_overlay

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Setup:
    """A checked bundle, and the settings that its suggestions complete."""

    bundle: Bundle
    place: Path
    """Where the bundle is looked for; may be a link that moves while the daemon runs."""
    layers: Layers
    settings: Settings
    state: Path | None = None
    """The folder with the device's own tuning of its bundle, if that is to be used."""

    def at(self, path: Path) -> Setup:
        """The same layers of settings with the bundle at `path`."""
        return self if path == self.bundle.path else _complete(self.layers, self.place, path, self.state)


def read_setup(layers: Layers, last_good: Path | None = None, state: Path | None = None) -> Setup:
    """Load the bundle that the layers name, take its suggestions, check everything.

    Where it does not fit and `last_good` does, it is that one's setup: `Engines` tries both again. What
    `oahega-edge tune` left in `state` is used.
    """
    place = _place(layers.bundle_path())
    try:
        return _complete(layers, place, place_of(place), state)
    except EdgeError:
        if last_good is None:
            raise
        with contextlib.suppress(EdgeError):
            return _complete(layers, place, last_good, state)
        raise


def _complete(layers: Layers, place: Path, path: Path, state: Path | None) -> Setup:
    """SettingsError when the layers and the bundle's suggestions do not fit together.

    A packaged bundle needs no signature, because it came with the code.
    """
    bundle = load_bundle(path, () if is_embedded(path) else layers.bundle_keys())
    settings = layers.with_suggestions(bundle.manifest).resolve()
    return Setup(_tuned(bundle, state), place, layers, settings, state)


def _tuned(bundle: Bundle, state: Path | None) -> Bundle:
    if state is None:
        return bundle
    try:
        overlay = read_overlay(state, bundle)
    except EdgeError as error:
        _log.warning("%s; the bundle is used as it is", error)
        return bundle
    return bundle if overlay is None else overlay.tuned(bundle)


def place_of(link: Path) -> Path:
    """Where a link leads; one that leads to itself is itself."""
    try:
        return Path(os.path.realpath(link))
    except ValueError:  # a zero byte in its name
        return link


def _place(named: Path | None) -> Path:
    """Where the bundle lies that the settings name; a bare name may be one inside the package."""
    if named is None:
        return DEFAULT_BUNDLE
    embedded = EMBEDDED / named
    return embedded if named.parent == Path() and os.path.isdir(embedded) else named

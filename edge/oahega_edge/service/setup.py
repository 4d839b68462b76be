"""Settings with the bundle that completes them."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass, replace
from pathlib import Path

from oahega_edge.bundles.load import DEFAULT_BUNDLE, EMBEDDED, Bundle, is_embedded, load_bundle
from oahega_edge.errors import EdgeError
from oahega_edge.service.settings import Layers, Settings
from oahega_edge.tuning.overlay import Overlay, read_overlay

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Setup:
    """A checked bundle, and the settings that its suggestions complete."""

    bundle: Bundle
    """As it is used: with the device's own tuning, if that is to be used."""
    untuned: Bundle
    overlay: Overlay | None
    """The tuning; None where there is none."""
    place: Path
    """Where the bundle is looked for; may be a link that moves while the daemon runs."""
    layers: Layers
    settings: Settings
    state: Path | None = None
    """The folder with the device's tuning; None: the bundle is used as it is."""

    def at(self, path: Path) -> Setup:
        """The same layers of settings with the bundle at `path`."""
        if path == self.bundle.path:
            return self.retuned()
        return _complete(self.layers, self.place, path, self.state)

    def retuned(self) -> Setup:
        """The same with the tuning that the state folder holds now."""
        overlay = _overlay(self.untuned, self.state)
        return replace(self, bundle=_tuned(self.untuned, overlay), overlay=overlay)


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


def settings_without_bundle(layers: Layers) -> Settings:
    """For the page, whose user cannot look into the daemon's state folder, where `bundle.path` may lead.

    It needs nothing that a bundle suggests; the embedded one stands in, so that all settings are complete.
    """
    return layers.with_suggestions(load_bundle(DEFAULT_BUNDLE).manifest).resolve()


def _complete(layers: Layers, place: Path, path: Path, state: Path | None) -> Setup:
    """SettingsError when the layers and the bundle's suggestions do not fit together.

    A packaged bundle needs no signature, because it came with the code.
    """
    bundle = load_bundle(path, () if is_embedded(path) else layers.bundle_keys())
    settings = layers.with_suggestions(bundle.manifest).resolve()
    overlay = _overlay(bundle, state)
    return Setup(_tuned(bundle, overlay), bundle, overlay, place, layers, settings, state)


def _overlay(bundle: Bundle, state: Path | None) -> Overlay | None:
    if state is None:
        return None
    try:
        return read_overlay(state, bundle)
    except EdgeError as error:
        _log.warning("%s; the bundle is used as it is", error)
        return None


def _tuned(bundle: Bundle, overlay: Overlay | None) -> Bundle:
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

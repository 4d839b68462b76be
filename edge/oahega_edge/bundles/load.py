"""A bundle on disk: a folder that is loaded whole or not at all.

manifest.json        what the models are (manifest.py)
SHA256SUMS           digests of every other file, in the format of `sha256sum --check`
detector.tflite, emotion.tflite, optionally *_edgetpu.tflite, MODEL_CARD.md
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from oahega_edge.chain.preprocess import Quantizer, golden_pixels
from oahega_edge.errors import BundleError, SettingsError, plain
from oahega_edge.files import read_file
from oahega_edge.manifest import FORMAT_VERSIONS, DetectorEntry, EmotionEntry, Manifest, ModelFile
from oahega_edge.runtimes.port import Model

EMBEDDED = Path(__file__).parent
"""Bundles that come with the package, by the names of their folders."""
DEFAULT_BUNDLE = EMBEDDED / "default"
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
SIGNATURE = f"{SUMS}.sig"
"""64 bytes in base64, one line."""
LARGEST_SUMS = 64 << 10
LARGEST_SIGNATURE = 1024
LARGEST_MANIFEST = 1 << 20
"""Bytes; the embedded bundles' has 162 kB, most of it the golden answer."""
LARGEST_MODEL = 64 << 20
"""Bytes; the embedded bundles' largest has 2 MB."""
NAMED_ERRORS = 3
"""Number of wrong keys that one error names; the JSON Schema finds the others."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A folder whose manifest, file digests and shapes have been checked."""

    path: Path
    manifest: Manifest
    sha256: str
    """Of manifest.json, which in turn holds the digest of each model: it names the whole bundle."""

    @property
    def identity(self) -> str:
        """`name-version`, for people."""
        return f"{self.manifest.name}-{self.manifest.version}"

    def file(self, entry: ModelFile) -> Path:
        """Where a model lies."""
        return self.path / entry.file

    def content(self, entry: ModelFile) -> bytes:
        """A model, read and verified now: what is used is what the digest was taken of."""
        file = self.file(entry)
        content = _read(file, LARGEST_MODEL)
        if not content:
            raise BundleError(f"bundle file {file} is empty; copy the bundle again")
        digest = hashlib.sha256(content).hexdigest()
        if digest != entry.sha256:
            raise BundleError(
                f"bundle file {file} is not the one the manifest names (sha256 {digest[:12]}..., expected "
                f"{entry.sha256[:12]}..., {len(content)} bytes); copy the bundle again"
            )
        return content


def is_embedded(path: Path) -> bool:
    """Whether a resolved path is one of the package's own bundles, which need no signature."""
    return path.parent == EMBEDDED.resolve()


def load_bundle(path: Path, public_keys: Sequence[str] = ()) -> Bundle:
    """Read and check a bundle; BundleError names the first thing that does not fit.

    With `public_keys` (base64) it must be signed by one of them, and SettingsError says if that cannot be
    checked. Nothing is parsed before the signature and the digest of what is parsed are known to be right.
    """
    if not os.path.isdir(path):  # False, too, where nobody may look
        raise BundleError(f"bundle {plain(path)} is not a folder; set bundle.path to one that `bundle` made")
    sums = _read(path / SUMS, LARGEST_SUMS)
    if public_keys:
        _check_signature(path, sums, public_keys)
    text = _read(path / MANIFEST, LARGEST_MANIFEST)
    digest = hashlib.sha256(text).hexdigest()
    _check_sums(path, sums, digest)
    bundle = Bundle(path, parse_manifest(text, str(path / MANIFEST)), digest)
    for model in bundle.manifest.files:
        bundle.content(model)
    return bundle


def digest_of(path: Path) -> str | None:
    """What `Bundle.sha256` of this folder would be; None where its manifest cannot be read."""
    try:
        return hashlib.sha256(read_file(path / MANIFEST, LARGEST_MANIFEST, path)).hexdigest()
    except OSError:
        return None


def parse_manifest(text: bytes, where: str) -> Manifest:
    """A manifest from its JSON; BundleError with the first wrong keys."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where} is not JSON ({plain(error)}); copy the bundle again") from error
    version = data.get("format_version") if isinstance(data, dict) else None
    if version not in FORMAT_VERSIONS:
        raise BundleError(
            f"{where} has format version {plain(repr(version))}, this release reads "
            f"{' and '.join(map(str, FORMAT_VERSIONS))}; install a release and a bundle that belong together"
        )
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise BundleError(f"{where} does not fit: {_all_errors(error)}; make the bundle again") from error


def seal(path: Path) -> None:
    """Write SHA256SUMS over all other files of the folder, as its last step but signing."""
    for stale in path.glob(f"{SUMS}.*"):
        stale.unlink()
    names = sorted(p.name for p in path.iterdir() if p.is_file() and not p.name.startswith(SUMS))
    lines = [
        f"{hashlib.sha256(read_file(path / name, LARGEST_MODEL)).hexdigest()}  {name}\n" for name in names
    ]
    (path / SUMS).write_text("".join(lines))


def golden_answer(entry: DetectorEntry | EmotionEntry, model: Model, seed: int) -> Mapping[str, NDArray[Any]]:
    """What the model makes of the golden picture, by role."""
    return model.run(Quantizer(entry.input)(golden_pixels(entry.input, seed)))


def self_test(entry: DetectorEntry | EmotionEntry, model: Model) -> float:
    """Largest difference to the golden answer, in units of its tolerance; BundleError when over 1."""
    answer = golden_answer(entry, model, entry.golden.seed)
    worst = 0.0
    for sample in entry.golden.samples:
        values = answer[sample.role].reshape(-1)
        got = values[list(sample.index)].astype(np.float64)
        difference = float(np.abs(got - np.array(sample.value)).max())
        if not difference <= entry.golden.tolerance:  # NaN must fail as well
            raise BundleError(
                f"{entry.cpu.file} fails its self-test on {model.accelerator}: output {sample.role} "
                f"is off by {difference:g} steps, {entry.golden.tolerance:g} are allowed; "
                "copy the bundle again"
            )
        worst = max(worst, difference / entry.golden.tolerance)
    return worst


def _read(file: Path, most: int) -> bytes:
    try:
        return read_file(file, most, file.parent)
    except OSError as error:
        raise BundleError(
            f"bundle {file.parent} has no readable {file.name} ({error.strerror}); copy the bundle again"
        ) from error


def _check_signature(path: Path, sums: bytes, public_keys: Sequence[str]) -> None:
    try:
        from oahega_edge.bundles.signature import parse_public_key, verify
    except ImportError as error:
        raise SettingsError(
            f"bundle.public_keys asks for signed bundles, and cryptography cannot be imported ({error}); "
            "pip install 'oahega-edge[signed]'"
        ) from error
    keys = [parse_public_key(text) for text in public_keys]
    try:
        signature = read_file(path / SIGNATURE, LARGEST_SIGNATURE, path)
    except OSError as error:
        raise BundleError(
            f"bundle {path} is not signed ({SIGNATURE}: {error.strerror}) and bundle.public_keys asks "
            "for it; sign it with `python -m oahega_build sign`"
        ) from error
    verify(path, sums, signature, keys)


def _check_sums(path: Path, text: bytes, manifest_digest: str) -> None:
    lines = text.decode("ascii", "replace").splitlines()
    sums = {name.strip(): digest for digest, _, name in (line.partition("  ") for line in lines)}
    if sums.get(MANIFEST) != manifest_digest:
        raise BundleError(
            f"{path / MANIFEST} was changed after the bundle was made (sha256 {manifest_digest[:12]}..., "
            f"{SUMS} says {str(sums.get(MANIFEST))[:12]}...); change settings in edge.toml, "
            "or make the bundle again"
        )


def _all_errors(error: ValidationError) -> str:
    items = error.errors(include_url=False)
    named = [
        f"{plain('.'.join(str(part) for part in item['loc'])) or 'manifest'}: {plain(item['msg'])}"
        for item in items[:NAMED_ERRORS]
    ]
    more = len(items) - len(named)
    return "; ".join([*named, f"and {more} more"] if more else named)

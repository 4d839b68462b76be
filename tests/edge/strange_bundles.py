"""Bundles as they never should be: any mixture of kinds of files, sizes, links and contents."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import os
import random
import shutil
import socket
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import strategies as st

from checking import Checked, Checker
from mini_bundle import make_bundle
from oahega_edge.bundles.load import MANIFEST, SIGNATURE, SUMS, seal

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC_KEY = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
MOST_CPU_S = 5.0
MOST_MB = 200.0
MODELS = ("detector.tflite", "emotion.tflite")
NAMES = (SUMS, SIGNATURE, MANIFEST, *MODELS, "MODEL_CARD.md", "more")

VALUES: tuple[Any, ...] = (
    5e-324, 1e308, -1e308, float("nan"), float("inf"), 0, -1, 1, 0.05, 20, 20.1, 1 << 63, -(1 << 70),
    10**4000, True, None, "", "x", "a/b", "happy\nsad", "x" * 65, "ä" * 3_000_000, [], [None],
    [0] * 200_000, {},
    {"a": {}},
)  # fmt: skip
"""Put in the place of anything in the manifest."""


def missing(path: Path, rng: random.Random) -> None:
    pass


def empty(path: Path, rng: random.Random) -> None:
    path.touch()


def pipe(path: Path, rng: random.Random) -> None:
    os.mkfifo(path)


def bound_socket(path: Path, rng: random.Random) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        folder = os.open(path.parent, os.O_PATH)
        try:
            one.bind(f"/proc/self/fd/{folder}/{path.name}")
        finally:
            os.close(folder)


def folder(path: Path, rng: random.Random) -> None:
    path.mkdir()


def device(path: Path, rng: random.Random) -> None:
    path.symlink_to(rng.choice(["/dev/zero", "/dev/full", "/dev/random", "/dev/ptmx", "/dev/null"]))


def circle(path: Path, rng: random.Random) -> None:
    path.symlink_to(path.name)


def outside(path: Path, rng: random.Random) -> None:
    path.symlink_to(rng.choice(["/etc/passwd", "/proc/self/environ", "/proc/kmsg", "../..", "/nowhere"]))


def inside(path: Path, rng: random.Random) -> None:
    path.symlink_to(rng.choice(NAMES))


def huge(path: Path, rng: random.Random) -> None:
    with path.open("wb") as file:
        file.truncate(
            rng.choice([1 << 16, (1 << 16) + 1, 1 << 20, (1 << 20) + 1, 64 << 20, (64 << 20) + 1, 8 << 30])
        )


def random_bytes(path: Path, rng: random.Random) -> None:
    path.write_bytes(rng.randbytes(rng.choice([1, 7, 100, 5000, 200_000])))


def text(path: Path, rng: random.Random) -> None:
    path.write_text(
        rng.choice(["[" * 500_000, '{"a":' * 150_000, "{}", "null", "é" * 1000, "a  b\n" * 10_000])
    )


KINDS: tuple[Callable[[Path, random.Random], None], ...] = (
    missing, empty, pipe, bound_socket, folder, device, circle, outside, inside, huge, random_bytes, text,
)  # fmt: skip


@dataclass(frozen=True)
class Strange:
    """What is done to a sound bundle, in this order."""

    values: tuple[tuple[int, Any], ...]
    """A place in the manifest, counted over all of them, and what is put there."""
    flipped: int
    """Bytes of a model that are changed, its digest being changed with them."""
    sealed: bool
    """Whether the digests are those of the changed manifest."""
    signed: bool
    with_key: bool
    """Whether the settings ask for a signature."""
    damages: tuple[tuple[str, str], ...]
    """A file's name and what becomes of it: a name of KINDS, `cut` or `turned`."""
    seed: int


damages = st.tuples(
    st.sampled_from(NAMES), st.sampled_from([*(kind.__name__ for kind in KINDS), "cut", "turned"])
)
strange_bundles = st.builds(
    Strange,
    values=st.lists(st.tuples(st.integers(0, 400), st.sampled_from(VALUES)), max_size=2).map(tuple),
    flipped=st.sampled_from([0, 0, 1, 30]),
    sealed=st.booleans(),
    signed=st.booleans(),
    with_key=st.booleans(),
    damages=st.lists(damages, max_size=3).map(tuple),
    seed=st.integers(0, 1 << 32),
)


def made(strange: Strange, sound: Path, target: Path) -> Path:
    """The folder; `sound` is copied and stays as it is."""
    rng = random.Random(strange.seed)
    shutil.copytree(sound, target)
    manifest = json.loads((target / MANIFEST).read_text())
    if strange.flipped:
        _flip(target, manifest, strange.flipped, rng)
    for place, value in strange.values:
        _put(manifest, place, value)
    if strange.values or strange.flipped:
        (target / MANIFEST).write_text(json.dumps(manifest))
    if strange.sealed:
        seal(target)
    if strange.signed:
        (target / SIGNATURE).write_bytes(base64.b64encode(KEY.sign((target / SUMS).read_bytes())))
    for name, kind in strange.damages:
        _damage(target / name, kind, rng)
    return target


def _flip(target: Path, manifest: dict[str, Any], number: int, rng: random.Random) -> None:
    name = rng.choice(MODELS)
    content = bytearray((target / name).read_bytes())
    for _ in range(number):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    (target / name).write_bytes(content)
    manifest[name.removesuffix(".tflite")]["cpu"]["sha256"] = hashlib.sha256(content).hexdigest()


def _put(manifest: Any, place: int, value: Any) -> None:
    """At the n-th of all places of the tree, from the beginning again after the last one."""
    places: list[tuple[Any, Any]] = []
    nodes = [manifest]
    while nodes:
        node = nodes.pop()
        for key in node if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                nodes.append(node[key])
    node, key = places[place % len(places)]
    node[key] = copy.deepcopy(value)  # else a list could be put into itself


def _damage(path: Path, kind: str, rng: random.Random) -> None:
    if kind in ("cut", "turned"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 20:
            content = bytearray(path.read_bytes())
            if kind == "cut":
                content = content[: rng.randrange(len(content) + 1)]
            elif content:
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            path.write_bytes(content)
        return
    if path.is_symlink() or path.exists():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    next(each for each in KINDS if each.__name__ == kind)(path, rng)


def signed_bundle(target: Path) -> Path:
    """A sound one of the few-kB test models."""
    make_bundle(target)
    (target / SIGNATURE).write_bytes(base64.b64encode(KEY.sign((target / SUMS).read_bytes())))
    return target


def check(checker: Checker, bundle: Path, with_key: bool) -> Checked:
    keys = [f'bundle.public_keys=["{PUBLIC_KEY}"]'] if with_key else []
    return checker.check(f"bundle.path={bundle}", "deployment.context=development", *keys)


def assert_bounded(checked: Checked) -> None:
    assert checked.code in (0, 78), checked
    *before, last = checked.said.splitlines()  # what fits comes first, and words of the native runtime
    assert not any(line.startswith(("oahega-edge: ", "Traceback")) for line in before), checked
    assert last.startswith("oahega-edge: " if checked.code == 78 else "all is well"), checked
    assert len(checked.said) < 4000, checked
    assert checked.cpu_s < MOST_CPU_S, checked
    assert checked.peak_mb < MOST_MB, checked


def any_strange_bundle(checker: Checker, sound: Path, strange: Strange) -> Checked:
    with tempfile.TemporaryDirectory() as folder:
        bundle = made(strange, sound, Path(folder) / "bundle")
        checked = check(checker, bundle, strange.with_key)
        shutil.rmtree(bundle)
    assert_bounded(checked)
    return checked

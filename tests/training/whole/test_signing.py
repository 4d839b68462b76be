import os
from pathlib import Path

import pytest

from mini_bundle import change, make_bundle
from oahega_build.errors import BuildError
from oahega_build.whole.signing import make_key, sign_bundle
from oahega_edge.bundles.load import load_bundle
from oahega_edge.errors import BundleError, SettingsError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


def test_a_signed_bundle_loads_with_its_key_and_only_with_it(folder: Path, tmp_path: Path) -> None:
    ours = make_key(tmp_path / "ours.key")
    theirs = make_key(tmp_path / "theirs.key")

    assert sign_bundle(folder, tmp_path / "ours.key") == ours

    assert load_bundle(folder, [ours]).manifest.name == "tiny"
    with pytest.raises(BundleError, match="fits none of the 1 keys"):
        load_bundle(folder, [theirs])


def test_two_keys_are_valid_while_one_replaces_the_other(folder: Path, tmp_path: Path) -> None:
    old, new = make_key(tmp_path / "old.key"), make_key(tmp_path / "new.key")

    sign_bundle(folder, tmp_path / "old.key")
    assert load_bundle(folder, [old, new])
    sign_bundle(folder, tmp_path / "new.key")
    assert load_bundle(folder, [old, new])


def test_an_unsigned_bundle_is_refused_where_a_key_is_set(folder: Path, tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")

    with pytest.raises(BundleError, match="is not signed"):
        load_bundle(folder, [key])


def test_a_bundle_changed_after_signing_is_refused_even_when_sealed_again(
    folder: Path, tmp_path: Path
) -> None:
    key = make_key(tmp_path / "key")
    sign_bundle(folder, tmp_path / "key")
    signature = (folder / "SHA256SUMS.sig").read_bytes()

    change(folder, "emotion.temperature", 0.5)
    (folder / "SHA256SUMS.sig").write_bytes(signature)

    with pytest.raises(BundleError, match="fits none"):
        load_bundle(folder, [key])


@pytest.mark.parametrize("content", [b"", b"AAAA", b"\xff" * 64, b"not base64 at all!"])
def test_a_signature_that_is_none_is_refused(folder: Path, tmp_path: Path, content: bytes) -> None:
    key = make_key(tmp_path / "key")
    (folder / "SHA256SUMS.sig").write_bytes(content)

    with pytest.raises(BundleError, match="fits none"):
        load_bundle(folder, [key])


@pytest.mark.parametrize("key", ["", "AAAA", "no key"])
def test_a_key_that_is_none_is_named(folder: Path, key: str) -> None:
    with pytest.raises(SettingsError, match=r"bundle\.public_keys"):
        load_bundle(folder, [key])


def test_a_private_key_is_its_owners_alone_and_never_overwritten(tmp_path: Path) -> None:
    file = tmp_path / "key"

    make_key(file)

    assert os.stat(file).st_mode & 0o777 == 0o600
    with pytest.raises(BuildError, match="cannot be written"):
        make_key(file)


def test_a_broken_bundle_is_not_signed(folder: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    (folder / "emotion.tflite").write_bytes(b"")

    with pytest.raises(BundleError):
        sign_bundle(folder, tmp_path / "key")
    assert not (folder / "SHA256SUMS.sig").exists()

"""The copy of the last bundle that worked."""

import shutil
from pathlib import Path

import pytest

from mini_bundle import change, make_bundle
from oahega_edge.bundles.kept import KeptBundle
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "bundle")


def test_nothing_is_kept_at_first_or_without_a_folder(tmp_path: Path, bundle: Path) -> None:
    nowhere = KeptBundle(None)
    nowhere.keep(bundle, load_bundle(bundle).sha256)

    assert nowhere.path is None
    assert KeptBundle(tmp_path).path is None


def test_the_copy_outlives_the_bundle(tmp_path: Path, bundle: Path) -> None:
    sha256 = load_bundle(bundle).sha256
    KeptBundle(tmp_path / "state").keep(bundle, sha256)
    shutil.rmtree(bundle)

    kept = KeptBundle(tmp_path / "state")

    assert kept.sha256 == sha256
    assert kept.path is not None
    assert load_bundle(kept.path).sha256 == sha256


def test_another_bundle_takes_its_place(tmp_path: Path, bundle: Path) -> None:
    kept = KeptBundle(tmp_path)
    kept.keep(bundle, load_bundle(bundle).sha256)
    change(bundle, "version", "2.0")

    kept.keep(bundle, load_bundle(bundle).sha256)

    assert kept.path is not None
    assert load_bundle(kept.path).manifest.version == "2.0"
    assert len(list((tmp_path / "last-good").glob("*/manifest.json"))) == 1


def test_a_bundle_that_changed_meanwhile_is_not_kept(tmp_path: Path, bundle: Path) -> None:
    kept = KeptBundle(tmp_path)
    sha256 = load_bundle(bundle).sha256
    kept.keep(bundle, sha256)

    kept.keep(bundle, "0" * 64)

    assert kept.sha256 == sha256


def test_a_copy_that_was_cut_off_is_no_copy(tmp_path: Path, bundle: Path) -> None:
    kept = KeptBundle(tmp_path)
    shutil.copytree(bundle, tmp_path / "last-good" / "new")
    (tmp_path / "last-good" / "new" / "manifest.json").unlink()

    assert kept.path is None
    kept.keep(bundle, load_bundle(bundle).sha256)
    assert kept.path is not None


def test_a_packaged_bundle_is_remembered_by_its_place(tmp_path: Path) -> None:
    kept = KeptBundle(tmp_path)

    kept.keep(DEFAULT_BUNDLE, load_bundle(DEFAULT_BUNDLE).sha256)

    assert kept.path == DEFAULT_BUNDLE.resolve()


def test_a_folder_that_cannot_be_written_ends_nothing(tmp_path: Path, bundle: Path) -> None:
    (tmp_path / "state").write_text("a file in its place")

    KeptBundle(tmp_path / "state").keep(bundle, load_bundle(bundle).sha256)

    assert KeptBundle(tmp_path / "state").path is None

"""One fleet for all tests on booted hosts, of the size that the form needs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet import Fleet, ansible_folder, booted_fleet
from fleet_bundles import make_bundles
from fleet_releases import OLD, Releases
from fleet_tree import ARCHIVE_SUITE, CACHE, ensure_archive_tree, missing
from service_host import make_package


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Debian package for this machine."""
    return make_package(tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="session")
def bundles() -> Path:
    """A folder with a bundle of each kind of fleet_bundles.py."""
    return make_bundles(CACHE / "fleet-bundles")


@pytest.fixture(scope="session")
def releases() -> Releases:
    """Wheelhouses, with that of OLD."""
    folder = CACHE / "fleet-releases"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = Releases(folder)
    made.build(OLD)
    return made


@pytest.fixture(scope="session")
def fresh_fleet(request: pytest.FixtureRequest, releases: Releases) -> Iterator[Fleet]:
    """A fleet with nothing installed at first."""
    if reason := missing():
        _absent(reason)
    if ansible_folder() is None:
        _absent("no ansible-playbook; ansible/fleet-test.sh makes .venv-ansible")
    count = int(os.environ.get("OAHEGA_FLEET_HOSTS", 4 if _long_form(request) else 2))
    modules = {item.path.name for item in request.session.items}
    broker_tree = ensure_archive_tree(ARCHIVE_SUITE) if "test_archive_host.py" in modules else None
    with booted_fleet(count, releases, OLD, broker_tree) as fleet:
        yield fleet
        print("\n" + "\n".join(fleet.timings))


@pytest.fixture
def fleet(fresh_fleet: Fleet) -> Fleet:
    """The fleet with an installation, for which only the first test has to wait."""
    fresh_fleet.install_where_absent()
    return fresh_fleet


def _absent(reason: str) -> None:
    if os.environ.get("OAHEGA_REQUIRE_FLEET"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _long_form(request: pytest.FixtureRequest) -> bool:
    return any(item.get_closest_marker("long") for item in request.session.items)

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from oahega_edge.engines import TRIAL_S, Engine, Engines, TrialRecord
from oahega_edge.errors import BundleError
from test_daemon import engine


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class House:
    """A folder of bundles with a link, and what was opened and closed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.link = folder / "current"
        self.clock = Clock()
        self.closed: list[str] = []
        for name in ("one", "two", "bad"):
            (folder / name).mkdir()
        self.point("one")

    def point(self, name: str) -> None:
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(self.folder / name)

    def open(self, path: Path) -> Engine:
        if path.name == "bad":
            raise BundleError("bad fails its self-test; copy it again")
        opened = engine()
        close: Callable[[], None] = lambda: self.closed.append(path.name)  # noqa: E731
        return replace(opened, bundle=opened.bundle.model_copy(update={"name": path.name}), close=close)

    def start(self) -> Engines:
        return Engines(self.open, self.link, TrialRecord(self.folder), self.clock)

    def look(self, engines: Engines, after: float = 3.0) -> bool:
        self.clock.now += after
        return engines.look()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def name(engines: Engines) -> str:
    return engines.current.bundle.name


def test_nothing_changes_while_the_link_does_not(house: House) -> None:
    engines = house.start()

    assert not house.look(engines)
    assert name(engines) == "one"


def test_a_new_bundle_is_taken_and_the_old_one_closed_after_its_trial(house: House) -> None:
    engines = house.start()
    house.point("two")

    assert house.look(engines)
    assert (name(engines), house.closed) == ("two", [])
    assert not house.look(engines, TRIAL_S)

    assert house.closed == ["one"]
    assert TrialRecord(house.folder).read() is None


def test_a_bundle_that_fails_its_self_test_is_refused_once(house: House) -> None:
    engines = house.start()
    house.point("bad")

    assert not house.look(engines)

    assert name(engines) == "one"
    assert engines.problem is not None
    assert "fails its self-test" in engines.problem
    assert not house.look(engines)
    house.point("two")
    assert house.look(engines)
    assert engines.problem is None


def test_a_bundle_that_fails_on_trial_gives_way_to_the_one_before(house: House) -> None:
    engines = house.start()
    house.point("two")
    house.look(engines)

    assert engines.failed(ValueError("no number"))

    assert (name(engines), house.closed) == ("one", ["two"])
    assert not house.look(engines)
    assert TrialRecord(house.folder).read() is None


def test_after_its_first_minute_a_failure_is_the_daemons(house: House) -> None:
    engines = house.start()
    house.point("two")
    house.look(engines)
    house.look(engines, TRIAL_S)

    assert not engines.failed(ValueError("no number"))


def test_a_bundle_that_took_the_process_with_it_is_not_started_again(house: House) -> None:
    crashed = house.start()
    house.point("two")
    house.look(crashed)
    del crashed  # the process is gone without a word

    engines = house.start()

    assert name(engines) == "one"
    assert engines.problem is not None
    assert not house.look(engines)


def test_an_orderly_end_during_a_trial_is_no_failure(house: House) -> None:
    stopped = house.start()
    house.point("two")
    house.look(stopped)
    stopped.close()

    engines = house.start()

    assert name(engines) == "two"
    assert house.closed == ["one", "two"]


def test_a_half_written_record_is_ignored(house: House) -> None:
    (house.folder / "bundle-on-trial.json").write_text('{"on_tr')

    assert name(house.start()) == "one"

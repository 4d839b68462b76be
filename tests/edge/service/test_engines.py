import threading
from pathlib import Path

import numpy as np
import pytest

from oahega_edge.errors import AcceleratorError, BundleError
from oahega_edge.runtimes.fake import FakeModel
from oahega_edge.runtimes.fallback import Fallback
from oahega_edge.runtimes.port import Model
from oahega_edge.service.engines import TRIAL_S, Engines, TrialRecord
from small_engine import Clock, FakeEngine, Kept
from waiting import await_end


class House:
    """A folder of bundles with a link, and what was opened and closed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.link = folder / "current"
        self.clock = Clock()
        self.kept = Kept()
        self.broken = {"bad"}
        self.unforeseen = False
        self.opened: list[FakeEngine] = []
        for name in ("one", "two", "bad"):
            (folder / name).mkdir()
        self.point("one")

    def point(self, name: str) -> None:
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(self.folder / name)

    def open(self, path: Path) -> FakeEngine:
        if self.unforeseen:
            raise IndexError
        if not path.is_dir() or path.name in self.broken:
            raise BundleError(f"{path.name} fails its self-test; copy it again")
        self.opened.append(self.engine(path.name))
        return self.opened[-1]

    def engine(self, name: str) -> FakeEngine:
        return FakeEngine(name)

    @property
    def closed(self) -> list[str]:
        """Names of the bundles whose engines were closed."""
        return [engine.bundle.name for engine in self.opened if engine.closed]

    def start(self) -> Engines:
        return Engines(self.open, self.link, TrialRecord(self.folder), self.kept, self.clock)  # type: ignore[arg-type]

    def look(self, engines: Engines, after: float = 3.0) -> bool:
        self.clock.now += after
        return engines.look()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


class OneDevice:
    """An accelerator that only one can hold."""

    def __init__(self) -> None:
        self.holder: FakeModel | None = None

    def open(self) -> dict[str, Model]:
        if self.holder is not None:
            raise AcceleratorError("no Edge TPU answers as usb")
        self.holder = HoldingModel(self)
        return {"detector": self.holder}


class HoldingModel(FakeModel):
    def __init__(self, device: OneDevice) -> None:
        super().__init__({"out": np.array([2])}, accelerator="edgetpu-usb")
        self._device = device

    def close(self) -> None:
        super().close()
        if self._device.holder is self:
            self._device.holder = None


class EngineWithDevice(FakeEngine):
    """Wants the one accelerator."""

    def __init__(self, name: str, device: OneDevice) -> None:
        super().__init__(name)
        self.fallback = Fallback(
            {"detector": FakeModel({"out": np.array([1])})}, device.open, lambda models: None
        )
        self.fallback.start(10)

    def release(self) -> None:
        self.fallback.release()

    def reclaim(self) -> None:
        self.fallback.reclaim()

    def close(self) -> None:
        self.fallback.models["detector"].close()


class HouseWithDevice(House):
    """Each engine wants the one accelerator; `fallbacks` by the bundle's name."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.device = OneDevice()
        self.fallbacks: dict[str, Fallback] = {}

    def engine(self, name: str) -> FakeEngine:
        opened = EngineWithDevice(name, self.device)
        self.fallbacks[name] = opened.fallback
        return opened

    def runs_on(self, bundle: str) -> str:
        """Called twice: the first call may begin an attempt, whose result the second takes."""
        for _ in range(2):
            self.fallbacks[bundle].models["detector"].run(np.zeros(1, np.int8))
            await_end(*[thread for thread in threading.enumerate() if thread.name == "accelerator"])
        return self.fallbacks[bundle].accelerator


@pytest.fixture
def with_device(tmp_path: Path) -> HouseWithDevice:
    return HouseWithDevice(tmp_path)


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


@pytest.mark.parametrize("refused", ["two", "bad"])
def test_a_bundle_that_was_refused_is_not_started_with_later_either(house: House, refused: str) -> None:
    engines = house.start()
    house.point(refused)
    if house.look(engines):
        engines.failed(ValueError("no number"))
    engines.close()

    for _ in range(2):
        engines = house.start()

        assert name(engines) == "one"
        assert engines.problem is not None
        engines.close()


def test_a_bundle_may_be_tried_again_once_the_link_was_elsewhere(house: House) -> None:
    engines = house.start()
    house.point("two")
    house.look(engines)
    engines.failed(ValueError("no number"))
    house.point("one")

    house.look(engines)

    assert engines.problem is None
    assert TrialRecord(house.folder).read() is None
    house.point("two")
    assert house.look(engines)


def test_a_bad_bundle_does_not_end_the_trial_of_the_one_in_use(house: House) -> None:
    engines = house.start()
    house.point("two")
    house.look(engines)
    house.point("bad")

    assert not house.look(engines)

    assert TrialRecord(house.folder).read() == (house.folder / "two", house.folder / "one")
    assert engines.failed(ValueError("no number"))
    assert name(engines) == "one"


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


def test_the_new_bundle_gets_the_accelerator_at_once(with_device: HouseWithDevice) -> None:
    engines = with_device.start()
    assert with_device.runs_on("one") == "edgetpu-usb"
    with_device.point("two")

    with_device.look(engines)

    assert with_device.runs_on("two") == "edgetpu-usb"
    assert with_device.runs_on("one") == "cpu"


def test_the_accelerator_comes_back_from_a_bundle_that_fails_on_trial(with_device: HouseWithDevice) -> None:
    engines = with_device.start()
    with_device.point("two")
    with_device.look(engines)

    engines.failed(ValueError("no number"))

    assert with_device.runs_on("one") == "edgetpu-usb"


def test_the_accelerator_comes_back_from_a_bundle_that_cannot_be_opened(with_device: HouseWithDevice) -> None:
    engines = with_device.start()
    with_device.point("bad")

    assert not with_device.look(engines)

    assert with_device.runs_on("one") == "edgetpu-usb"


def test_a_bundle_that_does_not_fit_at_the_start_gives_way_to_the_last_good_one(house: House) -> None:
    house.start().close()
    house.point("bad")

    engines = house.start()

    assert name(engines) == "one"
    assert "bad is not used: bad fails its self-test" in str(engines.problem)
    assert not house.look(engines)
    house.point("two")
    assert house.look(engines)


def test_without_a_good_one_a_bundle_that_does_not_fit_ends_the_start(house: House) -> None:
    house.point("bad")

    with pytest.raises(BundleError, match="fails its self-test"):
        house.start()


@pytest.mark.parametrize("how", ["itself", "a circle", "nowhere", "a file"])
def test_a_link_that_leads_to_no_bundle_changes_nothing(house: House, how: str) -> None:
    house.start().close()
    engines = house.start()
    house.link.unlink()
    (house.folder / "file").write_text("")
    (house.folder / "other").symlink_to(house.link)
    leads_to = {"itself": house.link, "a circle": house.folder / "other", "a file": house.folder / "file"}
    house.link.symlink_to(leads_to.get(how, house.folder / "nowhere"))

    assert not house.look(engines)

    assert name(engines) == "one"
    assert engines.problem is not None
    engines.close()
    assert name(house.start()) == "one"


def test_a_bundle_that_arrives_late_is_tried_again(house: House) -> None:
    """The link was moved before the copy had ended."""
    house.start().close()
    house.point("bad")
    engines = house.start()
    house.broken.clear()
    (house.folder / "bad" / "emotion.tflite").write_text("the last file")

    assert house.look(engines)

    assert (name(engines), engines.problem) == ("bad", None)


def test_a_new_bundle_that_ends_the_process_after_the_start_gives_way_at_the_next(house: House) -> None:
    """The link was moved while the device was off."""
    house.start().close()
    house.point("two")
    crashed = house.start()
    assert name(crashed) == "two"
    del crashed  # within its first minute

    engines = house.start()

    assert name(engines) == "one"


def test_a_new_bundle_is_the_last_good_one_after_its_first_minute(house: House) -> None:
    engines = house.start()
    house.point("two")
    house.look(engines)
    assert house.kept.path == house.folder / "one"

    house.look(engines, TRIAL_S)

    assert house.kept.path == house.folder / "two"


def test_a_bundle_that_fails_in_an_unforeseen_way_does_not_end_the_one_in_use(house: House) -> None:
    engines = house.start()
    house.unforeseen = True
    house.point("two")

    assert not house.look(engines)

    assert name(engines) == "one"
    assert "IndexError" in str(engines.problem)

"""Each fault of a device with its figures: `pytest -s tests/edge/long_device_faults.py` prints a table.

"noticed" runs from the fault to the first word of it in the log; "goes on" from the end of the fault, or of a
fault that the CPU answers from its beginning, to the next event. Times include the machine's own load.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509

from accelerated_daemon import Run, last
from brokers import HOST, Ear, Gate, Mosquitto, free_port
from certificates import Authority, secured
from faulty_day import DEVICE, PATIENCE_S, Row, Table, watching_camera
from mini_bundle import make_bundle
from oahega_edge.runtimes import open_model
from oahega_edge.runtimes.fallback import Fallback
from oahega_edge.runtimes.isolated import ModelSpec, open_isolated
from tiny import tiny
from waiting import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.long]

FAULTY = f"file:{Path(__file__).with_name('faulty_runtime.py')}"
AWAY_S = 4.0
"""How long a fault lasts that ends by itself."""


@pytest.fixture(scope="module")
def table() -> Iterator[Table]:
    made = Table()
    yield made
    print(f"\n{made}")


@pytest.fixture
def ear(mosquitto: Mosquitto) -> Iterator[Ear]:
    with Ear(mosquitto.port, (f"oahega/v1/{DEVICE}/#",)) as made:
        yield made


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_bundle(tmp_path / "tiny")


@pytest.mark.parametrize(
    ("looks", "said"),
    [
        ("black", "the picture is black"),
        ("frozen", "the picture is frozen"),
        ("torn", "the picture is torn"),
    ],
)
def test_a_picture_that_is_none(
    tmp_path: Path, bundle: Path, mosquitto: Mosquitto, ear: Ear, table: Table, looks: str, said: str
) -> None:
    with watching_camera(tmp_path, ear, bundle, mosquitto.port) as (day, _, stage):
        day.log.mark()
        stage.looks = looks
        noticed = day.says(said)
        time.sleep(1.0)
        silent = len(day.events())
        time.sleep(1.0)
        assert len(day.events()) == silent, "a broken picture is not an emotion"
        stage.looks = "well"
        on = day.next_event()

    table.add(Row(f"camera: picture {looks}", noticed, on, *day.counted()))
    assert day.counted()[1] == 0


def test_a_camera_that_falls_silent(
    tmp_path: Path, bundle: Path, mosquitto: Mosquitto, ear: Ear, table: Table
) -> None:
    """Silent for longer than camera.stall_s, so that it is closed and opened again."""
    with watching_camera(tmp_path, ear, bundle, mosquitto.port) as (day, camera, _):
        day.log.mark()
        camera.stall()
        noticed = day.says("no picture")
        reopened = day.says("camera is lost, it will be opened again")
        time.sleep(AWAY_S)
        camera.go_on()
        on = day.next_event()

    table.add(Row(f"camera: silent (reopened {noticed + reopened:.1f} s after)", noticed, on, *day.counted()))
    assert day.counted()[1] == 0


def test_a_camera_that_is_unplugged_and_plugged_in_again(
    tmp_path: Path, bundle: Path, mosquitto: Mosquitto, ear: Ear, table: Table
) -> None:
    with watching_camera(tmp_path, ear, bundle, mosquitto.port) as (day, camera, _):
        day.log.mark()
        camera.die()
        noticed = day.says("camera is lost, it will be opened again")
        time.sleep(AWAY_S)
        camera.come_back()
        on = day.next_event()

    table.add(Row("camera: unplugged and plugged in again", noticed, on, *day.counted()))
    assert day.counted()[1] == 0


def test_a_broker_that_goes_and_comes(
    tmp_path: Path, bundle: Path, mosquitto: Mosquitto, ear: Ear, table: Table
) -> None:
    """Away for the daemon only: what listens for events must miss none."""
    with Gate(mosquitto.port) as gate:
        gate.open()
        with watching_camera(tmp_path, ear, bundle, gate.port) as (day, _, _):
            day.log.mark()
            gate.close()
            noticed = day.says("was lost")
            time.sleep(AWAY_S)
            gate.open()
            on = day.next_event(delayed=True)
            day.next_event(delayed=False)

    table.add(Row("broker: away", noticed, on, *day.counted()))
    assert day.counted()[1] == 0


def test_a_daemon_that_is_killed(
    tmp_path: Path, bundle: Path, mosquitto: Mosquitto, ear: Ear, table: Table
) -> None:
    """While the broker is away, so that the events wait on the disk; started again at once."""
    with Gate(mosquitto.port) as gate:
        gate.open()
        with watching_camera(tmp_path, ear, bundle, gate.port) as (day, _, _):
            gate.close()
            time.sleep(AWAY_S)
            day.process.kill()
            day.process.wait()
            gate.open()
            day.start()
            on = day.next_event()
            day.next_event(delayed=False)

    table.add(Row("daemon: SIGKILL while the broker is away", None, on, *day.counted()))
    assert day.counted()[1] == 0


@pytest.mark.shared
@pytest.mark.parametrize(
    "fault", ["abort", "hang", "hang-in-native-code", "slow", "error", "shape", "garbage"]
)
def test_an_accelerator_that_fails(tmp_path: Path, shared: Path, table: Table, fault: str) -> None:
    """The embedded bundle; the accelerator is LiteRT behind the isolation's real process."""
    run = Run(tmp_path, shared / "data/media/intel/walk.mkv")
    try:
        run.reaches(last("edgetpu-usb"), "events from the accelerator")
        before = len(run.events())
        began = time.time()
        run.fail(fault)
        run.reaches(last("cpu"), "events from the CPU")
        fell = run.events()
        run.heal()
        returned = run.reaches(last("edgetpu-usb"), "events from the accelerator again")
        events = run.events()
    finally:
        run.end()

    first = next(event for event in fell[before:] if event["accelerator"] == "cpu")
    degraded = _seconds(first["time"]) + first["latency_ms"] / 1000 - began
    numbers = [event["seq"] for event in events]
    lost = numbers[-1] + 1 - len(set(numbers))
    name = f"accelerator: {fault} (back {returned:.0f} s later)"
    table.add(Row(name, degraded, degraded, len(events), lost))
    assert lost == 0
    assert all(event["degraded"] == (event["accelerator"] == "cpu") for event in events)


def test_an_accelerator_that_gives_nan(tmp_path: Path, table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    """Integers are never NaN: the model is the float one."""
    fault = tmp_path / "fault"
    monkeypatch.setenv("FAULTY_RUNTIME_FILE", str(fault))
    model = tiny("tiny_emotion_float")
    group = Fallback(
        {"emotion": open_model(model.path, model.outputs, model.input)},
        lambda: open_isolated({"emotion": ModelSpec(model.path, model.outputs, model.input)}, runtime=FAULTY),
        lambda models: None,
    )
    group.start(PATIENCE_S)
    assert not group.degraded
    fault.write_text("nan")

    began = time.monotonic()
    answer = group.models["emotion"].run(model.tensor(1))
    took = time.monotonic() - began

    assert all(np.isfinite(values).all() for values in answer.values())
    assert "returned values that are not numbers" in str(group.reason)
    table.add(Row("accelerator: nan", took, took, 0, 0))
    group.models["emotion"].close()


UNSYNCED = """
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/timesync
exec "$@"
"""
"""As on a board without a clock of its own: timesyncd runs and has not heard from a server."""


@pytest.mark.skipif(os.geteuid() != 0, reason="a /run of its own needs root")
def test_a_clock_that_is_behind(tmp_path: Path, bundle: Path, table: Table) -> None:
    """The broker's certificate is not valid yet; then it is, as if the clock had jumped."""
    valid_in_s, plain = 12.0, free_port()
    authority = Authority(tmp_path, "authority")
    server = authority.issue("server", valid_in_days=(3600 + valid_in_s) / 86400)  # type: ignore[arg-type]
    certificate = x509.load_pem_x509_certificate(Path(server.cert_file).read_bytes())
    valid_at = certificate.not_valid_before_utc.timestamp()
    before = ("unshare", "--mount", "--propagation", "private", "sh", "-euc", UNSYNCED, "sh")
    with (
        secured(tmp_path, server, f"listener {plain} {HOST}") as broker,
        Ear(plain, (f"oahega/v1/{DEVICE}/#",)) as ear,
        watching_camera(
            tmp_path, ear, bundle, broker.port, before, mqtt__tls="on", mqtt__ca_file=authority.file
        ) as (day, _, _),
    ):
        on = time.time() - valid_at
        day.says("is the device's clock right")
        assert {event["time_synced"] for event in day.events()} == {False}
        its_files = Path("/proc") / str(day.process.pid) / "root"
        (its_files / "run/systemd/timesync/synchronized").touch()
        day.next_event(time_synced=True)

    wait_until(lambda: day.counted()[1] == 0, 60)
    table.add(Row("clock: behind the broker's certificate", None, on, *day.counted()))


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()

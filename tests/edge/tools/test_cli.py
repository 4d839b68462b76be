"""The command as a process: what it prints, and with which code it ends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest

from brokers import free_port
from edgetpu_bundle import add_edgetpu_files, make_coral_python
from mini_bundle import change, make_bundle
from noise_clip import make_clip
from oahega_edge.bundles.load import load_bundle
from oahega_edge.control.client import ask
from oahega_edge.drift.keeper import DriftWatch
from oahega_edge.drift.look import Look
from oahega_edge.errors import EdgeError
from oahega_edge.service.chains import seen_with
from oahega_edge.service.settings import PACKAGED, read_layers
from waiting import PATIENCE, wait_until

ANSWERED = "--set=deployment.context=development"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.avi")


def arguments(*words: str, bundle: Path | None = None) -> list[str]:
    chosen = [] if bundle is None else [f"--set=bundle.path={bundle}"]
    return [sys.executable, "-m", "oahega_edge", *words, *chosen]


def environment(tmp_path: Path) -> dict[str, str]:
    return os.environ | {"RUNTIME_DIRECTORY": str(tmp_path), "NO_COLOR": "1"}


def call(tmp_path: Path, *words: str, bundle: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments(*words, bundle=bundle),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=environment(tmp_path),
        check=False,
    )


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("oahega-edge: ")]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def start(
    running: list[subprocess.Popen[str]], tmp_path: Path, *words: str, bundle: Path, **extra: str
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        arguments(*words, bundle=bundle),
        stdout=subprocess.DEVNULL,  # nobody reads its events: a pipe would fill, and it would wait
        stderr=subprocess.PIPE,
        text=True,
        env=environment(tmp_path) | extra,
    )
    running.append(process)
    return process


def status_once(tmp_path: Path, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """What the daemon says of itself as soon as it fulfils the condition."""

    def fulfilled() -> dict[str, Any] | None:
        with contextlib.suppress(EdgeError):
            status = ask(tmp_path / "control.sock", "status")
            return status if condition(status) else None
        return None

    return dict(wait_until(fulfilled))


def status_of(tmp_path: Path) -> dict[str, Any]:
    """What the daemon says of itself, once it is there."""
    return status_once(tmp_path, lambda status: True)


def test_the_settings_say_every_error_and_end_with_78(tmp_path: Path, bundle: Path) -> None:
    file = tmp_path / "edge.toml"
    file.write_text(
        '[camera]\nrotat = 90\nfps = "fast"\nmirror = 3\n[mqtt]\nprot = 1\n[trigger]\nthreshold = 7\n'
    )

    done = call(tmp_path, "check", f"--config={file}", ANSWERED, bundle=bundle)

    assert done.returncode == 78
    assert [line.split()[1].rstrip(":") for line in complaints(done)] == [
        "camera.fps",
        "camera.mirror",
        "camera.rotat",
        "mqtt.prot",
        "trigger.threshold",
    ]
    assert "did you mean camera.rotate?" in done.stderr


def test_run_does_not_start_unless_it_knows_where_it_watches(tmp_path: Path, bundle: Path) -> None:
    done = call(tmp_path, "run", bundle=bundle)

    assert done.returncode == 78
    assert "say where the device watches" in complaints(done)[0]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda f: (f / "emotion.tflite").write_bytes(b""), "is empty"),
        (lambda f: os.truncate(f / "detector.tflite", 2000), "is not the one the manifest names"),
        (lambda f: (f / "detector.tflite").unlink(), "has no readable detector.tflite"),
        (
            lambda f: (f / "manifest.json").write_text(
                (f / "manifest.json").read_text().replace('"threshold": 0.6', '"threshold": 0.1')
            ),
            "was changed after the bundle was made",
        ),
    ],
    ids=["zero-byte model", "truncated model", "missing model", "manifest edited by hand"],
)
def test_a_broken_bundle_ends_with_one_sentence_and_78(
    tmp_path: Path, bundle: Path, clip: Path, damage: object, reason: str
) -> None:
    broken = Path(shutil.copytree(bundle, tmp_path / "broken"))
    damage(broken)  # type: ignore[operator]

    done = call(tmp_path, "replay", str(clip), bundle=broken)

    assert done.returncode == 78
    (complaint,) = complaints(done)
    assert reason in complaint
    assert done.stdout == ""


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100], ids=["empty", "garbage"])
def test_an_unreadable_video_ends_with_one_sentence_and_1(
    tmp_path: Path, bundle: Path, content: bytes
) -> None:
    file = tmp_path / "clip.mp4"
    file.write_bytes(content)

    done = call(tmp_path, "replay", str(file), bundle=bundle)

    assert done.returncode == 1
    (complaint,) = complaints(done)
    assert "clip.mp4" in complaint


def test_a_source_that_is_none_ends_with_one_sentence_and_1(tmp_path: Path, bundle: Path) -> None:
    done = call(tmp_path, "replay", str(tmp_path / "nowhere.mp4"), bundle=bundle)

    assert done.returncode == 1
    assert "nowhere.mp4" in complaints(done)[0]


def test_an_unknown_verb_or_option_ends_with_2(tmp_path: Path) -> None:
    assert call(tmp_path, "sing").returncode == 2
    assert call(tmp_path, "check", "--loud").returncode == 2


def test_a_replay_without_faces_prints_no_event(tmp_path: Path, bundle: Path, clip: Path) -> None:
    done = call(tmp_path, "replay", str(clip), "--set=detection.face_score=0.99", bundle=bundle)

    assert done.returncode == 0
    assert done.stdout == ""
    assert "30 frames" in done.stderr


def test_config_says_where_each_value_comes_from(tmp_path: Path, bundle: Path) -> None:
    done = call(tmp_path, "config", ANSWERED, "--set=camera.fps=7", bundle=bundle)

    described = json.loads(done.stdout)
    assert described["camera"]["fps"] == {"value": 7.0, "from": "--set"}
    assert described["smoothing"]["frames"] == {"value": 5, "from": "bundle tiny-1.0"}
    assert described["camera"]["width"]["from"] == "packaged default"


@pytest.mark.lengthy
def test_bench_prints_one_json_object(tmp_path: Path, bundle: Path, clip: Path) -> None:
    done = call(tmp_path, "bench", str(clip), "--steps=20", bundle=bundle)

    result = json.loads(done.stdout)
    assert result["picture"] == "640x480"
    assert {"read", "detector_input", "detector", "decode", "step"} <= set(result["stages_ms"])
    assert result["step_over_invocations"] > 1
    assert result["step_minus_invocations_ms"] > 0
    assert result["peak_memory_mb"] > 10


def test_check_camera_prints_figures_and_no_frame(tmp_path: Path, bundle: Path, clip: Path) -> None:
    done = call(tmp_path, "check", "--camera", ANSWERED, f"--set=camera.source={clip}", bundle=bundle)

    said = [json.loads(line) for line in done.stdout.splitlines()]
    lines = [each for each in said if "picture" in each]
    assert done.returncode == 0
    assert len(lines) == 5  # two seconds, every half second, and the last frame
    assert lines[0]["picture"] == "320x240"
    assert 60 < lines[0]["brightness"] < 200
    assert sorted(p.name for p in tmp_path.iterdir()) == []


@pytest.mark.lengthy
def test_annotate_draws_a_video_of_the_clips_length(tmp_path: Path, bundle: Path, clip: Path) -> None:
    out = tmp_path / "seen.mp4"

    done = call(tmp_path, "replay", str(clip), f"--annotate={out}", bundle=bundle)

    drawn = cv2.VideoCapture(str(out))
    assert done.returncode == 0
    assert drawn.get(cv2.CAP_PROP_FRAME_COUNT) == 30
    assert drawn.get(cv2.CAP_PROP_FPS) == pytest.approx(15, abs=0.1)


def test_annotate_keeps_every_picture_of_whatever_size(tmp_path: Path, bundle: Path) -> None:
    folder, out = tmp_path / "pictures", tmp_path / "seen.mp4"
    folder.mkdir()
    for i, size in enumerate(((300, 300), (480, 640), (200, 500), (300, 300))):
        cv2.imwrite(str(folder / f"{i}.png"), np.full((*size, 3), 90, np.uint8))

    done = call(tmp_path, "replay", str(folder), f"--annotate={out}", bundle=bundle)

    assert done.returncode == 0
    assert cv2.VideoCapture(str(out)).get(cv2.CAP_PROP_FRAME_COUNT) == 4


@pytest.mark.parametrize("alone", ["picture", "folder"])
def test_a_face_on_one_picture_counts_at_once(alone: str, tmp_path: Path, bundle: Path, clip: Path) -> None:
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "a.png"
    capture = cv2.VideoCapture(str(clip))
    for _ in range(20):
        picture = capture.read()[1]
    cv2.imwrite(str(path), picture)

    done = call(tmp_path, "replay", str(path if alone == "picture" else path.parent), bundle=bundle)

    assert "1 frames in" in done.stderr
    assert "1 with a face" in done.stderr
    assert "each face is judged by its one picture" in done.stderr


def test_the_daemon_ends_cleanly_on_sigterm(
    tmp_path: Path, bundle: Path, clip: Path, running: list[subprocess.Popen[str]]
) -> None:
    daemon = start(running, tmp_path, "run", ANSWERED, f"--set=camera.source=loop:{clip}", bundle=bundle)
    status_of(tmp_path)
    status = json.loads(call(tmp_path, "status").stdout)

    daemon.send_signal(signal.SIGTERM)

    assert daemon.wait(PATIENCE) == 0
    assert status["state"]["camera"] in ("live", "absent")
    assert not (tmp_path / "control.sock").exists()


def handles_sigterm(process: subprocess.Popen[str]) -> bool:
    """See proc_pid_status(5)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (signal.SIGTERM - 1) & 1)


def ended_by_many_signals(process: subprocess.Popen[str]) -> str:
    """SIGTERM again and again until it has ended; what it said."""

    def has_ended() -> bool:
        process.send_signal(signal.SIGTERM)
        time.sleep(0.001)
        return process.poll() is not None

    wait_until(has_ended)
    return process.communicate(timeout=PATIENCE)[1]


def test_a_daemon_that_is_told_to_end_many_times_ends_in_order(
    tmp_path: Path, bundle: Path, clip: Path, running: list[subprocess.Popen[str]]
) -> None:
    """Also while it ends, when Python gives signals back their default action."""
    daemon = start(running, tmp_path, "run", ANSWERED, f"--set=camera.source=loop:{clip}", bundle=bundle)
    status_of(tmp_path)

    said = ended_by_many_signals(daemon)

    assert (daemon.returncode, "Traceback" in said) == (0, False)
    assert not (tmp_path / "control.sock").exists()


@pytest.mark.parametrize("after", [0.0, 0.3])
def test_a_daemon_that_is_told_to_end_during_its_start_ends_in_order(
    tmp_path: Path, bundle: Path, clip: Path, running: list[subprocess.Popen[str]], after: float
) -> None:
    daemon = start(running, tmp_path, "run", ANSWERED, f"--set=camera.source=loop:{clip}", bundle=bundle)
    wait_until(lambda: handles_sigterm(daemon))
    time.sleep(after)

    said = ended_by_many_signals(daemon)

    assert (daemon.returncode, "Traceback" in said) == (0, False)
    assert not (tmp_path / "control.sock").exists()


def test_a_start_that_waits_for_a_hanging_accelerator_ends_at_once(
    tmp_path: Path, bundle: Path, clip: Path, running: list[subprocess.Popen[str]]
) -> None:
    coral = Path(shutil.copytree(bundle, tmp_path / "coral"))
    add_edgetpu_files(coral)
    words = ("run", ANSWERED, f"--set=camera.source=loop:{clip}", "--set=runtime.accelerator=usb")
    python = f"--set=runtime.python={make_coral_python(tmp_path)}"
    daemon = start(running, tmp_path, *words, python, bundle=coral, FAULTY_RUNTIME="hang-at-start")
    wait_until(lambda: handles_sigterm(daemon) and psutil.Process(daemon.pid).children())

    said = ended_by_many_signals(daemon)

    assert daemon.returncode == 0
    assert "accelerator" not in said  # else it has waited for it in vain


def test_a_broker_that_is_not_there_is_no_reason_to_stop(
    tmp_path: Path, bundle: Path, clip: Path, running: list[subprocess.Popen[str]]
) -> None:
    away = ("--set=mqtt.host=127.0.0.1", "--set=mqtt.port=9")
    daemon = start(
        running, tmp_path, "run", ANSWERED, f"--set=camera.source=loop:{clip}", *away, bundle=bundle
    )
    status = status_once(tmp_path, lambda status: status["delivery"]["problem"])

    daemon.send_signal(signal.SIGTERM)
    _, log = daemon.communicate(timeout=PATIENCE)

    assert daemon.returncode == 0
    assert status["delivery"]["connected"] is False
    assert "127.0.0.1:9" in log


def test_a_camera_that_is_not_there_is_waited_for_and_given_up_with_1(
    tmp_path: Path, bundle: Path, running: list[subprocess.Popen[str]]
) -> None:
    once = ("--set=camera.source=http://127.0.0.1:9/", "--set=camera.attempts=1")
    daemon = start(running, tmp_path, "run", ANSWERED, *once, bundle=bundle)

    _, log = daemon.communicate(timeout=PATIENCE)

    assert daemon.returncode == 1
    assert "camera is lost" in log


def test_mute_and_unmute_work_without_a_broker_and_survive_a_restart(
    tmp_path: Path, bundle: Path, clip: Path, running: list[subprocess.Popen[str]]
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    words = ("run", ANSWERED, f"--set=camera.source=loop:{clip}")
    first = start(running, tmp_path, *words, bundle=bundle, STATE_DIRECTORY=str(state))
    status_of(tmp_path)

    assert call(tmp_path, "mute").returncode == 0
    first.kill()
    first.wait()
    start(running, tmp_path, *words, bundle=bundle, STATE_DIRECTORY=str(state))
    status_once(tmp_path, lambda status: status["state"]["muted"])
    assert call(tmp_path, "unmute").returncode == 0

    assert not (state / "muted").exists()


def lived(state: Path, bundle: Path) -> Path:
    """The record of a device that has seen a day of 200 faces with a bundle."""
    loaded, now = load_bundle(bundle), [datetime(2026, 1, 5, 12)]
    labels = len(loaded.manifest.emotion.labels)
    chosen = read_layers(PACKAGED, {}, [ANSWERED.removeprefix("--set=")]).with_suggestions(loaded.manifest)
    watch = DriftWatch(state, lambda: now[0], lambda: 0.0)
    watch.use(seen_with(loaded, chosen.resolve()), labels, None)
    watch.saw([Look(np.full(labels, 1 / labels), 90.0, 120.0, 0.4, 0.9, 0.2)] * 200)
    now[0] += timedelta(days=1)
    watch.keep()
    (record,) = (state / "drift").iterdir()
    return record


def test_relearn_makes_a_running_daemon_forget_the_first_days_on_its_disk_too(
    tmp_path: Path, bundle: Path, clip: Path, running: list[subprocess.Popen[str]]
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    record = lived(state, bundle)
    words = ("run", ANSWERED, f"--set=camera.source=loop:{clip}")
    start(running, tmp_path, *words, bundle=bundle, STATE_DIRECTORY=str(state))
    before = status_of(tmp_path)["health"]["drift"]

    done = call(tmp_path, "relearn")

    assert before["learned"] == 200
    assert (done.returncode, complaints(done)) == (0, [])
    status_once(tmp_path, lambda status: status["health"]["drift"]["learned"] == 0)
    wait_until(lambda: json.loads(record.read_text())["blocks"] == 0)


def test_relearn_is_refused_in_one_sentence_where_nothing_is_watched(
    tmp_path: Path, bundle: Path, clip: Path, running: list[subprocess.Popen[str]]
) -> None:
    words = ("run", ANSWERED, f"--set=camera.source=loop:{clip}", "--set=drift.watch=false")
    start(running, tmp_path, *words, bundle=bundle)
    status_of(tmp_path)

    done = call(tmp_path, "relearn")

    assert done.returncode == 1
    assert [line.count("drift.watch = false: nothing is watched") for line in complaints(done)] == [1]


def test_a_second_daemon_in_the_same_folders_ends_with_one_sentence_and_leaves_the_first_alone(
    tmp_path: Path, bundle: Path, clip: Path, running: list[subprocess.Popen[str]]
) -> None:
    words = ("run", ANSWERED, f"--set=camera.source=loop:{clip}", f"--set=store.path={tmp_path / 'state'}")
    start(running, tmp_path, *words, bundle=bundle)
    status_of(tmp_path)
    (tmp_path / "elsewhere").mkdir()

    same_socket = call(tmp_path, *words[:-1], bundle=bundle)
    same_state = start(running, tmp_path, *words, bundle=bundle, RUNTIME_DIRECTORY=f"{tmp_path}/elsewhere")
    _, log = same_state.communicate(timeout=PATIENCE)

    assert same_socket.returncode == same_state.returncode == 1
    assert "another oahega-edge uses" in complaints(same_socket)[0]
    assert f"another oahega-edge uses {tmp_path / 'state'}" in log
    assert call(tmp_path, "mute").returncode == 0
    assert status_of(tmp_path)["state"]["muted"]


@pytest.mark.skipif(any(Path("/run").glob("oahega-edge*")), reason="a daemon of this machine would be muted")
def test_several_daemons_are_muted_together_or_one_by_its_name(
    tmp_path: Path, bundle: Path, clip: Path, running: list[subprocess.Popen[str]]
) -> None:
    own = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path)}
    for name in ("left", "right"):
        words = ("run", f"--instance={name}", ANSWERED, f"--set=camera.source=loop:{clip}")
        start(running, tmp_path, *words, bundle=bundle, RUNTIME_DIRECTORY="", **own)

    def verb(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            arguments(*words),
            capture_output=True,
            text=True,
            check=False,
            env=environment(tmp_path) | own | {"RUNTIME_DIRECTORY": ""},
        )

    def muted() -> dict[str, bool]:
        return {
            name: ask(tmp_path / f"oahega-edge-{name}" / "control.sock", "status")["state"]["muted"]
            for name in ("left", "right")
        }

    for name in ("left", "right"):
        wait_until((tmp_path / f"oahega-edge-{name}" / "control.sock").exists)
    one = verb("mute", "--instance=right")
    wait_until(lambda: muted() == {"left": False, "right": True})
    both = verb("mute")
    wait_until(lambda: muted() == {"left": True, "right": True})
    names = [status["state"]["device"] for status in json.loads(verb("status").stdout).values()]

    assert (one.returncode, both.returncode) == (0, 0)
    assert [line.partition(":")[0] for line in both.stderr.splitlines()] == ["left", "right"]
    assert [name.rpartition("-")[2] for name in names] == ["left", "right"]


def test_a_bundle_is_exchanged_while_the_daemon_runs(
    tmp_path: Path, bundle: Path, clip: Path, running: list[subprocess.Popen[str]]
) -> None:
    """The link moves to a good bundle, then to one with a broken model, which is refused."""
    good = Path(shutil.copytree(bundle, tmp_path / "good"))
    change(good, "version", "2.0")
    bad = Path(shutil.copytree(bundle, tmp_path / "bad"))
    (bad / "emotion.tflite").write_bytes(b"")
    link = tmp_path / "current"
    link.symlink_to(bundle)
    daemon = start(running, tmp_path, "run", ANSWERED, f"--set=camera.source=loop:{clip}", bundle=link)
    status_of(tmp_path)

    def point(target: Path) -> None:
        (tmp_path / "new").symlink_to(target)
        (tmp_path / "new").rename(link)

    point(good)
    status_once(tmp_path, lambda status: status["bundle"]["version"] == "2.0")
    point(bad)
    refused = status_once(tmp_path, lambda status: status["bundle_problem"])
    daemon.send_signal(signal.SIGTERM)
    _, log = daemon.communicate(timeout=PATIENCE)

    assert daemon.returncode == 0
    assert refused["bundle"]["version"] == "2.0"
    assert "emotion.tflite is empty" in log


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "mqtt://127.0.0.1:{port}", "[::1]:{port}"])
def test_a_listener_that_was_never_let_in_ends_with_1(address: str, tmp_path: Path) -> None:
    done = call(tmp_path, "listen", address.format(port=free_port()), "--seconds", "0.5")

    assert done.returncode == 1
    assert "never connected to" in complaints(done)[0]


@pytest.mark.parametrize("option", [["--password-file", "/no/such"], ["--password-file", "/tmp"]])
def test_a_password_file_that_is_none_ends_with_one_sentence_and_78(
    option: list[str], tmp_path: Path
) -> None:
    done = call(tmp_path, "listen", "127.0.0.1:1", "--username", "x", "--seconds", "0.5", *option)

    assert done.returncode == 78
    assert complaints(done)[0].startswith(f"oahega-edge: --password-file = '{option[1]}': cannot be read")


def test_asking_a_daemon_that_does_not_run_ends_with_one_sentence(tmp_path: Path) -> None:
    done = call(tmp_path, "status")

    assert done.returncode == 1
    assert "is oahega-edge running" in complaints(done)[0]

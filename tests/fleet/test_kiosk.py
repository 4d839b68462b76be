"""What stands on the screen: the unit's compositor and browser on booted Debian hosts.

The hosts have no screen: the compositor draws into memory (wlroots' headless backend), and grim photographs
it with its cursor. `ansible/fleet-test.sh long`; the photographs stay in `artifacts/kiosk`, to be looked at.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from fleet_hosts import stop_all, wait_for
from fleet_tree import ensure_kiosk_tree, missing
from oahega_edge.tools.demo_clip import write_demo_clip
from service_host import ROOT, ServiceHost

pytestmark = [pytest.mark.fleet, pytest.mark.long, pytest.mark.skipif(bool(missing()), reason=missing())]

KIOSK, PAGE = "oahega-kiosk.service", "oahega-edge-page.service"
ALBUM = ROOT / "artifacts/kiosk"
SETTINGS = """
[deployment]
context = "development"
[camera]
source = "loop:/srv/clip.mp4"
fps = 3
[mqtt]
host = "127.0.0.1"
port = 1883
[page]
port = 8321
folder = "/srv/own"
"""
NO_SCREEN = """
[Unit]
ConditionPathExists=
[Service]
Environment=WLR_BACKENDS=headless WLR_RENDERER=pixman WLR_LIBINPUT_NO_DEVICES=1
TTYPath=
TTYReset=no
TTYVHangup=no
TTYVTDisallocate=no
StandardInput=null
"""
OUTPUTS = {"bookworm": 2, "trixie": 1}
"""A picture that fills one output is shown by Bookworm's compositor as it is, and grim gets an older one."""
OWN_URL = "[Service]\nEnvironment=OAHEGA_KIOSK_URL=http://127.0.0.1:8321/own/\n"
OWN_PAGE = """<!doctype html>
<html lang="uk"><meta charset="utf-8"><title>Плакат</title><link rel="stylesheet" href="style.css">
<p>Ця сторінка написана українською мовою, і жоден браузер не повинен пропонувати її переклад.</p></html>
"""
"""In a language that is not the browser's, in the colour of its background."""
OWN_STYLE = "html { background: #204080; color: #204080; }"
ROUNDING = 4
"""In a colour, where text of the same colour is drawn."""
OWN, PAPER = (0x20, 0x40, 0x80), (0x12, 0x16, 0x1C)
"""Colours: of the page above, and of the device's own page at its upper and left edge."""
PROCESSES = {
    "the browser": "--oldest --exact chromium",
    "the compositor": "--exact cage",
    "the program that watches the browser": "--full page.kiosk",
    "the page's process": "--full -- --type=renderer",
    "the process that draws": "--full -- --type=gpu-process",
}
OPEN_FOR_WRITING = """
for process in $(pgrep --uid oahega-kiosk --exact chromium); do
    for file in /proc/$process/fd/*; do
        flags=$(sed -n 's/^flags:\\t//p' "/proc/$process/fdinfo/${file##*/}" 2>/dev/null) || continue
        case $flags in *[12]) readlink "$file" ;; esac
    done
done | sed -n 's/ (deleted)$//; /^\\//p'
"""
"""The browser's files that are open for writing, which the last figure of their flags says."""
IN_MEMORY = ("/dev/", "/run/", "/memfd:")
PROTECTED_CLOCK = "char-rtc r"
"""A device that ProtectClock adds to the unit's."""
PATIENCE_S = 300


@dataclass
class Screen(ServiceHost):
    """A host with the unit, whose screen can be photographed."""

    def photograph(self, name: str) -> NDArray[np.uint8] | None:
        """The screen, RGB, kept in the album; None while nothing draws."""
        place = ("XDG_RUNTIME_DIR=/run/oahega-kiosk", "WAYLAND_DISPLAY=wayland-0")
        file = self.root / "srv/screen.png"
        file.unlink(missing_ok=True)
        self.inside("env", *place, "timeout", "20", "grim", "-c", "/srv/screen.png", check=False)
        if not file.exists():
            return None
        kept = ALBUM / self.name / f"{name.replace(' ', '-')}.png"
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, kept)
        return np.asarray(cv2.cvtColor(cv2.imread(str(kept)), cv2.COLOR_BGR2RGB), np.uint8)

    def shows_own(self, name: str) -> None:
        """Wait until every pixel is the page's: no bar, no bubble, no message, no cursor."""

        def whole() -> bool:
            picture = self.photograph(name)
            return picture is not None and int(np.abs(picture.astype(int) - OWN).max()) <= ROUNDING

        wait_for(whole, f"the page on the whole screen {name}", PATIENCE_S)

    def processes(self, which: str) -> set[str]:
        """Of the browser's user, chosen by options of pgrep."""
        return set(self.inside("pgrep", "--uid", "oahega-kiosk", *which.split(), check=False).split())


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def screen(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, package: Path
) -> Iterator[Screen]:
    """A booted host with the package, its daemon on a clip, and the page."""
    folder = tmp_path_factory.mktemp("screen")
    host = Screen(f"oahega-{request.param}", 8, ensure_kiosk_tree(request.param), folder / "host", None)
    host.insert_disk({"srv/new.deb": package.read_bytes(), "etc/oahega-edge/edge.toml": SETTINGS})
    write_demo_clip(host.root / "srv/clip.mp4", fps=3)
    for file, text in {"index.html": OWN_PAGE, "style.css": OWN_STYLE}.items():
        host.write(f"srv/own/{file}", text)
    host.write(f"etc/systemd/system/{KIOSK}.d/no-screen.conf", NO_SCREEN)
    outputs = f"[Service]\nEnvironment=WLR_HEADLESS_OUTPUTS={OUTPUTS[request.param]}\n"
    host.write(f"etc/systemd/system/{KIOSK}.d/outputs.conf", outputs)
    try:
        host.boot()
        host.systemctl("start", "mosquitto")
        host.apt("install", "/srv/new.deb")
        host.systemctl("start", PAGE)
        yield host
    finally:
        stop_all([host])


def test_the_devices_page_fills_the_screen(screen: Screen) -> None:
    screen.systemctl("start", KIOSK)

    def drawn() -> bool:
        picture = screen.photograph("page of the device")
        if picture is None or len(np.unique(picture)) < 100:
            return False
        sides = picture[:, (0, -1)]  # a scroll bar would stand at the right one
        return bool((picture[0, :100] == PAPER).all() and (sides == PAPER).all())

    wait_for(drawn, "the device's page on the screen", PATIENCE_S)
    assert "8321" in screen.inside("ss", "-tn", "state", "established", "dport = :8321")
    assert screen.show("User", KIOSK) == "oahega-kiosk"


def test_the_devices_of_the_unit_are_those_of_the_browser(screen: Screen) -> None:
    """logind moves the browser out of the unit, into the slice of its user."""
    own = f"user-{screen.inside('id', '-u', 'oahega-kiosk').strip()}.slice"
    (browser,) = screen.processes(PROCESSES["the browser"])

    assert f"/{own}/" in screen.inside("cat", f"/proc/{browser}/cgroup")
    assert screen.show("DevicePolicy", own) == "closed"
    of_the_unit = set(screen.show("DeviceAllow", KIOSK).splitlines()) - {PROTECTED_CLOCK}
    assert set(screen.show("DeviceAllow", own).splitlines()) == of_the_unit


def test_a_page_of_the_makers_own_fills_it_without_anything_above(screen: Screen) -> None:
    screen.write(f"etc/systemd/system/{KIOSK}.d/url.conf", OWN_URL)
    screen.systemctl("daemon-reload")
    screen.systemctl("restart", KIOSK)

    screen.shows_own("a page of one colour")


@pytest.mark.parametrize("process", PROCESSES)
def test_the_page_comes_back_when_a_process_was_killed(screen: Screen, process: str) -> None:
    before = wait_for(lambda: screen.processes(PROCESSES[process]), process, PATIENCE_S)
    screen.inside("kill", "-KILL", *before)

    def is_new() -> bool:
        now = screen.processes(PROCESSES[process])
        return bool(now) and now.isdisjoint(before)

    wait_for(is_new, f"another process in the place of {process}", PATIENCE_S)
    screen.shows_own(f"after {process}")


def test_a_compositor_that_cannot_start_is_started_again(screen: Screen) -> None:
    broken = f"/run/systemd/system/{KIOSK}.d/zz-broken.conf"
    setting = "[Service]\\nEnvironment=WLR_BACKENDS=none\\nRestartSec=1\\n"
    screen.inside("sh", "-c", f"mkdir -p {Path(broken).parent} && printf '{setting}' >{broken}")
    screen.systemctl("daemon-reload")
    screen.systemctl("restart", KIOSK)
    wait_for(lambda: int(screen.show("NRestarts", KIOSK)) > 2, "starts of the compositor", PATIENCE_S)

    screen.inside("rm", broken)
    screen.systemctl("daemon-reload")
    screen.shows_own("after the compositor could not start")


def test_the_screen_is_black_until_the_page_is_served(screen: Screen) -> None:
    screen.systemctl("stop", PAGE)
    screen.systemctl("restart", KIOSK)

    def is_black() -> bool:
        picture = screen.photograph("before the page")
        return picture is not None and not picture.any()

    wait_for(
        lambda: screen.processes(PROCESSES["the page's process"]) and is_black(), "a black screen", PATIENCE_S
    )
    screen.systemctl("start", PAGE)
    screen.shows_own("after the page came")


def test_the_browser_writes_nothing_to_the_disk(screen: Screen) -> None:
    files = screen.inside("sh", "-c", OPEN_FOR_WRITING).splitlines()

    assert any(file.startswith("/run/oahega-kiosk/profile/") for file in files), files
    assert [file for file in files if not file.startswith(IN_MEMORY)] == []


def test_nothing_of_it_is_left_when_it_stops(screen: Screen) -> None:
    screen.systemctl("stop", KIOSK)

    screen.inside("test", "!", "-e", "/run/oahega-kiosk")
    wait_for(lambda: not screen.processes("--exact chromium"), "the end of the browser", PATIENCE_S)

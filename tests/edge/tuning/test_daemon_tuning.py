"""Tuning of a real daemon through its page, with a face in front of the camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brokers import free_port
from edge.samples.device import Device, portrait_clip
from edge.tuning.places import place
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle
from oahega_edge.control.client import Refused
from oahega_edge.page.access import access_for
from oahega_edge.page.command import page_command
from oahega_edge.page.tuning import DEEDS
from oahega_edge.service.settings import layers_of
from oahega_edge.service.setup import read_setup
from oahega_edge.tuning.faces import FACES, forget_faces, keep_faces, read_faces
from page.served import listens
from waiting import PATIENCE, wait_until

TOKEN = "0123456789abcdef"
COOKIE = {"Cookie": access_for("127.0.0.1", (), TOKEN).cookie(secure=False).split(";")[0]}
BUNDLE = load_bundle(DEFAULT_BUNDLE)


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    folder, beside = tmp_path_factory.mktemp("device"), tmp_path_factory.mktemp("beside")
    (beside / "token").write_text(TOKEN)
    started = Device(folder, portrait_clip(beside / "face.avi"), free_port(), beside / "log")
    more = {"page__token_file": beside / "token", "samples__consent": "off"}
    with started.running("run", **more), started.running("page", **more):
        wait_until(lambda: listens(started.port))
        wait_until(started.sees_a_face)
        yield started


def told(device: Device, path: str, token: object = TOKEN, **more: object) -> tuple[int, Any]:
    status, _, body = device.post(f"/tune/{path}", {"token": token, **more}, **COOKIE)
    return status, body


def version(device: Device) -> str:
    return str(device.asked("status")["bundle"]["version"])


def test_a_person_is_asked_and_only_numbers_are_kept(device: Device) -> None:
    # A busy machine may show too few frames in three seconds.
    wait_until(lambda: told(device, "face", label="happy")[0] == 200, 4 * PATIENCE)

    (face,) = read_faces(device.folder, BUNDLE)
    assert (face.label, len(face.logits)) == ("happy", 5)
    assert told(device, "status")[1]["labels"]["happy"] == 1
    assert {name for name in device.content() if "tun" in name} == {FACES}
    assert told(device, "forget")[0] == 200


def test_the_answers_change_while_the_daemon_runs_and_change_back(device: Device) -> None:
    keep_faces(device.folder, place(BUNDLE))
    wait_until(lambda: told(device, "fit")[0] == 200)

    wait_until(lambda: "+tuned." in version(device))
    wait_until(device.sees_a_face)
    wait_until(lambda: (told(device, "status")[1]["tuned"] or {}).get("faces") == 60)
    assert told(device, "undo") == (200, {"undone": True})

    wait_until(lambda: version(device) == BUNDLE.manifest.version)
    wait_until(device.sees_a_face)
    forget_faces(device.folder)


def test_too_few_faces_change_nothing(device: Device) -> None:
    wait_until(lambda: told(device, "fit") == (409, {"reason": "few"}))

    assert version(device) == BUNDLE.manifest.version


def test_a_muted_device_asks_nobody(device: Device) -> None:
    device.asked("mute")
    try:
        assert told(device, "face", label="happy") == (409, {"reason": "muted"})
    finally:
        device.asked("unmute")
    wait_until(device.sees_a_face)


def test_the_cookie_alone_is_not_enough(device: Device) -> None:
    """Every wrong token is answered after a pause, so each path gets another one."""
    tokens = ["", "\ud800", None, 7, [TOKEN], TOKEN + " "]
    for path, token in zip(DEEDS, tokens, strict=True):
        assert told(device, path, token, label="happy")[0] == 403, (path, token)


def test_without_the_cookie_there_is_only_the_door(device: Device) -> None:
    assert device.post("/tune/status", {"token": TOKEN})[0] == 401


def test_a_request_without_an_expression_is_refused(device: Device) -> None:
    for label in (None, "joy", ["happy"]):
        with pytest.raises(Refused, match="none of the expressions that are offered"):
            device.asked("tune-face", {"label": label})


@pytest.mark.parametrize(
    ("token", "group", "offered"), [(True, 0, True), (False, 0, False), (True, 3, False)], ids=str
)
def test_nobody_is_asked_without_a_token_or_in_groups(
    token: bool, group: int, offered: bool, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    values = {"deployment.context": "art", "page.port": 8321, "trigger.min_group": group}
    if token:
        values["page.token_file"] = str(tmp_path / "token")
    settings = read_setup(layers_of(values, "test")).settings

    command = page_command(settings, {}, None)

    assert ("--tuning" in command) == offered

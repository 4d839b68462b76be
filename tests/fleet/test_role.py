"""The role `oahega_edge` without a host: what it refuses, and how it writes what only root may read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fleet import ansible_folder

ROLES = Path(__file__).resolve().parents[2] / "ansible/roles"
PASSWORD, CAMERA, LOGIN = "broker-canary-1", "camera-canary-2", "watcher:canary-3"

pytestmark = [
    pytest.mark.fleet,
    pytest.mark.skipif(
        ansible_folder() is None, reason="no ansible-playbook; ansible/fleet-test.sh makes .venv-ansible"
    ),
]

REFUSED: dict[str, dict[str, Any]] = {
    "oahega_edge_settings.camera.source": {"camera": {"source": f"rtsp://{LOGIN}@cam.example:554/1"}},
    "oahega_edge_settings.camera.source ": {"camera": {"source": f"loop:{LOGIN}@cam.example/1"}},
    "oahega_edge_settings.camera.source  ": {"camera": {"source": "http://watcher@cam.example/"}},
    "oahega_edge_settings.mqtt.host": {"mqtt": {"host": f"mqtts://{LOGIN}@broker.example"}},
    "oahega_edge_settings.page.names": {"page": {"names": ["kiosk", f"http://{LOGIN}@kiosk.example"]}},
}
"""Settings with a login, and what the refusal names; spaces tell names apart that are the same."""
ACCEPTED: dict[str, dict[str, Any]] = {
    "none": {},
    "picamera": {"camera": {"source": "picamera"}},
    "separate": {"camera": {"source": "rtsp://cam.example:554/a.sdp", "user": "watcher"}},
    "loop": {"camera": {"source": "loop:/var/lib/a:b/c@d.mp4"}},
    "mail": {"page": {"notice": "Questions: mailto:info@museum.example, or https://museum.example/"}},
}


def play(folder: Path, tasks: str, hosts: dict[str, dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Tasks of the role for hosts that are all this machine; as verbose as it gets."""
    common = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "oahega_edge_context": "development",
        "oahega_edge_release": "1.0.0",
        "oahega_edge_mqtt_host": "broker.example",
        "oahega_edge_mqtt_password": PASSWORD,
    }
    own = "{{ playbook_dir }}/{{ inventory_hostname }}"
    stronger = json.dumps({"_oahega_edge_credstore": own, "_oahega_edge_state": own})
    role = {"name": "oahega_edge", "tasks_from": tasks}
    plan = [{"hosts": "all", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": role}]}]
    (folder / "play.json").write_text(json.dumps(plan))
    (folder / "hosts.json").write_text(
        json.dumps({"all": {"hosts": {name: common | given for name, given in hosts.items()}}})
    )
    for name in hosts:
        (folder / name).mkdir(exist_ok=True)
    program = ansible_folder()
    assert program is not None
    return subprocess.run(
        [
            program / "ansible-playbook",
            "-vvv",
            "--diff",
            "-e",
            stronger,
            "-i",
            folder / "hosts.json",
            folder / "play.json",
        ],
        env=os.environ | {"ANSIBLE_ROLES_PATH": str(ROLES), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_a_login_in_what_every_user_can_read_is_refused_in_one_sentence(tmp_path: Path) -> None:
    refused = {f"refused-{number}": name for number, name in enumerate(REFUSED)}
    hosts: dict[str, dict[str, Any]] = {
        **{host: {"oahega_edge_settings": REFUSED[name]} for host, name in refused.items()},
        **{f"accepted-{name}": {"oahega_edge_settings": given} for name, given in ACCEPTED.items()},
        "kiosk": {"oahega_edge_kiosk_url": f"http://{LOGIN}@kiosk.example/"},
        "drop-in": {"oahega_edge_unit_dropin": f"[Service]\nEnvironment=X=http://{LOGIN}@proxy.example"},
        "no-user": {"oahega_edge_camera_password": CAMERA},
    }

    done = play(tmp_path, "logins", hosts)

    said = {host: done.stdout.partition(f"fatal: [{host}]")[2].partition("\n}")[0] for host in hosts}
    assert {host for host in hosts if said[host]} == {*refused, "kiosk", "drop-in", "no-user"}, done.stdout
    for host, name in [
        *refused.items(),
        ("kiosk", "oahega_edge_kiosk_url"),
        ("drop-in", "oahega_edge_unit_dropin"),
    ]:
        assert f'"{name.strip()} must hold no login, because' in said[host]
    assert "oahega_edge_camera_password needs a user" in said["no-user"]
    assert "canary" not in done.stdout + done.stderr


def test_passwords_are_written_for_root_only_and_not_shown_and_taken_away_again(tmp_path: Path) -> None:
    network = {"oahega_edge_camera_password": CAMERA}

    first = play(tmp_path, "credentials", {"network": network, "picamera": {}})
    again = play(tmp_path, "credentials", {"network": network})
    files = {
        str(file.relative_to(tmp_path)): (file.read_text(), oct(file.stat().st_mode & 0o777))
        for file in tmp_path.glob("*/*password")
    }
    without = play(tmp_path, "credentials", {"network": {}})

    for done in (first, again, without):
        assert done.returncode == 0, done.stdout
        assert "canary" not in done.stdout + done.stderr
    assert files == {
        "network/oahega-edge.mqtt-password": (PASSWORD, "0o400"),
        "network/oahega-edge.camera-password": (CAMERA, "0o400"),
        "picamera/oahega-edge.mqtt-password": (PASSWORD, "0o400"),
    }
    assert "changed=0" in again.stdout
    assert [file.name for file in (tmp_path / "network").iterdir()] == ["oahega-edge.mqtt-password"]


def test_samples_are_fetched_sealed_as_they_lie_there(tmp_path: Path) -> None:
    there = tmp_path / "kiosk-1/samples"
    there.mkdir(parents=True)
    files = {"00.sample": b"oahegaS1" + bytes(range(256)), "11.withdrawn": b"", "22.new": b"half", "x": b"x"}
    for name, content in files.items():
        (there / name).write_bytes(content)
    hosts = {name: {"oahega_edge_samples": str(tmp_path / "fetched")} for name in ("kiosk-1", "kiosk-2")}

    done = play(tmp_path, "samples", hosts)

    assert done.returncode == 0, done.stdout
    assert "WARNING" not in done.stdout + done.stderr
    fetched = {file.name: file.read_bytes() for file in (tmp_path / "fetched/kiosk-1").iterdir()}
    assert fetched == {name: files[name] for name in ("00.sample", "11.withdrawn")}
    assert (tmp_path / "fetched").joinpath("kiosk-1").stat().st_mode & 0o077 == 0
    assert list((tmp_path / "fetched/kiosk-2").iterdir()) == []

"""What the gate of a rollout makes of `health.shadow`, without a host: the broker's answer is a text."""

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
NEW, OLD = "b" * 64, "a" * 64

pytestmark = [
    pytest.mark.fleet,
    pytest.mark.skipif(
        ansible_folder() is None, reason="no ansible-playbook; ansible/fleet-test.sh makes .venv-ansible"
    ),
]


def shadow(state: str, faces: int, problem: str | None = None, of: str = NEW) -> dict[str, Any]:
    bundle = {"name": "new", "version": "2", "sha256": of}
    return {"bundle": bundle, "state": state, "faces": faces, "problem": problem}


def health(in_use: str, of_shadow: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "release": "1.0.0",
        "bundle_sha256": in_use,
        "uptime_s": 4000.0,
        "fps": 10.0,
        "camera": {"state": "live"},
        "accelerator": {"degraded": False, "reason": None},
        "shadow": of_shadow,
    }


NOT_USED = "bundle /b is not used: it fails its self-test"
SAID = {
    "took-over": health(NEW, shadow("passed", 120)),
    "worked-before": health(NEW, None),
    "of-another": health(NEW, shadow("refused", 80, "it failed", of=OLD)),
    "running": health(OLD, shadow("running", 12)),
    "late": health(OLD, shadow("running", 12)),
    "refused": health(OLD, shadow("refused", 80, "it gives 3 of 80 faces the same expression")),
    "few": health(NEW, shadow("passed", 12)),
    "unopened": health(OLD, None) | {"bundle_problem": NOT_USED},
    "of-an-earlier-one": health(NEW, None) | {"bundle_problem": NOT_USED},
}
"""Device -> what it says."""
LATER = {"late": health(NEW, shadow("passed", 120))}
"""Device -> what it says from some seconds after the first question on."""
OBJECTIONS = {
    "took-over": [],
    "worked-before": [],
    "of-another": [],
    "running": ["its bundle is aaaaaaaaaaaa instead of bbbbbbbbbbbb"],
    "late": [],
    "unopened": ["its bundle is aaaaaaaaaaaa instead of bbbbbbbbbbbb", NOT_USED],
    "of-an-earlier-one": [],
    "refused": [
        "its bundle is aaaaaaaaaaaa instead of bbbbbbbbbbbb",
        "in the shadow of the bundle before it was refused: it gives 3 of 80 faces the same expression",
    ],
    "few": [
        "in the shadow of the bundle before it read only 12 faces; give it more time "
        "(oahega_edge_shadow_minutes), or ask for fewer faces (oahega_edge_shadow_least_faces)"
    ],
}

BROKER = """#!/bin/sh
device=$(basename "$(dirname "$3")")
date +%s >> "{folder}/$device.asked"
read -r first < "{folder}/$device.asked"
[ $(($(date +%s) - first)) -lt 4 ] && exec cat "{folder}/$device.health"
exec cat "{folder}/$device.later"
"""
PATIENT = {
    "oahega_edge_health_timeout_s": 300,
    "oahega_edge_settings": {"health": {"interval_s": 290}},
}
"""The time for which it is waited is that of two messages, which may come much sooner."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the objections to each device and how often the broker was asked."""
    folder = tmp_path_factory.mktemp("gate")
    for device, said in SAID.items():
        (folder / f"{device}.health").write_text(json.dumps(said))
        (folder / f"{device}.later").write_text(json.dumps(LATER.get(device, said)))
    program = folder / "bin" / "mosquitto_sub"
    program.parent.mkdir()
    program.write_text(BROKER.format(folder=folder))
    program.chmod(0o755)
    expected = {"_oahega_edge_expected_release": "1.0.0", "_oahega_edge_expected_bundle": NEW}
    role = {"name": "oahega_edge", "tasks_from": "health", "public": True}
    written = {
        "content": "{{ _oahega_edge_objections | to_json }}",
        "dest": f"{folder}/{{{{ inventory_hostname }}}}.json",
    }
    plan = [
        {
            "hosts": "all",
            "gather_facts": False,
            "tasks": [{"ansible.builtin.include_role": role}, {"ansible.builtin.copy": written}],
            "vars": expected,
        }
    ]
    common = {
        "ansible_connection": "local",
        "ansible_python_interpreter": sys.executable,
        "oahega_edge_context": "development",
        "oahega_edge_release": "1.0.0",
        "oahega_edge_mqtt_host": "broker.example",
        "oahega_edge_mqtt_password": "x",
        "oahega_edge_operator_host": "localhost",
        "oahega_edge_health_timeout_s": 3,
        "_oahega_edge_health_before": {"stdout": ""},
    }
    (folder / "play.json").write_text(json.dumps(plan))
    hosts = dict.fromkeys(SAID, common) | {"late": common | PATIENT}
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}))
    ansible = ansible_folder()
    assert ansible is not None
    done = subprocess.run(
        [ansible / "ansible-playbook", "-i", folder / "hosts.json", folder / "play.json"],
        env=os.environ
        | {
            "ANSIBLE_ROLES_PATH": str(ROLES),
            "ANSIBLE_NOCOLOR": "1",
            "PATH": f"{program.parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize("device", SAID)
def test_the_gate_objects_to_a_bundle_that_was_refused_or_met_too_few_faces(device: str, told: Path) -> None:
    assert json.loads((told / f"{device}.json").read_text()) == OBJECTIONS[device]


@pytest.mark.parametrize(
    ("device", "waits"),
    [("running", True), ("late", True), ("refused", False), ("few", False), ("unopened", False)],
)
def test_it_waits_for_a_shadow_that_runs_and_not_where_that_cannot_help(
    device: str, waits: bool, told: Path
) -> None:
    asked = len((told / f"{device}.asked").read_text().splitlines())

    assert (asked > 1) is waits

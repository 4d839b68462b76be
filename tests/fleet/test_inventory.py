"""What lies beside the hosts of an inventory and is none is passed over without a warning."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from fleet import ANSIBLE, ansible_folder

pytestmark = pytest.mark.skipif(ansible_folder() is None, reason="needs Ansible (make fleet-test)")


def test_certificates_samples_and_the_log_of_rollouts_are_no_hosts(tmp_path: Path) -> None:
    (tmp_path / "inventory/authority").mkdir(parents=True)
    (tmp_path / "inventory/hosts.yml").write_text("all: {hosts: {kiosk-1: {}}}\n")
    (tmp_path / "inventory/authority/ca.key").write_text("key: no host\n")
    samples = tmp_path / "inventory/samples/kiosk-1"
    samples.mkdir(parents=True)
    (samples / f"{'0' * 32}.sample").write_bytes(b"oahegaS1" + bytes(range(256)))
    (samples / f"{'1' * 32}.withdrawn").touch()
    for name in ("rollouts.jsonl", "changes.2026.jsonl"):
        (tmp_path / "inventory" / name).write_text('{"time": "2026-11-26T09:00:00Z", "user": "a"}\n' * 2)
    folder = ansible_folder()
    assert folder is not None
    told = {
        "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"),
        "ANSIBLE_HOME": str(tmp_path),
        "LC_ALL": "C.UTF-8",
    }

    done = subprocess.run(
        [str(folder / "ansible-inventory"), "-i", str(tmp_path / "inventory"), "--list"],
        env={"PATH": os.environ["PATH"], **told},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stderr == ""
    assert json.loads(done.stdout)["ungrouped"]["hosts"] == ["kiosk-1"]

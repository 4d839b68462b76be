"""The commands for a fleet in the chapter of docs/learning.md on the shadow: books and variables exist."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
import yaml

from documents import ROOT, blocks
from fleet import ansible_folder

PAGE, CHAPTER = "docs/learning.md", "Roll out with proof"
ANSIBLE = ROOT / "ansible"


def variables_of_the_role() -> set[str]:
    defaults = (ANSIBLE / "roles/oahega_edge/defaults/main.yml").read_text(encoding="utf-8")
    return set(yaml.safe_load(defaults))


def test_the_variables_of_the_chapter_are_the_roles() -> None:
    (chosen,) = blocks(PAGE, CHAPTER, "yaml")
    _, fleet = blocks(PAGE, CHAPTER)

    named = {*yaml.safe_load(chosen), *re.findall(r"-e (\w+)=", fleet)}

    assert named == {"oahega_edge_shadow_minutes", "oahega_edge_bundle"}
    assert named <= variables_of_the_role()


@pytest.mark.fleet
@pytest.mark.skipif(
    ansible_folder() is None, reason="no ansible-playbook; ansible/fleet-test.sh makes .venv-ansible"
)
@pytest.mark.parametrize("number", [0, 1])
def test_ansible_understands_the_commands(number: int) -> None:
    _, fleet = blocks(PAGE, CHAPTER)
    program, *words = shlex.split(fleet.splitlines()[number].replace("inventory/mine", "inventory/example"))

    done = subprocess.run(
        [f"{ansible_folder()}/{program}", *words, "--syntax-check"],
        cwd=ANSIBLE,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr

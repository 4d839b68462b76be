"""What the role `archive` writes: its units, and a night's work with a real PostgreSQL."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from edge.mqtt_samples import events
from oahega_edge.archive.address import connect
from oahega_edge.archive.records import KeptEvent
from oahega_edge.archive.store import Batch, Store
from postgres import Postgres, postgres
from processes import environment

__all__ = ["postgres"]

ROLE = Path(__file__).resolve().parents[2] / "ansible/roles/archive"
WORKER = "oahega-edge-archive@.service"
UNITS = (
    WORKER,
    "oahega-edge-archive-leave@.service",
    "oahega-archive-keep.service",
    "oahega-archive-keep.timer",
)
needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")


def rendered(name: str, **changes: Any) -> str:
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(ROLE / "templates"), trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    templates.filters["quote"] = shlex.quote
    given: dict[str, Any] = {}
    for kind in ("defaults", "vars"):
        given |= yaml.safe_load((ROLE / kind / "main.yml").read_text())
    given["_archive_store"] = given["_archive_store"].replace(
        "{{ _archive_database }}", given["_archive_database"]
    )
    return templates.get_template(f"{name}.j2").render(given | changes)


@needs_analyze
@pytest.mark.parametrize("unit", [name for name in UNITS if name.endswith(".service")])
def test_a_unit_is_hardly_exposed(unit: str, tmp_path: Path) -> None:
    path = tmp_path / unit.replace("@", "@1")
    path.write_text(rendered(unit))

    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(path)],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip

    found = re.search(r"exposure level for \S+: ([\d.]+)", said)
    assert found is not None, said
    assert float(found[1]) <= 2.0, said


@pytest.mark.parametrize("unit", [name for name in UNITS if name.endswith(".service")])
def test_a_call_that_a_unit_may_not_make_fails_and_does_not_kill(unit: str) -> None:
    """NumPy's library asks where its memory lies as it is loaded, and does without an answer."""
    assert "\nSystemCallErrorNumber=EPERM\n" in rendered(unit)


@pytest.mark.parametrize(
    ("changes", "account", "authority"),
    [
        ({}, "--username archive ", False),
        ({"archive_broker": "mqtts://mqtt.example.org", "archive_ca": "PEM"}, "--username archive-%i ", True),
    ],
)
def test_over_tls_each_worker_has_an_account_of_its_own(
    changes: dict[str, str], account: str, authority: bool
) -> None:
    unit = rendered(WORKER, **changes)

    assert account in unit
    assert "--client-id archive-%i " in unit  # so that both ways are one session
    assert ("--ca-file" in unit) is authority
    assert '--to "postgresql:///oahega-archive?host=/run/postgresql" --worker %i' in unit


def test_every_variable_is_explained_and_has_a_type() -> None:
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    options = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"][
        "options"
    ]
    readme = (ROLE / "README.md").read_text()

    assert set(options) == {*defaults, "archive_release", "archive_password"}
    assert all(f"`{name}`" in readme for name in options)


def test_a_night_makes_a_backup_that_restores_and_deletes_what_is_old(
    postgres: Postgres, tmp_path: Path
) -> None:
    url, other = postgres.fresh("night"), postgres.fresh("night_restored")
    now = datetime.now(UTC)
    with contextlib.closing(Store(connect(url))) as store:
        kept = [KeptEvent.model_validate_json(each.to_json()) for each in events(4)]
        aged = [each.model_copy(update={"time": now - timedelta(days=60 * n)}) for n, each in enumerate(kept)]
        store.write(Batch(list(aged)))
    folder, home = tmp_path / "backups", tmp_path / "home"
    folder.mkdir()
    (home / "current/bin").mkdir(parents=True)
    program = home / "current/bin/oahega-edge"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m oahega_edge "$@"\n')
    program.chmod(0o755)
    script = rendered(
        "oahega-archive-keep", archive_backup_folder=str(folder), _archive_store=url, _archive_home=str(home)
    )

    done = subprocess.run(
        ["sh", "-c", script], env=environment(), capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    (made,) = folder.iterdir()
    with contextlib.closing(connect(url)) as database:
        assert database.execute("SELECT count(*) FROM events") == [(2,)]
        assert database.execute("SELECT sum(events) FROM event_hours") == [(4,)]
    subprocess.run(["pg_restore", "--dbname", other, str(made)], check=True, capture_output=True)
    with contextlib.closing(connect(other)) as database:
        assert database.execute("SELECT count(*) FROM events") == [(4,)]
        assert database.execute("SELECT count(*) FROM gaps") == [(0,)]

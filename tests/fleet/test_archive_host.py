"""The role `archive` on the broker's booted host: installed, killed, cut off, backed up, restored (long).

The role installs PostgreSQL from Debian's packages, which lie on the host. A real daemon, a process of this
machine, publishes what it sees, and a client a flood of made events. The tests are one story.
OAHEGA_ARCHIVE_SUITE=trixie takes a host of Debian Trixie.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from edge.mqtt_samples import event, stamp
from fleet import BROKER_NAME, DASHBOARD, Fleet, Outcome
from fleet_hosts import Host, wait_for
from fleet_tree import ARCHIVE_SUITE, CACHE, PYTHON, ROOT
from oahega_edge import __version__
from processes import environment
from waiting import await_end, beside

pytestmark = [pytest.mark.fleet, pytest.mark.long]

DATABASE = "oahega-archive"
STORE = f"postgresql:///{DATABASE}?host=/run/postgresql"
PROGRAM = "/opt/oahega-archive/current/bin/oahega-edge"
BACKUPS = "/var/backups/oahega-archive"
FIRST, SECOND = (f"oahega-edge-archive@{number}.service" for number in (1, 2))
SERVER = {"bookworm": "15", "trixie": "17"}[ARCHIVE_SUITE]
NIGHT, POSTGRESQL = "oahega-archive-keep.service", f"postgresql@{SERVER}-main.service"
PASSWORD = "the-password-of-the-archive"
SEER, FLOOD = "archive-seer", "archive-flood"
"""Devices: a daemon that sees faces, and a client that publishes made events."""
QUEUED = 250_000
KEPT = "SELECT count(*), count(DISTINCT id) FROM events WHERE boot_id = '{}'"
TABLES = ("events", "event_hours", "visit_hours", "boots", "devices", "archive_version")


@dataclass
class Site:
    """The broker's host with the archive on it."""

    fleet: Fleet

    @property
    def host(self) -> Host:
        return self.fleet.broker

    def play(self, *arguments: str, **variables: object) -> Outcome:
        return self.fleet.play("playbooks/archive.yml", *arguments, **variables)

    def ask(self, sql: str) -> list[str]:
        """Rows as text, with | between columns; none while the database is away."""
        psql = ("psql", "--no-psqlrc", "-Atq", "--dbname", DATABASE, "--command", sql)
        return self.host.inside("runuser", "-u", "oahega-archive", "--", *psql, check=False).splitlines()

    def verb(self, *words: str) -> str:
        return self.host.inside("runuser", "-u", "oahega-archive", "--", PROGRAM, *words)

    def has(self, boot: str, count: int) -> bool:
        return self.ask(KEPT.format(boot)) == [f"{count}|{count}"]

    def publish(self, lines: Sequence[str]) -> None:
        """Over the broker's loopback; returns when the broker has all."""
        login = ("-h", "127.0.0.1", "-u", FLOOD, "-P", PASSWORD, "-V", "mqttv5")
        client = ("mosquitto_pub", *login, "-q", "1", "-t", f"oahega/v1/{FLOOD}/event", "-l")
        subprocess.run(
            self.host.entering(*client), input="".join(f"{line}\n" for line in lines), text=True, check=True
        )

    def systemctl(self, *words: str) -> str:
        return self.host.inside("systemctl", *words).strip()

    def kill(self, unit: str) -> None:
        """SIGKILL to its first process; returns when systemd has started it again."""
        before = self.pid(unit)
        self.systemctl("kill", "--kill-who=main", "--signal=SIGKILL", unit)
        wait_for(lambda: self.is_active(unit) and self.pid(unit) not in ("0", before), f"{unit} is back")

    def pid(self, unit: str) -> str:
        return self.systemctl("show", "--value", "--property=MainPID", unit)

    def is_active(self, unit: str) -> bool:
        return self.host.inside("systemctl", "is-active", unit, check=False).strip() == "active"

    def backup(self) -> str:
        """Its path on the host."""
        before = set(self._backups())
        self.systemctl("start", NIGHT)
        (made,) = set(self._backups()) - before
        return made

    def figures(self) -> dict[str, list[str]]:
        """What a restored store must have again."""
        return {table: self.ask(f"SELECT * FROM {table} ORDER BY 1, 2, 3") for table in TABLES[:-1]} | {
            "archive_version": self.ask("SELECT max(version) FROM archive_version")
        }

    def _backups(self) -> list[str]:
        return self.host.inside("find", BACKUPS, "-name", "*.dump").split()


@contextlib.contextmanager
def seeing(fleet: Fleet) -> Iterator[None]:
    """A daemon that sees the faces of the fleet's clip."""
    own = fleet.folder / SEER
    own.mkdir(exist_ok=True)
    (own / "password").write_text(PASSWORD)
    (own / "password").chmod(0o600)
    (own / "edge.toml").write_text(f"""
        [deployment]
        context = "development"
        [device]
        name = "{SEER}"
        [camera]
        source = "loop:{fleet.folder / "clip.mp4"}"
        fps = 3
        [mqtt]
        host = "{fleet.broker.address}"
        port = 8883
        tls = "on"
        ca_file = "{fleet.inventory / "authority/ca.pem"}"
        username = "{SEER}"
        password_file = "{own / "password"}"
        """)
    folders = environment(STATE_DIRECTORY=str(own), RUNTIME_DIRECTORY=str(own))
    command = [sys.executable, "-m", "oahega_edge", "run", f"--config={own / 'edge.toml'}"]
    with (own / "log").open("w") as log:
        daemon = subprocess.Popen(command, env=folders, stderr=log)
    try:
        yield
    finally:
        daemon.kill()
        daemon.wait()


def made(boot: str, count: int, days_ago: int = 0) -> list[str]:
    """Events that this start of the flood's device numbers from 0."""
    maker = stamp(FLOOD, boot)
    return [
        one.model_copy(update={"time": one.time - timedelta(days=days_ago)}).to_json()
        for one in (event(maker, f"t{number % 8}") for number in range(count))
    ]


@pytest.fixture(scope="module")
def wheelhouse() -> Path:
    """What `make wheelhouse FOR=archive` makes."""
    folder = CACHE / "archive-wheelhouse"
    command = [ROOT / "ansible/wheelhouse.sh", os.uname().machine, PYTHON[ARCHIVE_SUITE], folder]
    chosen = os.environ | {"RUN_PYTHON": sys.executable, "FOR": "archive"}
    subprocess.run(command, env=chosen, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def broker_alone(fresh_fleet: Fleet, wheelhouse: Path) -> Iterator[Site]:
    """The broker knows the archive's accounts; the archive is not there."""
    read = [f"oahega/v1/+/{kind}" for kind in ("event", "summary", "health", "availability")]
    archives = {name: {"password": PASSWORD, "read": read} for name in ("archive", "archive-1", "archive-2")}
    dashboard = {"password": "{{ vault_dashboard_password }}", "read": ["#"]}
    devices = dict.fromkeys((SEER, FLOOD), PASSWORD)
    written = {
        "archive.json": {"archive": {"hosts": {fresh_fleet.broker.name: {}}}},
        "group_vars/archive/test.json": {
            "archive_release": __version__,
            "archive_password": PASSWORD,
            "archive_wheelhouses": str(wheelhouse),
        },
        "group_vars/broker/with-archive.json": {  # after test.json, whose accounts it replaces
            "mosquitto_max_queued_messages": QUEUED,
            "mosquitto_devices": f"{{{{ vault_mqtt_passwords | combine({devices}) }}}}",
            "mosquitto_subscribers": {DASHBOARD: dashboard, **archives},
        },
    }
    for name, content in written.items():
        file = fresh_fleet.inventory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
    done = fresh_fleet.play("playbooks/broker.yml")
    assert done.code == 0, done.text[-6000:]
    yield Site(fresh_fleet)
    for name in written:
        (fresh_fleet.inventory / name).unlink()


@pytest.fixture(scope="module")
def site(broker_alone: Site) -> Site:
    """With the archive."""
    done = broker_alone.play()
    assert done.code == 0, done.text[-6000:]
    assert PASSWORD not in done.text
    broker_alone.fleet.note("first installation of the archive", done)
    return broker_alone


def test_a_check_succeeds_on_a_host_without_postgresql_and_changes_nothing(broker_alone: Site) -> None:
    checked = broker_alone.play("--check", "--diff")

    assert checked.code == 0, checked.text[-6000:]
    assert PASSWORD not in checked.text
    assert broker_alone.host.inside("sh", "-c", "ls -d /opt/oahega-* /etc/postgresql", check=False) == ""


def test_a_second_run_changes_nothing(site: Site) -> None:
    workers = [site.pid(unit) for unit in (FIRST, SECOND)]

    done = site.play()

    assert done.code == 0, done.text[-6000:]
    assert done.total("changed") == 0, done.text[-6000:]
    assert workers == [site.pid(unit) for unit in (FIRST, SECOND)]
    site.fleet.note("second run of the archive's play", done)


def test_the_broker_keeps_what_the_inventory_says(site: Site) -> None:
    written = site.host.inside("cat", "/etc/mosquitto/mosquitto.conf")

    assert f"\nmax_queued_messages {QUEUED}\n" in written


def test_what_a_daemon_and_a_flood_publish_is_there_once_though_units_are_killed(site: Site) -> None:
    choose, boot, count = random.Random(20), "boot-kills", 0
    lines = made(boot, 4_000)
    topic = f"oahega/v1/{SEER}/event"
    listen = ("mosquitto_sub", *site.fleet.login(DASHBOARD), "-q", "1", "-t", topic)
    victims = {FIRST: 0, SECOND: 0, POSTGRESQL: 0}
    heard_at = site.fleet.folder / "heard.jsonl"
    with heard_at.open("w") as heard, seeing(site.fleet):
        listener = subprocess.Popen(site.host.entering(*listen), stdout=heard)
        try:
            wait_for(lambda: heard_at.stat().st_size, "the first event of the daemon", 300)
            for number in range(10):
                site.publish(lines[400 * number : 400 * number + 200])
                victim = list(victims)[number] if number < 3 else choose.choice(list(victims))
                killing = beside(lambda unit=victim: site.kill(unit))
                site.publish(lines[400 * number + 200 : 400 * number + 400])
                await_end(killing)
                victims[victim] += 1
                count += 400
            size = heard_at.stat().st_size
            wait_for(lambda: heard_at.stat().st_size > size + 2_000, "more events of the daemon", 300)
        finally:
            listener.kill()
            listener.wait()

    wait_for(lambda: site.has(boot, count), f"{count} events; there are {site.ask(KEPT.format(boot))}")
    told = [json.loads(line) for line in heard_at.read_text().splitlines() if line.endswith("}")]
    seen = {one["id"] for one in told}
    wait_for(lambda: seen <= set(site.ask("SELECT id FROM events")), "what the daemon saw")
    assert seen
    assert len(set(site.ask("SELECT id FROM events"))) == len(site.ask("SELECT id FROM events"))
    assert site.ask("SELECT * FROM gaps") == []
    print(f"\nkilled: {victims}; {count} events of the flood and {len(seen)} of a daemon, each once")


def test_what_comes_while_the_workers_are_stopped_waits_at_the_broker(site: Site) -> None:
    site.systemctl("stop", FIRST, SECOND)

    site.publish(made("boot-away", 3_000))
    between = site.ask(KEPT.format("boot-away"))
    site.systemctl("start", FIRST, SECOND)

    assert between == ["0|0"]
    wait_for(lambda: site.has("boot-away", 3_000), "3,000 events, more than mosquitto keeps by default")


def test_the_unit_without_the_role_keeps_an_archive_of_its_own_in_a_duckdb_file(site: Site) -> None:
    unit, lines = "oahega-edge-archive.service", made("boot-unit", 400)
    store = "/var/lib/oahega-archive/archive.duckdb"
    options = "--name trial --username archive --metrics 9200"
    password = f"/run/credentials/{unit}/archive-password"
    files = {
        f"etc/systemd/system/{unit}": (ROOT / "systemd" / unit).read_text(),
        "etc/oahega-edge/archive.env": f"ARCHIVE_BROKER=127.0.0.1:1883\nARCHIVE_STORE=duckdb:archive.duckdb\n"
        f"ARCHIVE_OPTIONS={options} --password-file {password}\n",
        "etc/credstore/oahega-edge.archive-password": PASSWORD,
    }
    for name, content in files.items():
        site.host.inside("mkdir", "--parents", f"/{Path(name).parent}", "/opt/oahega-edge")
        (site.host.root / name).write_text(content)
    site.host.inside(
        "ln", "--symbolic", "--no-dereference", "--force", "/opt/oahega-archive/current", "/opt/oahega-edge"
    )
    said = ("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    site.systemctl("daemon-reload")
    site.systemctl("start", unit)
    wait_for(lambda: "Subscribed" in site.host.inside(*said), "the session")
    site.publish(lines[:200])
    site.kill(unit)
    site.publish(lines[200:])
    read = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9200/metrics').read().decode())"
    figures = ("python3", "-c", read)
    wait_for(lambda: "oahega_archive_batches_total" in site.host.inside(*figures, check=False), "its figures")
    wait_for(lambda: site.has("boot-unit", 400), "the other archive has them, too")
    site.systemctl("stop", unit)

    leave = ("archive", "127.0.0.1:1883", "--to", f"duckdb:{store}", *options.split()[:4], "--leave")
    site.host.inside(PROGRAM, *leave, "--password-file", "/etc/credstore/oahega-edge.archive-password")
    count = (
        f"import duckdb; print(duckdb.connect('{store}').execute(\"{KEPT.format('boot-unit')}\").fetchall())"
    )
    assert site.host.inside(PROGRAM.replace("oahega-edge", "python"), "-c", count).strip() == "[(400, 400)]"
    assert "page" in site.host.inside(PROGRAM, "insight", f"duckdb:{store}", "--out", "/tmp/report")


def test_a_night_deletes_old_events_and_leaves_a_backup_from_before_for_the_archive_only(site: Site) -> None:
    site.publish(made("boot-old", 50, days_ago=200))
    wait_for(lambda: site.has("boot-old", 50), "old events")

    file = site.backup()

    assert site.has("boot-old", 0)
    hours = "SELECT sum(events) FROM event_hours WHERE hour < now() - interval '150 days'"
    assert site.ask(hours) == ["50"]
    assert site.host.inside("stat", "--format=%a %U", file).strip() == "600 oahega-archive"
    assert "boot-old" in site.host.inside("pg_restore", "--data-only", "--table=boots", "--file=-", file)
    assert site.systemctl("is-enabled", "oahega-archive-keep.timer") == "enabled"


def test_a_backup_fills_a_new_database_and_what_waited_at_the_broker_follows(site: Site) -> None:
    only_database = "--tags=archive_database"
    site.systemctl("stop", FIRST, SECOND)
    before, file = site.figures(), site.backup()
    site.publish(made("boot-lost", 500))
    refused = site.play(only_database, archive_restore=file)
    site.host.inside("runuser", "-u", "postgres", "--", "dropdb", DATABASE)
    broken = site.play(only_database, archive_restore="/etc/hostname")

    done = site.play(only_database, archive_restore=file)

    assert refused.code != 0
    assert "archive_restore fills a new database only" in refused.said
    assert broken.code != 0
    assert "does not appear to be a valid archive" in broken.said
    assert done.code == 0, done.text[-6000:]
    assert site.figures() == before
    site.systemctl("start", FIRST, SECOND)
    wait_for(lambda: site.has("boot-lost", 500), "what waited meanwhile")
    wait_for(lambda: site.has("boot-kills", 4_000), "what was in the backup")


def test_after_a_power_cut_the_archive_goes_on_by_itself(site: Site) -> None:
    before = site.ask(KEPT.format("boot-away"))
    site.host.cut_power()
    site.host.boot()
    site.host.wait_booted()

    wait_for(lambda: site.is_active(FIRST) and site.is_active(SECOND), "the workers")
    assert before == ["3000|3000"]
    wait_for(lambda: site.ask(KEPT.format("boot-away")) == before, "what was there")
    for unit in (FIRST, SECOND):  # mosquitto has forgotten their shared subscriptions
        said = ("journalctl", "--boot", "--no-pager", "--output=cat", f"--unit={unit}")
        wait_for(lambda said=said: "Subscribed" in site.host.inside(*said), "the workers have subscribed")
    site.publish(made("boot-after", 100))
    wait_for(lambda: site.has("boot-after", 100), "new events")


def test_a_device_is_forgotten_whole(site: Site) -> None:
    said = site.verb("forget", STORE, FLOOD)

    assert json.loads(said)["events"] == 4_000 + 3_000 + 400 + 500 + 100
    for table in ("events", "boots", "event_hours"):
        assert site.ask(f"SELECT DISTINCT device FROM {table}") == [SEER]


def test_a_change_to_tls_and_a_worker_less_cost_no_event(site: Site) -> None:
    authority = (site.fleet.inventory / "authority/ca.pem").read_text()
    secured = {"archive_broker": f"mqtts://{BROKER_NAME}", "archive_ca": authority}
    boot, lines = "boot-tls", made("boot-tls", 1_200)

    site.systemctl("stop", FIRST, SECOND)
    site.publish(lines[:300])  # waits in the sessions of the loopback
    done = site.play("--tags=archive_configure,archive_run", **secured)
    assert done.code == 0, done.text[-6000:]
    accounts = site.host.inside("journalctl", "--no-pager", "--output=cat", "--unit=mosquitto")
    site.publish(lines[300:600])
    wait_for(lambda: site.has(boot, 600), f"600 events; there are {site.ask(KEPT.format(boot))}")

    site.systemctl("stop", SECOND)
    site.publish(lines[600:900])  # a half waits for the second worker
    fewer = site.play("--tags=archive_run", archive_workers=1, **secured)
    assert fewer.code == 0, fewer.text[-6000:]
    site.publish(lines[900:])
    wait_for(lambda: site.has(boot, 1_200), f"1,200 events; there are {site.ask(KEPT.format(boot))}")

    assert site.ask("SELECT * FROM gaps") == []
    assert "u'archive-1'" in accounts
    assert "u'archive-2'" in accounts
    assert site.is_active(FIRST)
    assert not site.is_active(SECOND)
    state = site.host.inside("systemctl", "is-enabled", SECOND, check=False).strip()
    assert state == "disabled"

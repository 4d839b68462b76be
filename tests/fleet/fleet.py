"""A test fleet: hosts, a broker, an inventory with a vault, and the operator's commands."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from fleet_coral import make_deb, make_wheel, named_with_digest
from fleet_hosts import NETWORK, Bridge, Host, end_leftovers, stop_all, wait_for
from fleet_releases import Releases
from fleet_tree import CACHE, ensure_tree
from oahega_edge.tools.demo_clip import write_demo_clip

ROOT = Path(__file__).resolve().parents[2]
ANSIBLE = ROOT / "ansible"
SHORT = Path("/tmp")
"""A socket's path has at most 107 bytes."""
BROKER_NAME = "mqtt.fleet.test"
HEALTH_S = 2
"""Seconds between two health messages of a test host."""
OPERATOR, DASHBOARD = "fleet-operator", "dashboard"
"""Accounts at the broker: the operator reads health; the dashboard reads everything and sends commands."""
SETTINGS = {
    "camera": {"source": "loop:/srv/clip.mp4", "fps": 3},
    "health": {"interval_s": HEALTH_S},
}

SEES_NOBODY = SETTINGS | {"detection": {"face_score": 1.0, "person_score": 1.0}}
"""Of most devices, which saves computing time."""


def ansible_folder() -> Path | None:
    """The folder of ansible-playbook: OAHEGA_ANSIBLE, `.venv-ansible` of the checkout, or PATH."""
    named = os.environ.get("OAHEGA_ANSIBLE")
    places = [Path(named)] if named else [ROOT / ".venv-ansible/bin"]
    found = shutil.which(
        "ansible-playbook", path=os.pathsep.join([*map(str, places), os.environ.get("PATH", "")])
    )
    return Path(found).parent if found else None


@dataclass(frozen=True)
class Outcome:
    """The output and the result of a playbook."""

    code: int
    text: str
    seconds: float

    @cached_property
    def said(self) -> str:
        """The text on one line, because the callback wraps lines at arbitrary places."""
        return " ".join(self.text.split())

    @cached_property
    def recap(self) -> dict[str, dict[str, int]]:
        """Per host: ok, changed, unreachable, failed, skipped, rescued, ignored."""
        tail = self.text.rpartition("PLAY RECAP")[2]
        return {
            host: {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", counts)}
            for host, counts in re.findall(r"^(\S+)\s+: (ok=.*)$", tail, re.MULTILINE)
        }

    @property
    def visited(self) -> set[str]:
        """Hosts that were contacted: more of their tasks returned than those about the batch."""
        return {host for host, counts in self.recap.items() if counts["ok"] > counts["failed"] + 3}

    def total(self, key: str) -> int:
        return sum(counts[key] for counts in self.recap.values())


@dataclass(frozen=True)
class Running:
    """What a device runs. Equal values before and after mean that the device was not touched."""

    release: str
    bundle: str
    pid: str
    settings: str


@dataclass
class Fleet:
    """Booted hosts and the operator's folder."""

    folder: Path
    broker: Host
    devices: list[Host]
    releases: Releases
    passwords: dict[str, str]
    """Password of each account at the broker."""
    timings: list[str] = field(default_factory=list)

    @property
    def inventory(self) -> Path:
        return self.folder / "inventory"

    @property
    def secrets(self) -> list[str]:
        """Values that must never be printed."""
        key = (self.inventory / "authority/broker.key").read_text().splitlines()[1]
        return [*self.passwords.values(), key]

    def note(self, what: str, outcome: Outcome) -> None:
        """Add a line to the table of timings."""
        self.timings.append(f"{outcome.seconds:6.0f} s  {what}")

    def play(self, book: str, *arguments: str, callback: str = "", **variables: Any) -> Outcome:
        """Run a playbook as the operator would. `variables` are extra variables."""
        command = self._command(book, *arguments, **variables)
        started = time.monotonic()
        environment = self._environment | ({"ANSIBLE_STDOUT_CALLBACK": callback} if callback else {})
        done = subprocess.run(command, cwd=ANSIBLE, env=environment, capture_output=True, text=True)
        seconds = time.monotonic() - started
        outcome = Outcome(done.returncode, done.stdout if callback else done.stdout + done.stderr, seconds)
        with (self.folder / "plays.log").open("a") as log:
            log.write(f"### {' '.join(command)}\n{outcome.text}\n### {seconds:.0f} s\n")
        return outcome

    @contextmanager
    def playing(self, book: str, *arguments: str, **variables: Any) -> Iterator[subprocess.Popen[str]]:
        """Run a playbook in the background, while the test interferes."""
        with subprocess.Popen(
            self._command(book, *arguments, **variables),
            cwd=ANSIBLE,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            yield process

    def installed(self) -> bool:
        return all(Path(f"{host.root}/opt/oahega-edge/current").is_symlink() for host in self.devices)

    def install_where_absent(self) -> None:
        if self.installed():
            return
        done = self.play("site.yml")
        assert done.code == 0, done.text[-6000:]
        self.note(f"first installation of {len(self.devices)} hosts and the broker", done)

    @contextmanager
    def canary_with(self, **variables: Any) -> Iterator[Host]:
        """The canary while these are variables of its group, rolled out; afterwards it is as before."""
        file, canary = self.inventory / "group_vars/canary/test.json", self.devices[0]
        only = ("playbooks/rollout.yml", "--limit", canary.name)
        _write_json(file, variables)
        try:
            given = self.play(*only)
            assert given.code == 0, given.text[-6000:]
            yield canary
        finally:
            file.unlink()
            taken = self.play(*only)
        assert taken.code == 0, taken.text[-6000:]

    def running(self, host: Host) -> Running:
        return Running(
            release=host.inside("readlink", "/opt/oahega-edge/current").strip().rpartition("/")[2],
            bundle=host.inside("readlink", "/var/lib/oahega-edge/bundles/current").strip().rpartition("/")[2],
            pid=host.inside("systemctl", "show", "-p", "MainPID", "--value", "oahega-edge").strip(),
            settings=host.inside("sha256sum", "/etc/oahega-edge/edge.toml").split()[0],
        )

    def health(self, host: Host) -> dict[str, Any]:
        """The next live health message of a device that has run for at least three seconds."""

        def heard() -> dict[str, Any] | None:
            topic = f"oahega/v1/{host.name}/health"
            listen = ["mosquitto_sub", "-R", "-t", topic, "-C", "1", "-W", "10"]
            text = self.broker.inside(
                "env", "XDG_CONFIG_HOME=/etc/mosquitto/operator", *listen, check=False
            ).strip()
            message: dict[str, Any] = json.loads(text) if text else {}
            return message if message.get("uptime_s", 0) > 3 else None

        heard_of: dict[str, Any] = wait_for(heard, f"a health message from {host.name}")
        return heard_of

    def event(self, host: Host) -> dict[str, Any]:
        """The next event of a device, as the dashboard hears it."""
        topic = f"oahega/v1/{host.name}/event"
        listen = ("mosquitto_sub", *self.login(DASHBOARD), "-t", topic, "-C", "1", "-W", "60")
        return dict(json.loads(self.broker.inside(*listen)))

    def publish(self, account: str, topic: str, text: str, password: str = "") -> str:
        """Publish with an account's password or another one. Returns the client's error message."""
        return self.broker.inside(
            *("sh", "-c", 'exec "$@" 2>&1', "sh", "mosquitto_pub", *self.login(account, password)),
            *("-V", "mqttv5", "-q", "1", "-t", topic, "-m", text),
            check=False,
        )

    def login(self, account: str, password: str = "") -> list[str]:
        """Options of mosquitto's clients on the broker's host."""
        server = ["-h", BROKER_NAME, "-p", "8883", "--cafile", "/etc/mosquitto/operator/ca.pem"]
        return [*server, "-u", account, "-P", password or self.passwords[account]]

    def change_passwords(self) -> None:
        """Write new passwords for all devices into the vault."""
        self.passwords.update({host.name: secrets.token_urlsafe(24) for host in self.devices})
        _write_vault(self)

    def assert_healthy(self, host: Host, release: str) -> None:
        """Frames go through this release; a busy machine may have had none since the last message."""

        def is_healthy() -> bool:
            said = self.health(host)
            assert said["release"] == release
            return said["camera"]["state"] == "live" and said["fps"] > 0

        wait_for(is_healthy, f"frames from {host.name}")

    def assert_only_canary_restarted(self, before: Mapping[str, Running]) -> None:
        """The canary runs the same as before in a new process; the other devices run the same processes."""
        canary, *others = self.devices
        now, was = self.running(canary), before[canary.name]
        assert (now.release, now.bundle, now.settings) == (was.release, was.bundle, was.settings)
        assert now.pid != was.pid
        for host in others:
            assert self.running(host) == before[host.name]

    def _command(self, book: str, *arguments: str, **variables: Any) -> list[str]:
        folder = ansible_folder()
        assert folder is not None
        extra = [part for item in variables.items() for part in ("-e", json.dumps(dict([item])))]
        return [str(folder / "ansible-playbook"), "-i", str(self.inventory), book, *extra, *arguments]

    @property
    def _environment(self) -> dict[str, str]:
        folder = ansible_folder()
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
            "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}",
            "ANSIBLE_CONFIG": str(ANSIBLE / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.folder / "ansible-home"),
            "ANSIBLE_VAULT_PASSWORD_FILE": str(self.folder / "vault-password"),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(control_sockets()),
            "ANSIBLE_SSH_ARGS": (
                "-o ControlMaster=auto -o ControlPersist=60s -o ConnectTimeout=20 "
                "-o ServerAliveInterval=2 -o ServerAliveCountMax=10"
            ),
            "ANSIBLE_SSH_RETRIES": "0",
            "ANSIBLE_FORCE_COLOR": "0",
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }


def status_table(healths: Mapping[str, Mapping[str, Any]], now: str) -> dict[str, str]:
    """The line of each device in the table of status.yml, for these health messages at the broker."""
    table = status_text(healths, now)
    return {line.split()[0]: line for line in table.splitlines()[1:]}


def status_text(healths: Mapping[str, Mapping[str, Any]], now: str, **variables: str) -> str:
    """What status.yml prints at this moment."""
    usual = {
        **{"release": "0.9.1", "bundle_sha256": "a" * 64, "fps": 3.0, "camera": {"state": "live"}},
        **{"accelerator": {"active": "cpu", "degraded": False}, "delivery": {}},
        "system": {"temperature_c": None, "undervoltage": None},
    }
    lines = [
        f"oahega/v1/{device}/health {json.dumps({**usual, **health})}" for device, health in healths.items()
    ]
    known = {
        "oahega_edge_mqtt_root": "oahega/v1",
        "_oahega_edge_fleet": {"stdout_lines": lines},
        "_oahega_edge_now": now,
        **variables,
    }
    template = ANSIBLE / "roles/oahega_edge/templates/status.txt.j2"
    folder = ansible_folder()
    assert folder is not None
    done = subprocess.run(
        [
            *(folder / "ansible", "all", "-i", f"{','.join(healths)},", "-c", "local", "-m", "debug"),
            *(
                "-e",
                json.dumps(known),
                "-a",
                f"msg={{{{ lookup('ansible.builtin.template', '{template}') }}}}",
            ),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "ANSIBLE_NOCOLOR": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Every device prints the same table; read the first.
    told = json.JSONDecoder().raw_decode(done.stdout.partition("=> ")[2])[0]["msg"]
    return told if isinstance(told, str) else json.dumps(told)  # Ansible reads JSON back into values


@contextmanager
def booted_fleet(
    count: int, releases: Releases, release: str, broker_tree: Path | None = None
) -> Iterator[Fleet]:
    """A broker and `count` devices without an installation. The first is the canary, the last has extras."""
    folder = CACHE / "fleet"
    with _alone(), Bridge() as bridge:
        _clear(folder)
        folder.mkdir(parents=True)
        key = _ssh_key(folder, {ensure_tree(), broker_tree or ensure_tree()})
        # Faces that the embedded models detect, at a rate that many hosts on one machine can keep.
        clip = write_demo_clip(folder / "clip.mp4", fps=3).read_bytes()
        trees = {"mqtt": broker_tree or ensure_tree()}
        hosts = [
            Host(name, 10 + number, trees.get(name, ensure_tree()), folder / name, bridge)
            for number, name in enumerate(["mqtt", *(f"edge-{i + 1}" for i in range(count))])
        ]
        names = f"127.0.0.1 localhost\n{NETWORK}.10 {BROKER_NAME}\n127.0.1.1 "
        try:
            for host in hosts:
                files = {
                    "etc/hosts": f"{names}{host.name}\n",
                    "srv/clip.mp4": clip,
                    "home/pi/.ssh/authorized_keys": key,
                }
                host.insert_disk(files)
                host.boot()
            for host in hosts:
                host.wait_booted()
            accounts = [OPERATOR, DASHBOARD, *(host.name for host in hosts[1:])]
            passwords = {account: secrets.token_urlsafe(24) for account in accounts}
            fleet = Fleet(folder, hosts[0], hosts[1:], releases, passwords)
            _write_inventory(fleet, release)
            yield fleet
        finally:
            stop_all(hosts)
            shutil.rmtree(control_sockets(), ignore_errors=True)


def control_sockets(pid: int | None = None, place: Path = SHORT) -> Path:
    """Where the SSH connections of a run of this process have their sockets."""
    return place / f"oahega-fleet-{pid or os.getpid()}"


def clear_control_sockets(place: Path) -> None:
    """Remove those of runs that were killed: nothing of such a run is left to do it."""
    for folder in place.glob("oahega-fleet-*"):
        pid = folder.name.removeprefix("oahega-fleet-")
        if pid.isdecimal() and not Path("/proc", pid).exists():
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _alone() -> Iterator[None]:
    """Allow one fleet at a time on this machine; the next one waits."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "fleet.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _clear(folder: Path) -> None:
    """Remove what an earlier, killed run left behind."""
    end_leftovers("mqtt", "edge-*")
    clear_control_sockets(SHORT)
    for line in Path("/proc/self/mounts").read_text().splitlines():
        place = line.split()[1]
        if place.startswith(f"{folder}/"):
            subprocess.run(["umount", "--lazy", place], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def _ssh_key(folder: Path, trees: Iterable[Path]) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "id")], check=True)
    host_keys = [(tree / "etc/ssh/ssh_host_ed25519_key.pub").read_text() for tree in trees]
    (folder / "known_hosts").write_text("".join(f"{NETWORK}.* {key}" for key in host_keys))
    return (folder / "id.pub").read_text()


def _write_inventory(fleet: Fleet, release: str) -> None:
    """Write the example inventory with the embedded models and shorter times."""
    inventory = fleet.inventory
    shutil.copytree(ANSIBLE / "inventory/example/group_vars", inventory / "group_vars")
    _write_json(
        inventory / "hosts.json",
        {
            "all": {
                "children": {
                    "broker": {"hosts": _addresses([fleet.broker])},
                    "devices": {
                        "children": {
                            "canary": {"hosts": _addresses(fleet.devices[:1])},
                            "fleet": {"hosts": _addresses(fleet.devices[1:])},
                        }
                    },
                }
            }
        },
    )
    _write_json(
        inventory / "group_vars/all/fleet.json",
        {
            "ansible_user": "pi",
            "ansible_ssh_private_key_file": str(fleet.folder / "id"),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={fleet.folder}/known_hosts",
        },
    )
    _write_json(
        inventory / "group_vars/devices/test.json",
        {
            "oahega_edge_context": "development",
            "oahega_edge_release": release,
            "oahega_edge_wheelhouses": str(fleet.releases.folder),
            "oahega_edge_mqtt_host": BROKER_NAME,
            "oahega_edge_settings": SEES_NOBODY,
            "oahega_edge_health_after_s": 5,
            "oahega_edge_health_timeout_s": 120,
            "oahega_edge_free_mb": 500,
        },
    )
    _write_json(inventory / f"host_vars/{fleet.devices[-1].name}.json", _extras(fleet.folder))
    _write_json(
        inventory / "group_vars/broker/test.json",
        {
            "mosquitto_server_name": BROKER_NAME,
            "mosquitto_subscribers": {
                DASHBOARD: {
                    "password": "{{ vault_dashboard_password }}",
                    "read": ["#"],
                    "write": ["oahega/v1/+/cmd/+", "homeassistant/status"],
                }
            },
        },
    )
    (fleet.folder / "vault-password").write_text(secrets.token_hex())
    (inventory / "group_vars/all/vault.yml").unlink()
    made = fleet.play(
        "playbooks/new-authority.yml",
        authority=str(inventory / "authority"),
        broker_name=BROKER_NAME,
        broker_address=fleet.broker.address,
    )
    assert made.code == 0, made.text
    _write_vault(fleet)


def _extras(folder: Path) -> dict[str, Any]:
    """Variables of the device with extras: faces, a hardware watchdog, Google's files."""
    return {
        "oahega_edge_settings": SETTINGS,
        "oahega_edge_hardware_watchdog": True,
        "oahega_edge_pycoral_wheel": named_with_digest(make_wheel(folder)),
        "oahega_edge_libedgetpu_deb": named_with_digest(make_deb(folder)),
    }


def _write_vault(fleet: Fleet) -> None:
    vault = fleet.inventory / "group_vars/all/vault.yml"
    key = "{{ lookup('ansible.builtin.file', inventory_dir ~ '/authority/broker.key', rstrip=false) }}"
    _write_json(
        vault,
        {
            "vault_mqtt_passwords": {host.name: fleet.passwords[host.name] for host in fleet.devices},
            "vault_operator_password": fleet.passwords[OPERATOR],
            "vault_dashboard_password": fleet.passwords[DASHBOARD],
            "vault_broker_key": key,
        },
    )
    folder = ansible_folder()
    assert folder is not None
    password = ["--vault-password-file", str(fleet.folder / "vault-password")]
    subprocess.run([folder / "ansible-vault", "encrypt", *password, vault], check=True, capture_output=True)


def _addresses(hosts: Sequence[Host]) -> dict[str, dict[str, str]]:
    return {host.name: {"ansible_host": host.address} for host in hosts}


def _write_json(file: Path, content: Any) -> None:
    """Write YAML in the form of JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, indent=1))

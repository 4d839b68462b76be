"""What `--check --diff` announces and what a run really changes, as sets that can be compared.

Both contain files, links, folders, units, and whole releases and bundles (one name instead of 9000 files).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fleet_hosts import Host

LOOKED_AT = ("/etc", "/opt", "/srv", "/usr/local", "/usr/lib/systemd", "/var/lib/oahega-edge", "/var/cache")
UNITS = ("oahega-edge.service", "mosquitto.service")
WHOLE = re.compile(r"^(/opt/oahega-edge/releases/[^/]+|/var/lib/oahega-edge/bundles/(?!current)[^/]+)(/.*)?$")
CONSEQUENCES = (
    # systemd-sysusers makes these from the announced /etc/sysusers.d/oahega-edge.conf
    re.compile(r"^/etc/(passwd|group|shadow|gshadow|\.pwd\.lock|subuid|subgid)-?$"),
    # links that enable a unit, announced as the unit (Debian keeps those of System V in step)
    re.compile(r"^/etc/systemd/system/multi-user\.target\.wants(/.*)?$"),
    re.compile(r"^/etc/rc[0-6S]\.d/[SK]01mosquitto$"),
    # the state of the running service
    re.compile(r"^/var/lib/oahega-edge/(?!bundles)[^/]+.*$"),
    # the system's own caches
    re.compile(r"^/var/cache/(?!oahega)"),
    re.compile(r"^/etc/(ld\.so\.cache|machine-id|mtab|resolv\.conf)$"),
)


def announced_by(text: str) -> dict[str, set[str]]:
    """What a run with the JSON callback announces to change, per host."""
    report = json.loads(text[text.index("{\n") :])
    changes: dict[str, set[str]] = {}
    for play in report["plays"]:
        for task in play["tasks"]:
            for host, result in task["hosts"].items():
                said = {_collapse(name) for name in _names(task["task"]["name"], result)}
                changes.setdefault(host, set()).update(said)
    return changes


def snapshot(host: Host) -> Mapping[str, str]:
    """Everything that a run might change, with the values to compare."""
    listing = host.inside(
        *("find", *LOOKED_AT, "-xdev"),
        *("(", "-type", "d", "-printf", "%p\t%y %m %U\n", ")", "-o"),
        *("-printf", "%p\t%y %m %U %l %s %T@\n"),
        check=False,
    )
    things = dict(line.split("\t", 1) for line in listing.splitlines())
    for unit in UNITS:
        shown = host.inside("systemctl", "show", "-p", "MainPID,UnitFileState", unit)
        things[unit] = shown
    return things


def changed_between(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    """Names that are new, gone or different, without the consequences of announced changes."""
    names = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    return {_collapse(name) for name in names if not any(rule.match(name) for rule in CONSEQUENCES)}


def _names(task: str, result: Mapping[str, Any]) -> Iterator[str]:
    if "results" in result:
        for each in result["results"]:
            yield from _names(task, each)
    elif result.get("changed") and not result.get("skipped"):
        yield from _name(task, result)


def _name(task: str, result: Mapping[str, Any]) -> Iterator[str]:
    """A path or a unit. A task with no_log has its file in parentheses in its name."""
    arguments = result.get("invocation", {}).get("module_args", {})
    hidden = re.search(r"\((/\S+)\)$", task)
    if hidden:
        yield hidden[1]
    elif ".service: enabled" in str(result.get("msg", "")):
        yield str(result["msg"]).split(":")[0]
    elif "status" in result or str(result.get("name", "")).endswith(".service"):
        yield str(result["name"])
    else:
        for key in ("dest", "path"):
            if path := result.get(key) or arguments.get(key):
                yield str(path)
                break


def _collapse(name: str) -> str:
    name = name.rstrip("/")
    whole = WHOLE.match(name)
    return whole[1] if whole else name

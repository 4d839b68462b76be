"""The alert rules for Prometheus: by its own tool, and against the metrics that a device has."""

from __future__ import annotations

import re
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

from edge.mqtt_samples import health
from oahega_edge.service.prometheus import MetricsEndpoint
from waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "ansible/prometheus/oahega-edge.rules.yml"


def test_every_rule_asks_for_a_metric_that_a_device_has() -> None:
    asked = set(re.findall(r"\boahega_edge_\w+", RULES.read_text()))
    with MetricsEndpoint("127.0.0.1", 0) as endpoint:
        message = health()
        board = message.system.model_copy(update={"temperature_c": 61.0, "undervoltage": False})
        endpoint.update(message.model_copy(update={"system": board}))
        there = served(endpoint)

    assert asked
    assert asked <= there


def served(endpoint: MetricsEndpoint) -> set[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{endpoint.port}/metrics", timeout=PATIENCE) as answer:
        return set(re.findall(r"^(oahega_edge_\w+)", answer.read().decode(), re.MULTILINE))


@pytest.mark.lengthy
@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool; Debian has it in prometheus")
def test_the_rules_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    tests = tmp_path / "alerts.yml"
    tests.write_text((Path(__file__).parent / "alerts.yml").read_text().replace("RULES", str(RULES)))

    for command in (["check", "rules", str(RULES)], ["test", "rules", str(tests)]):
        done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout + done.stderr

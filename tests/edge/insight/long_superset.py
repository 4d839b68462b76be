"""The Superset export, imported into a real Superset that asks a real PostgreSQL: `make superset-test`."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from edge.mqtt_samples import BASE, NOON, health, summary
from oahega_edge.archive.address import connect
from oahega_edge.archive.records import read_record
from oahega_edge.archive.store import Batch, Store
from postgres import Postgres, postgres

__all__ = ["postgres"]

pytestmark = pytest.mark.long
ROOT = Path(__file__).resolve().parents[3]
EXPORT = ROOT / "docs/dashboards/superset/oahega"
SUPERSET = Path(os.environ.get("OAHEGA_SUPERSET", ROOT / ".venv-superset/bin"))
ADMIN = "--username admin --password admin --firstname a --lastname b --email a@example.org"
ASK = """
import json
from superset.app import create_app

def question(chart):
    "What the browser asks for to draw it."
    asked = json.loads(chart.params)
    axis = [asked["x_axis"]] if "x_axis" in asked else []
    return {
        "columns": asked.get("all_columns") or [*axis, *asked.get("groupby", [])],
        "metrics": asked.get("metrics") or ([asked["metric"]] if "metric" in asked else []),
        "row_limit": asked["row_limit"],
    }

app = create_app()
with app.app_context():
    from superset import db, security_manager
    from superset.charts.schemas import ChartDataQueryContextSchema
    from superset.commands.chart.data.get_data_command import ChartDataCommand
    from superset.models.dashboard import Dashboard
    from superset.utils.core import override_user

    dashboard, = db.session.query(Dashboard).all()
    found = {"placed": dashboard.position_json.count('"CHART"'), "charts": {}}
    for chart in dashboard.slices:
        source = {"id": chart.datasource_id, "type": "table"}
        context = ChartDataQueryContextSchema().load({"datasource": source, "queries": [question(chart)]})
        with override_user(security_manager.find_user("admin")):
            found["charts"][chart.slice_name] = ChartDataCommand(context).run()["queries"][0]["data"]
    print("FOUND " + json.dumps(found, default=str))
"""


def zipped(folder: Path, address: str) -> Path:
    """The export as Superset takes it, with the test's database in place of the reader's."""
    packed = folder / "oahega.zip"
    with zipfile.ZipFile(packed, "w") as file:
        for path in sorted(EXPORT.rglob("*.yaml")):
            text = path.read_text("utf-8")
            text = text.replace("postgresql+psycopg2://dashboard@localhost:5432/oahega-archive", address)
            file.writestr(f"oahega/{path.relative_to(EXPORT)}", text)
    return packed


def test_superset_imports_the_dashboard_and_its_charts_find_their_data(
    postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.fresh("superset")
    with contextlib.closing(Store(connect(url))) as store:
        told = {"summary": summary(), "health": health(time=NOON)}
        kept = [
            read_record("oahega/v1", f"{BASE}/{kind}", each.to_json().encode(), NOON)
            for kind, each in told.items()
        ]
        store.write(Batch(kept))
    config = tmp_path / "superset_config.py"
    config.write_text(
        "SECRET_KEY = 'a secret of this test only, long enough to be one'\n"
        f"SQLALCHEMY_DATABASE_URI = 'sqlite:///{tmp_path}/superset.db'\n"
    )
    environment = os.environ | {"SUPERSET_CONFIG_PATH": str(config), "FLASK_APP": "superset"}
    environment.pop("PYTHONPATH", None)

    def superset(*words: str) -> str:
        done = subprocess.run(
            [SUPERSET / words[0], *words[1:]], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (done.stdout + done.stderr)[-4_000:]
        return done.stdout

    superset("superset", "db", "upgrade")
    superset("superset", "init")
    superset("superset", "fab", "create-admin", *ADMIN.split())
    packed = zipped(tmp_path, url.replace("postgresql://", "postgresql+psycopg2://"))
    for _ in range(2):  # the second import replaces the first
        superset("superset", "import-dashboards", "--path", str(packed), "--username", "admin")
    said = superset("python", "-c", ASK)

    found = json.loads(said.partition("FOUND ")[2].splitlines()[0])
    print(json.dumps(found, indent=1))
    charts = found["charts"]
    assert found["placed"] == len(charts) == len(list(EXPORT.glob("charts/*.yaml")))
    assert all(charts.values()), charts
    assert [(row["site"], float(row["visits"])) for row in charts["Visits an hour"]] == [("kiosk-1", 4)]
    shares = {row["emotion"]: float(row["seconds"]) for row in charts["Expressions by share of the time"]}
    assert shares == {"happy": 15, "sad": 5}

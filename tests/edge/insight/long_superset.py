"""The Superset export, imported into a real Superset that asks a real PostgreSQL: `make superset-test`."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from edge.mqtt_samples import BASE, NOON, summary
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
app = create_app()
with app.app_context():
    from superset import db
    from superset.connectors.sqla.models import SqlaTable
    from superset.models.dashboard import Dashboard
    dashboard, = db.session.query(Dashboard).all()
    tables = db.session.query(SqlaTable).all()
    print("FOUND " + json.dumps({
        "charts": sorted(each.slice_name for each in dashboard.slices),
        "placed": dashboard.position_json.count('"CHART"'),
        "rows": {
            each.table_name: len(each.database.get_df(f"SELECT * FROM {each.table_name}")) for each in tables
        },
    }))
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
        kept = read_record("oahega/v1", f"{BASE}/summary", summary().to_json().encode(), NOON)
        store.write(Batch([kept]))
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
    superset("superset", "fab", "create-admin", *ADMIN.split())
    packed = zipped(tmp_path, url.replace("postgresql://", "postgresql+psycopg2://"))
    for _ in range(2):  # the second import replaces the first
        superset("superset", "import-dashboards", "--path", str(packed), "--username", "admin")
    said = superset("python", "-c", ASK)

    found = json.loads(said.partition("FOUND ")[2].splitlines()[0])
    print(json.dumps(found, indent=1))
    assert len(found["charts"]) == 6
    assert found["placed"] == 6
    assert set(found["rows"]) == {path.stem for path in EXPORT.glob("datasets/*/*.yaml")}
    assert found["rows"]["visits_per_hour"] == 1
    assert found["rows"]["dwell"] > 1

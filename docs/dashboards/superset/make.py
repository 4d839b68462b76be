"""The Superset dashboard of docs/insight.md as an export that Superset imports; `make dashboards` writes it.

Superset has no SDK: this is the format of its own exports (version 1.0.0), with identifiers made from names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import yaml

FOLDER = Path(__file__).parent / "oahega"
DATABASE = "oahega_archive"
MADE = "2026-11-26T00:00:00+00:00"
TIMED = {"visits_per_hour": "hour", "uptime": "hour"}
COLUMNS = {
    "visits_per_hour": {
        "site": "TEXT", "hour": "TIMESTAMP", "visits": "NUMERIC", "seen_s": "NUMERIC", "people": "BIGINT",
    },
    "dwell": {"site": "TEXT", "from_s": "BIGINT", "visits": "NUMERIC"},
    "expression_shares": {"site": "TEXT", "emotion": "TEXT", "read_s": "NUMERIC", "share": "NUMERIC"},
    "smile_rate_by_content": {
        "site": "TEXT", "content": "TEXT", "visits": "NUMERIC", "smiles": "NUMERIC",
        "rate": "DOUBLE PRECISION", "lowest": "DOUBLE PRECISION", "highest": "DOUBLE PRECISION",
    },
    "uptime": {
        "site": "TEXT", "device": "TEXT", "hour": "TIMESTAMP", "minutes": "BIGINT", "share": "NUMERIC",
        "degraded_minutes": "BIGINT",
    },
    "device_care": {
        "site": "TEXT", "device": "TEXT", "online": "BOOLEAN", "last_seen": "TIMESTAMP", "release": "TEXT",
        "degraded": "BOOLEAN", "dropped": "BIGINT", "degraded_hours": "BIGINT", "missing": "NUMERIC",
    },
}  # fmt: skip
"""The views of the archive that charts read, as PostgreSQL describes them."""


def uuid(name: str) -> str:
    """The same name has the same identifier, so that an import replaces what an earlier one made."""
    return str(uuid5(NAMESPACE_URL, f"urn:oahega:superset:{name}"))


def metric(sql: str, label: str) -> dict[str, Any]:
    """A figure of a chart."""
    return {"expressionType": "SQL", "sqlExpression": sql, "label": label, "optionName": f"metric_{label}"}


def bars(name: str, view: str, x: str, by: list[str], sql: str, label: str) -> dict[str, Any]:
    """A bar chart, over time where the view has hours."""
    return chart(
        name, view, "echarts_timeseries_bar",
        x_axis=x, groupby=by, metrics=[metric(sql, label)], row_limit=10_000, x_axis_sort_asc=True,
        **({"time_grain_sqla": "PT1H"} if view in TIMED else {"xAxisForceCategorical": True}),
    )  # fmt: skip


def rows(name: str, view: str) -> dict[str, Any]:
    """A view as a table."""
    return chart(name, view, "table", query_mode="raw", all_columns=list(COLUMNS[view]), row_limit=1_000)


def chart(name: str, view: str, kind: str, **params: Any) -> dict[str, Any]:
    """A chart that reads a view."""
    return {
        "slice_name": name,
        "viz_type": kind,
        "params": {"viz_type": kind, "adhoc_filters": [], **params},
        "cache_timeout": None,
        "uuid": uuid(f"chart {name}"),
        "version": "1.0.0",
        "dataset_uuid": uuid(f"dataset {view}"),
    }


CHARTS = (
    bars("Visits an hour", "visits_per_hour", "hour", ["site"], "sum(visits)", "visits"),
    bars("Length of visits in seconds", "dwell", "from_s", [], "sum(visits)", "visits"),
    chart(
        "Expressions by share of the time", "expression_shares", "pie",
        groupby=["emotion"], metric=metric("sum(read_s)", "seconds"), row_limit=100,
    ),
    rows("Smiles by content, with 95 % intervals", "smile_rate_by_content"),
    bars("Share of the hour with reports", "uptime", "hour", ["device"], "avg(share)", "share"),
    rows("Devices", "device_care"),
)  # fmt: skip


def files() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each file of the export and what it holds."""
    yield "metadata.yaml", {"version": "1.0.0", "type": "Dashboard", "timestamp": MADE}
    yield f"databases/{DATABASE}.yaml", database()
    for view in COLUMNS:
        yield f"datasets/{DATABASE}/{view}.yaml", dataset(view)
    for each in CHARTS:
        yield f"charts/{slug(each['slice_name'])}.yaml", each
    yield "dashboards/oahega.yaml", dashboard()


def slug(name: str) -> str:
    """For the name of a file."""
    return "_".join("".join(c if c.isalnum() else " " for c in name).lower().split())


def database() -> dict[str, Any]:
    """Superset asks for the password, or its operator writes another address."""
    return {
        "database_name": "OAHEGA archive",
        "sqlalchemy_uri": "postgresql+psycopg2://dashboard@localhost:5432/oahega-archive",
        "cache_timeout": None,
        "expose_in_sqllab": True,
        "allow_run_async": False,
        "allow_ctas": False,
        "allow_cvas": False,
        "allow_dml": False,
        "extra": {},
        "uuid": uuid("database"),
        "version": "1.0.0",
    }


def dataset(view: str) -> dict[str, Any]:
    """A view as Superset knows it."""
    return {
        "table_name": view,
        "main_dttm_col": TIMED.get(view),
        "description": f"The view {view} of the archive.",
        "schema": "public",
        "sql": None,
        "params": None,
        "extra": None,
        "uuid": uuid(f"dataset {view}"),
        "metrics": [{"metric_name": "count", "expression": "count(*)", "metric_type": "count"}],
        "columns": [
            {
                "column_name": name,
                "type": kind,
                "is_dttm": kind == "TIMESTAMP",
                "is_active": True,
                "groupby": True,
                "filterable": True,
            }
            for name, kind in COLUMNS[view].items()
        ],
        "version": "1.0.0",
        "database_uuid": uuid("database"),
    }


def dashboard() -> dict[str, Any]:
    """Two charts in a row."""
    position: dict[str, Any] = {
        "DASHBOARD_VERSION_KEY": "v2",
        "ROOT_ID": {"id": "ROOT_ID", "type": "ROOT", "children": ["GRID_ID"]},
        "GRID_ID": {"id": "GRID_ID", "type": "GRID", "parents": ["ROOT_ID"], "children": []},
        "HEADER_ID": {"id": "HEADER_ID", "type": "HEADER", "meta": {"text": "OAHEGA"}},
    }
    for number, each in enumerate(CHARTS):
        row, place = f"ROW-{number // 2}", f"CHART-{number}"
        if row not in position:
            position[row] = {
                "id": row, "type": "ROW", "parents": ["ROOT_ID", "GRID_ID"], "children": [],
                "meta": {"background": "BACKGROUND_TRANSPARENT"},
            }  # fmt: skip
            position["GRID_ID"]["children"].append(row)
        position[row]["children"].append(place)
        position[place] = {
            "id": place, "type": "CHART", "parents": ["ROOT_ID", "GRID_ID", row], "children": [],
            "meta": {
                "uuid": each["uuid"], "sliceName": each["slice_name"], "width": 6, "height": 50,
                "chartId": number + 1,
            },
        }  # fmt: skip
    return {
        "dashboard_title": "OAHEGA: visits, expressions, devices",
        "description": "Visits, expressions by content, and devices that need care.",
        "css": "",
        "slug": "oahega",
        "uuid": uuid("dashboard"),
        "position": position,
        "metadata": {
            "color_scheme": "supersetColors",
            "refresh_frequency": 300,
            "cross_filters_enabled": True,
        },
        "version": "1.0.0",
    }


def texts() -> dict[str, str]:
    """Path below the folder -> YAML."""
    return {
        path: yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
        for path, content in files()
    }


if __name__ == "__main__":
    for path, text in texts().items():
        (FOLDER / path).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / path).write_text(text, "utf-8")

"""The Grafana dashboard of docs/insight.md, by Grafana's SDK; `make dashboards` writes oahega.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import barchart, dashboard, piechart, stat, table, timeseries
from grafana_foundation_sdk.cog import builder, variants
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as models

FILE = Path(__file__).with_name("oahega.json")
SOURCE = models.DataSourceRef(type_val="grafana-postgresql-datasource", uid="${source}")
SITES = "site IN (${site:sqlstring})"
HOURS = "$__timeFilter(hour)"


class Sql(variants.Dataquery, builder.Builder["Sql"]):
    """A query of Grafana's PostgreSQL data source, which the SDK does not know."""

    def __init__(self, sql: str, form: str) -> None:
        self._sql, self._form = sql, form

    def build(self) -> Sql:
        """What a panel asks its queries for."""
        return self

    def to_json(self) -> Mapping[str, object]:
        """The query as Grafana keeps it."""
        return {
            "refId": "A",
            "datasource": SOURCE,
            "editorMode": "code",
            "format": self._form,
            "rawQuery": True,
            "rawSql": self._sql,
        }


def shown(panel: Any, title: str, sql: str, *, form: str = "table", wide: int = 12, high: int = 8) -> Any:
    """A panel of one query."""
    return panel.title(title).datasource(SOURCE).with_target(Sql(sql, form)).span(wide).height(high)


def rate(label: str) -> list[models.DynamicConfigValue]:
    """A column of shares of one."""
    return [
        models.DynamicConfigValue("displayName", label),
        models.DynamicConfigValue("unit", "percentunit"),
        models.DynamicConfigValue("decimals", 1),
    ]


def rates(panel: Any) -> Any:
    """Columns of a rate with its interval; few visits say nothing."""
    for name, label in (("rate", "smiles"), ("lowest", "at least (95 %)"), ("highest", "at most (95 %)")):
        panel = panel.override_by_name(name, rate(label))
    return panel.no_value("too few visits")


def make() -> dashboard.Dashboard:
    """All panels read the views of the archive."""
    return (
        dashboard.Dashboard("OAHEGA: visits, expressions, devices")
        .uid("oahega-insight")
        .description("Visits, expressions by content, devices that need care: the views of the archive.")
        .tags(["oahega"])
        .time("now-30d", "now")
        .timezone("browser")
        .refresh("5m")
        .with_variable(dashboard.DatasourceVariable("source").label("Store").type("grafana-postgresql-datasource"))
        .with_variable(
            dashboard.QueryVariable("site")
            .label("Site")
            .datasource(SOURCE)
            .query("SELECT DISTINCT site FROM places ORDER BY site")
            .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
        )
        .with_row(dashboard.Row("Visits"))
        .with_panel(
            shown(
                stat.Panel(), "Visits",
                f"SELECT sum(visits) AS visits FROM visits_per_hour WHERE {SITES} AND {HOURS}", wide=6,
            )
        )
        .with_panel(
            shown(
                timeseries.Panel().draw_style(common.GraphDrawStyle.BARS).fill_opacity(60).min(0),
                "Visits an hour",
                "SELECT hour AS time, site AS metric, visits FROM visits_per_hour "
                f"WHERE {SITES} AND {HOURS} ORDER BY 1",
                form="time_series", wide=18,
            )
        )
        .with_panel(
            shown(
                barchart.Panel().x_field("at least"), "Length of visits, all time",
                f"SELECT from_s || ' s' AS \"at least\", sum(visits) AS visits FROM dwell WHERE {SITES} "
                "GROUP BY from_s ORDER BY from_s",
            )
        )
        .with_panel(
            shown(
                table.Panel().override_by_name("mean_s", [models.DynamicConfigValue("unit", "s")]),
                "Mean length by site, all time",
                f"SELECT site, visits, mean_s FROM mean_dwell WHERE {SITES} ORDER BY 1",
            )
        )
        .with_row(dashboard.Row("Expressions"))
        .with_panel(
            shown(
                piechart.Panel(), "Share of the time, all time",
                f"SELECT emotion, sum(read_s) AS seconds FROM expression_shares WHERE {SITES} "
                "GROUP BY emotion ORDER BY 2 DESC",
                wide=8,
            )
        )
        .with_panel(
            shown(
                rates(table.Panel()), "Smiles by content, with the number of visits, all time",
                "SELECT site, content, visits, smiles, rate, lowest, highest FROM smile_rate_by_content "
                f"WHERE {SITES} ORDER BY rate DESC NULLS LAST", wide=16,
            )
        )
        .with_row(dashboard.Row("Devices"))
        .with_panel(
            shown(
                table.Panel(), "Devices",
                "SELECT site, device, online, last_seen, release, degraded, dropped, degraded_hours, missing "
                f"FROM device_care WHERE {SITES} ORDER BY online, last_seen",
            )
        )
        .with_panel(
            shown(
                timeseries.Panel().unit("percentunit").min(0).max(1), "Share of the hour with reports",
                "SELECT hour AS time, device AS metric, share FROM uptime "
                f"WHERE {SITES} AND {HOURS} ORDER BY 1",
                form="time_series",
            )
        )
    )  # fmt: skip


def text() -> str:
    """As it is imported."""
    return json.dumps(make().build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), "utf-8")

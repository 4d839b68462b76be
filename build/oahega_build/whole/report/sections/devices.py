"""Figure 9: times of the models on devices, beside published ones (`bench`, and files from devices)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from oahega_build.whole import device_times
from oahega_build.whole.report.pictures import drawn
from oahega_build.whole.report.runs import Runs
from oahega_build.whole.report.section import Section


@dataclass(frozen=True, slots=True)
class Times:
    """All measured and published ones."""

    chart: Markup
    rows: Sequence[Sequence[object]]


def _times(runs: Runs) -> list[Times]:
    files = [*(run.folder / device_times.METRICS for run in runs.of("bench")), *runs.times]
    if not files:
        return []
    times = [*device_times.read_times(files), *device_times.PUBLISHED]
    chart = drawn(device_times.draw(times))
    return [Times(chart, [(t.device, t.model, t.milliseconds, t.source) for t in times])]


SECTION = Section("Speed on devices", "devices.html", _times)

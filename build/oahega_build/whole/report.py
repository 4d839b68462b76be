"""Verb `report`: a whole run on one self-contained HTML page. Every figure is read from a run's files."""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from oahega_build.errors import RunError
from oahega_build.experiments import distillation_plot, prune_plot
from oahega_build.models import architecture
from oahega_build.runs.artifacts import now
from oahega_build.whole import device_times

TEMPLATE = Path(__file__).parent / "report_template.html"


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run's folder."""

    folder: Path

    @property
    def stage(self) -> str:
        """Name of the stage that made it."""
        return self.folder.parent.name

    @property
    def name(self) -> str:
        """`stage/run`, as the page cites it."""
        return f"{self.stage}/{self.folder.name}"

    def read(self, file: str = "metrics.json") -> Any:
        """A JSON file of the run; RunError when it is not there or broken."""
        path = self.folder / file
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise RunError(f"{path} cannot be read ({error}); make the run again") from error

    def has(self, file: str) -> bool:
        """Whether the run left this file."""
        return (self.folder / file).is_file()


def find_runs(artifacts: Path) -> list[Path]:
    """Every finished run below an artifacts folder, oldest first."""
    found = [path.parent for path in artifacts.glob("*/*/environment.json")]
    finished = [path for path in found if not path.name.endswith(".unfinished")]
    return sorted(finished, key=lambda path: ((path / "environment.json").stat().st_mtime, path.name))


def write_report(
    folders: Sequence[Path], target: Path, devices: Sequence[Path] = (), title: str = "OAHEGA edge: a run"
) -> Path:
    """Write the page of these runs to `target`. Raises RunError when none of them has anything to show."""
    runs = [Run(folder) for folder in folders]
    sections = [(name, body) for name, make in SECTIONS.items() if (body := make(runs))]
    measured = [*(run.folder / device_times.METRICS for run in _of(runs, "bench")), *devices]
    if measured:
        sections.append(("Speed on devices", _device_section(measured)))
    if not sections:
        raise RunError(f"{len(runs)} runs hold nothing to report; give the artifacts folder of some stages")
    page = Template(TEMPLATE.read_text()).substitute(
        title=html.escape(title),
        summary=_summary(runs),
        tiles=_tiles(runs),
        contents="".join(f'<a href="#{_anchor(name)}">{html.escape(name)}</a>' for name, _ in sections),
        sections="".join(
            f'<section id="{_anchor(name)}"><h2>{html.escape(name)}</h2>{body}</section>'
            for name, body in sections
        ),
        footer=_footer(runs),
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(page)
    return target


def _anchor(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower())


def _of(runs: Iterable[Run], *stages: str) -> list[Run]:
    return [run for run in runs if run.stage in stages]


# Pieces of a page


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Cells are escaped, but for those that are `Html`."""
    rows = list(rows)
    kinds = [" class=text" if all(_is_text(row[i]) for row in rows) else "" for i in range(len(head))]
    top = "".join(f"<th{kind}>{html.escape(cell)}</th>" for cell, kind in zip(head, kinds, strict=True))
    body = "".join(
        "<tr>"
        + "".join(f"<td{kind}>{_cell(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _is_text(cell: object) -> bool:
    """Words, which start at the left, unlike figures and sizes."""
    return isinstance(cell, str) and not isinstance(cell, Html) and cell[:1].isalpha()


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def _cell(cell: object) -> str:
    if isinstance(cell, Html):
        return cell
    if isinstance(cell, float):
        return f"{cell:.3f}"
    return html.escape(str(cell))


def _interval(figure: Any) -> Html:
    """A figure with its interval, from {value, low, high} or [value, low, high]."""
    value, low, high = figure.values() if isinstance(figure, Mapping) else figure
    return Html(f"{value:.3f}<small>{low:.2f}–{high:.2f}</small>")


def _source(*runs: Run) -> str:
    return f'<p class="source">from {", ".join(html.escape(run.name) for run in runs)}</p>'


def _svg(figure: Figure, caption: str = "", narrow: bool = False) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg")
    return _figure(_inline(buffer.getvalue()), caption, narrow)


def _panels(figures: Iterable[Figure], caption: str = "") -> str:
    """Side by side where there is room, else one below the other."""
    shown = []
    for figure in figures:
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg")
        shown.append(f"<div>{_inline(buffer.getvalue())}</div>")
    under = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return f"<figure class=panels>{''.join(shown)}{under}</figure>"


def _panel() -> Figure:
    return Figure(figsize=(4.6, 3.4), layout="constrained")


def _inline(svg: str) -> str:
    """The element alone, its ids made unlike those of the page's other pictures."""
    body = svg[svg.index("<svg") :]
    mark = f"p{abs(hash(body)) % 10**9}-"
    for reference in ('id="', 'href="#', "url(#"):
        body = body.replace(reference, reference + mark)
    return body


def _figure(content: str, caption: str = "", narrow: bool = False) -> str:
    under = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    kind, inner = (" class=narrow", "") if narrow else ("", " class=wide")
    return f"<figure{kind}><div{inner}>{content}</div>{under}</figure>"


def _picture(path: Path, caption: str = "", narrow: bool = False) -> str:
    """An SVG of a run as it is, a PNG as data."""
    if path.suffix == ".svg":
        return _figure(_inline(path.read_text()), caption, narrow)
    data = base64.b64encode(path.read_bytes()).decode()
    return _figure(
        f'<img alt="{html.escape(caption or path.stem)}" src="data:image/png;base64,{data}">', caption, narrow
    )


def _size(count: float) -> str:
    if count < 1e3:
        return f"{count:.0f} B"
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


# The top


def _summary(runs: Sequence[Run]) -> str:
    dates = [run.read("environment.json")["started"] for run in runs if run.has("environment.json")]
    commits = sorted({run.read("environment.json")["commit"] for run in runs if run.has("environment.json")})
    if not dates:
        return ""
    begun = min(dates)[:16].replace("T", " ")
    code = ", ".join(commits) if len(commits) < 4 else f"{len(commits)} commits"
    return html.escape(f"{len(runs)} stages, begun {begun} UTC, code at {code}.")


def _tiles(runs: Sequence[Run]) -> str:
    tiles = []
    evaluated = _of(runs, "evaluate-emotion")
    if evaluated:
        figures = evaluated[-1].read()
        value = figures["accuracy"]
        tiles += [
            (f"{value['value']:.1%}", f"accuracy, {value['low']:.1%} to {value['high']:.1%}"),
            (f"{figures['summary']['balanced_accuracy']:.1%}", "balanced accuracy"),
            (f"{figures['summary']['ece']:.3f}", "calibration error"),
            (_size(figures["bytes"]), "emotion model, int8"),
            (str(figures["pictures"]), "pictures that chose nothing"),
        ]
    for run in _of(runs, "bundle"):
        content = run.read()
        tiles.append((_size(sum(content["files"].values())), "the whole bundle"))
    boxes = "".join(
        f'<div class="tile"><b>{html.escape(big)}</b><span>{html.escape(small)}</span></div>'
        for big, small in tiles
    )
    return f'<div class="tiles">{boxes}</div>' if boxes else ""


def _footer(runs: Sequence[Run]) -> str:
    machines = {
        json.dumps(run.read("environment.json")["packages"]): run
        for run in runs
        if run.has("environment.json")
    }
    lines = []
    for run in machines.values():
        environment = run.read("environment.json")
        packages = ", ".join(f"{name} {version}" for name, version in environment["packages"].items())
        lines.append(
            f"Python {environment['python']}, {environment['cores']} cores {environment['machine']}: "
            f"{packages}"
        )
    said = [*lines, f"Written {now()} by `python -m oahega_build report`."]
    return "<br>".join(html.escape(line) for line in said)


# Sections


def _data(runs: Sequence[Run]) -> str:
    parts = []
    for run in _of(runs, "overview"):
        figures = run.read()
        rows = [(part, *counts, sum(counts)) for part, counts in figures["counts"].items()]
        parts.append(_table(("", *figures["labels"], "all"), rows))
        small, large = ("×".join(map(str, figures[key])) for key in ("smallest", "largest"))
        parts.append(
            f"<p>Sizes from {small} to {large} px. {figures['near_duplicates']} training pictures have a "
            f"near-copy among the training pictures, {figures['crossing']} of the others have one there.</p>"
        )
        if figures["problems"]:
            listed = "".join(f"<li>{html.escape(problem)}</li>" for problem in figures["problems"][:50])
            parts.append(
                f"<details><summary>{len(figures['problems'])} problems</summary><ul>{listed}</ul></details>"
            )
        if run.has("overview.png"):
            parts.append(_picture(run.folder / "overview.png", "pictures per class", narrow=True))
        parts.append(_source(run))
    return "".join(parts)


def _collected(runs: Sequence[Run]) -> str:
    parts = []
    for run in _of(runs, "collect"):
        figures = run.read()
        parts.append(_table(("class", "faces"), figures["faces"].items()))
        parts.append(
            f"<p>{figures['frames']} frames looked at, {figures['groups']} groups that never cross "
            "a split.</p>"
        )
        if figures["left_out"]:
            parts.append(_table(("left out", "faces"), figures["left_out"].items()))
        parts += [
            _picture(sheet, f"class {sheet.stem}") for sheet in sorted((run.folder / "sheets").glob("*.png"))
        ]
        parts.append(_source(run))
    return "".join(parts)


def _projected(runs: Sequence[Run]) -> str:
    parts = []
    for run in _of(runs, "project"):
        figures = run.read()
        caption = f"{figures['pictures']} pictures as {figures['model']} sees them"
        parts.append(_picture(run.folder / "embeddings.png", caption, narrow=True))
        parts.append(
            _table(
                ("class", f"neighbours that agree (of {figures['neighbours']})"), figures["agreement"].items()
            )
        )
        if figures["suspicious"]:
            caption = (
                f"{figures['suspicious']} suspicious labels, the first ones: label > what the neighbours are"
            )
            parts.append(_picture(run.folder / "suspicious.png", caption))
        parts.append(_source(run))
    return "".join(parts)


def _searched(runs: Sequence[Run]) -> str:
    parts = []
    for run in _of(runs, "tune"):
        figures = run.read()
        labels = list(figures["table_1"][0]["classes"])
        rows = []
        for row in figures["table_1"]:
            precision = [row["classes"][label]["precision"] for label in labels]
            mean = sum(p[0] for p in precision) / len(precision)
            rows.append((f"trial {row['trial']}", *map(_interval, precision), mean))
        parts.append(
            f"<h3>Table 1: precision per class of the {len(rows)} best trials, 95 % intervals</h3>"
            + _table(("", *labels, "average"), rows)
        )
        parts.append(
            f"<p>{figures['trials']} trials by held-out {figures['objective']}, {figures['pruned']} of them "
            "stopped early. Best values: "
            + html.escape(
                ", ".join(f"{k.replace('_', ' ')} {_short(v)}" for k, v in figures["best"]["params"].items())
            )
            + ".</p>"
        )
        for file, caption in (
            ("figure_5.svg", "Figure 5: held-out precision of every trial"),
            ("history.svg", "the objective, trial by trial"),
            ("importance.svg", "what mattered"),
            ("slice.svg", "the objective over each hyper-parameter"),
        ):
            if run.has(file):
                parts.append(_picture(run.folder / file, caption, narrow=True))
        parts.append(_source(run))
    return "".join(parts)


LEGEND_LINE = 0.16
"""Inches."""


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _trained(runs: Sequence[Run]) -> str:
    trained = [run for run in _of(runs, "train-emotion", "distill") if run.has("log.jsonl")]
    if not trained:
        return ""
    figures = {key: _panel() for key in ("loss", "accuracy")}
    drawn = {key: figure.subplots() for key, figure in figures.items()}
    for axes in drawn.values():
        axes.set_prop_cycle(color=colormaps["tab20"].colors)
    rows = []
    for run in trained:
        log = _log(run)
        epochs = [line["epoch"] for line in log]
        name = _title(run)
        for key, axes in drawn.items():
            axes.plot(epochs, [line[key] for line in log], label=name)
            axes.set(xlabel="epoch", ylabel=f"held-out {key}")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        metrics = run.read()
        rows.append(
            (
                name,
                len(log),
                metrics["held_out_accuracy_float"],
                metrics["held_out_accuracy"],
                metrics["held_out_balanced_accuracy"],
                metrics["held_out_ece"],
                _size(metrics["bytes"]),
            )
        )
    width, height = figures["accuracy"].get_size_inches()
    figures["accuracy"].set_size_inches(width, height + LEGEND_LINE * len(trained))
    figures["accuracy"].legend(loc="outside lower center", fontsize=7)
    head = ("", "epochs", "float", "int8", "balanced", "ECE", "size")
    said = (
        "<p>Held-out accuracy of the float network and of the exported int8 file, after calibration. The "
        "held-out pictures chose epochs, values and temperature: the figures for outsiders come below.</p>"
    )
    return said + _table(head, rows) + _panels(figures.values()) + _source(*trained)


def _title(run: Run) -> str:
    """With the recipe's name where the model card knows it; several runs may have one recipe."""
    if run.has("entry.json"):
        return f"{run.read('entry.json')['card']['recipe']} ({run.name})"
    return run.name


def _evaluated(runs: Sequence[Run]) -> str:
    parts = []
    for run in _of(runs, "evaluate-emotion"):
        figures = run.read()
        parts.append(f"<h3>{html.escape(_model_title(runs, figures))}</h3>")
        rows = [
            (label, row["pictures"], *(_interval(row[key]) for key in ("precision", "recall", "f1")))
            for label, row in figures["table_1"].items()
        ]
        parts.append(_table(("class", "pictures", "precision", "recall", "F1"), rows))
        panels = [_confusion_figure(figures), _coverage_figure(figures)]
        said = "confusion; risk-coverage"
        if figures.get("reliability"):
            panels.append(_reliability_figure(figures))
            said += "; calibration: how often answers of each confidence are right"
        parts.append(_panels(panels, said))
        robust = {f"{size} px": v for size, v in figures["accuracy_by_face_size"].items()}
        robust |= figures["accuracy_under"]
        parts.append(_table(("accuracy", *robust), [("", *robust.values())]))
        parts.append(_source(run))
    return "".join(parts)


def _model_title(runs: Sequence[Run], figures: Mapping[str, Any]) -> str:
    for run in _of(runs, "train-emotion", "distill", "quantize"):
        if run.folder.name == figures["model"]:
            return _title(run)
    return str(figures["model"])


def _confusion_figure(figures: Mapping[str, Any]) -> Figure:
    labels, counts = figures["labels"], figures["confusion"]
    figure = _panel()
    axes = figure.subplots()
    shares = [[value / max(1, sum(row)) for value in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(counts):
        for j, value in enumerate(row):
            if value:
                ink = "white" if shares[i][j] > 0.5 else "black"
                axes.text(j, i, value, ha="center", va="center", fontsize=8, color=ink)
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set(xlabel="answered", ylabel="true")
    return figure


def _coverage_figure(figures: Mapping[str, Any]) -> Figure:
    figure = _panel()
    axes = figure.subplots()
    points = figures["risk_coverage"]
    axes.plot([p["coverage"] for p in points], [p["precision"] for p in points], "o-")
    for point in points:
        axes.annotate(
            f"≥ {point['threshold']:.2f}",
            (point["coverage"], point["precision"]),
            fontsize=7,
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
        )
    axes.margins(y=0.15)
    axes.set(xlabel="share of pictures answered", ylabel="share of those right")
    low, high = axes.get_ylim()
    axes.set_ylim(low, min(high, 1.02))
    return figure


def _reliability_figure(figures: Mapping[str, Any]) -> Figure:
    figure = _panel()
    axes = figure.subplots()
    bins = figures["reliability"]
    axes.plot((0, 1), (0, 1), color="#c4ccd3", linewidth=1)
    most = max(b["pictures"] for b in bins)
    axes.scatter(
        [b["confidence"] for b in bins],
        [b["accuracy"] for b in bins],
        s=[12 + 150 * b["pictures"] / most for b in bins],
    )
    axes.set(
        xlabel="confidence (area: number of pictures)",
        ylabel="share right",
        title=f"calibration error {figures['summary']['ece']:.3f}",
    )
    return figure


def _distilled(runs: Sequence[Run]) -> str:
    """Figures 7 and 8: the student with and without its teacher."""
    compared = _of(runs, "compare-distillation")
    return "".join(map(_compared_students, compared)) if compared else _students_by_their_logs(runs)


def _compared_students(run: Run) -> str:
    figures = run.read()
    groups = figures["groups"]
    described = [
        (
            name,
            len(g["runs"]),
            g["epochs"],
            _short(g["temperature"] or "–"),
            _short(g["share"] or "–"),
            _size(max(g["bytes"])),
        )
        for name, g in groups.items()
    ]
    parts = [
        "<p>The same network and schedule with and without a teacher, whose share of the loss is multiplied "
        "by T squared.</p>",
        _table(("student", "seeds", "epochs", "T", "teacher's share", "size"), described),
    ]
    for part, found in figures["parts"].items():
        parts.append(f"<h3>{found['pictures']} pictures of {_PART_NAMES.get(part, part)}</h3>")
        parts.append(_students_table(groups, found["groups"]))
        parts += [_gain(row) for row in found["differences"]]
    parts.append(_figures_7_8(figures["curves"]))
    parts.append(_source(run))
    return "".join(parts)


def _figures_7_8(curves: Mapping[str, Any]) -> str:
    drawn = (distillation_plot.curve(curves, key) for key in distillation_plot.FIGURES.values())
    return _panels(drawn, "Figures 7 and 8")


_PART_NAMES = {"valid": "valid, which chose nothing", "held-out": "the held-out part"}


def _students_table(groups: Mapping[str, Any], rows: Mapping[str, Any]) -> str:
    """A column per seed; int8 files."""
    seeds = sorted({seed for group in groups.values() for seed in group["seeds"]})
    body = []
    for name, row in rows.items():
        by_seed = dict(zip(groups[name]["seeds"], row["accuracy"]["of_each"], strict=True))
        body.append(
            (
                name,
                *(by_seed.get(seed, "–") for seed in seeds),
                row["accuracy"]["mean"],
                row["balanced_accuracy"]["mean"],
                row["ece"]["mean"],
            )
        )
    head = ("accuracy, int8", *(f"seed {seed}" for seed in seeds), "mean", "balanced", "ECE")
    return _table(head, body)


def _gain(row: Mapping[str, Any]) -> str:
    gained = ", ".join(
        f"{name} {100 * row[key]['value']:+.1f} points "
        f"[{100 * row[key]['low']:+.1f}, {100 * row[key]['high']:+.1f}]"
        for name, key in (("accuracy", "accuracy"), ("balanced accuracy", "balanced_accuracy"))
    )
    drawn = "the same ones on both sides" if row["paired_seeds"] else "on each side for itself"
    also = f" They differ in {', '.join(row['also_differ_in'])}, too." if row["also_differ_in"] else ""
    return (
        f"<p><b>{html.escape(row['taught'])}</b> against <b>{html.escape(row['alone'])}</b>: {gained} "
        f"(95 %, bootstrap over pictures, the same ones on both sides, and seeds, {drawn})."
        f"{html.escape(also)}</p>"
    )


def _students_by_their_logs(runs: Sequence[Run]) -> str:
    """Without a comparison on pictures: what the trainings themselves noted of the last student."""
    distilled = [run for run in _of(runs, "distill") if run.has("log.jsonl")]
    if not distilled:
        return ""
    recipe = distilled[-1].read("recipe.json")
    groups = {
        "with a teacher": _of_recipe(distilled, recipe, but=("seed",)),
        "alone": _of_recipe(_of(runs, "train-emotion"), recipe, but=("seed", *_TEACHING)),
    }
    if not groups["alone"]:
        return ""
    rows = [
        (name, run.read("recipe.json").get("seed", "–"), *(run.read()[key] for key in _HELD_OUT))
        for name, of_one in groups.items()
        for run in of_one
    ]
    said = (
        f"<p>The same network and schedule; temperature {recipe['distil_temperature']}, "
        f"the teacher's share of the loss {recipe['distil_share']}, times T squared. Held-out pictures; "
        "<code>compare-distillation</code> adds the interval of the difference.</p>"
    )
    curves = {name: [_log(run) for run in of_one] for name, of_one in groups.items()}
    return (
        said
        + _table(("student", "seed", "accuracy, int8", "balanced"), rows)
        + _figures_7_8(curves)
        + _source(*groups["with a teacher"], *groups["alone"])
    )


_TEACHING = ("distil_share", "distil_temperature")
_HELD_OUT = ("held_out_accuracy", "held_out_balanced_accuracy")


def _of_recipe(runs: Iterable[Run], recipe: Mapping[str, Any], but: Sequence[str]) -> list[Run]:
    def rest(of: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in of.items() if key not in but}

    return [run for run in runs if run.has("log.jsonl") and rest(run.read("recipe.json")) == rest(recipe)]


def _log(run: Run) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]


def _pruned(runs: Sequence[Run]) -> str:
    parts = []
    for run in _of(runs, "prune"):
        measured = run.read()["rows"]
        rows = [
            (
                row["name"],
                _size(row["bytes"]),
                _size(row["packed_bytes"]),
                row["milliseconds"],
                row["held_out_accuracy"],
            )
            for row in measured
        ]
        parts.append(_table(("", "file", "packed (gzip)", "ms", "held-out accuracy"), rows))
        parts.append(_panels(prune_plot.panels(measured), "size and time against accuracy"))
        parts.append(_source(run))
    return "".join(parts)


def _compared(runs: Sequence[Run]) -> str:
    parts = []
    for run in _of(runs, "compare-emotion"):
        rows = sorted(run.read()["rows"], key=lambda row: -row["accuracy"]["value"])
        parts.append(
            _table(
                ("model", "accuracy", "balanced", "ECE", "file", "ms"),
                [
                    (
                        row["name"],
                        _interval(row["accuracy"]),
                        row["summary"]["balanced_accuracy"],
                        row["summary"]["ece"],
                        _size(row["bytes"]),
                        "–" if row["milliseconds"] is None else row["milliseconds"],
                    )
                    for row in rows
                ],
            )
        )
        parts.append(_source(run))
    return "".join(parts)


def _detector(runs: Sequence[Run]) -> str:
    parts = [_detector_evaluation(run) for run in _of(runs, "evaluate-detector")]
    parts += [_detector_training(run) for run in _of(runs, "train-detector")]
    for run in _of(runs, "detector"):
        parts += [
            "<p>Taken from a finished bundle; its own figures:</p>",
            _flat_table(run.read()),
            _source(run),
        ]
    return "".join(parts)


def _detector_evaluation(run: Run) -> str:
    figures = run.read()
    found = {"ours": figures["detector"], **figures["rivals"]}
    things = list(figures["detector"])
    parts = [f"<h3>{html.escape(run.name)}: ours beside others</h3>"]
    columns = ("AP50", "precision", "recall", "recall_at_0.1_false_alarms", "false_alarms_per_picture")
    rows = [
        (thing, name, *(_or_dash(own[thing].get(key)) for key in columns))
        for thing in things
        for name, own in found.items()
        if thing in own
    ]
    head = ("", "detector", "AP50", "precision", "recall", "recall at 0.1 false a.", "false alarms / picture")
    parts.append(_table(head, rows))
    if run.has("curves.png"):
        parts.append(_picture(run.folder / "curves.png", "precision over recall; the suggested score marked"))
    sizes = list(figures["detector"][things[0]]["recall_by_height"])
    parts.append(
        _table(
            ("recall by height", *sizes),
            [(t, *(_found_of(figures["detector"][t]["recall_by_height"][s]) for s in sizes)) for t in things],
        )
    )
    sets = list(figures["detector"][things[0]]["by_set"])
    rows = [
        (thing, name, *(_or_dash(own[thing]["by_set"][part]["AP50"]) for part in sets))
        for thing in things
        for name, own in found.items()
        if thing in own
    ]
    parts.append(_table(("AP50 by set", "detector", *sets), rows))
    parts.append(_table(("ms", *figures["speed_ms"]), [("", *figures["speed_ms"].values())]))
    return "".join(parts) + _source(run)


def _or_dash(value: float | None) -> float | str:
    """A dash for what was not measured, or cannot be (no such thing in the pictures)."""
    return "–" if value is None or not math.isfinite(value) else float(value)


def _found_of(row: Mapping[str, Any]) -> Html:
    return Html(f"{row['recall']:.3f}<small>of {row['things']}</small>")


def _detector_training(run: Run) -> str:
    lines = [json.loads(line) for line in (run.folder / "history.jsonl").read_text().splitlines()]
    keys = [k for k, v in lines[-1].items() if isinstance(v, int | float) and k != "epoch"]
    figures = [_panel() for _ in keys]
    for figure, key in zip(figures, keys, strict=True):
        axes = figure.subplots()
        axes.plot([line["epoch"] for line in lines], [line[key] for line in lines])
        axes.set(xlabel="epoch", ylabel=key.replace("_", " "))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    metrics = run.read()
    kinds = {"float": metrics["held_float"], "int8": metrics["held_int8"]}
    columns = ("AP50", "precision", "recall", "recall_at_0.1_false_alarms")
    rows = [
        (thing, kind, *(own[thing][key] for key in columns))
        for thing in kinds["int8"]
        for kind, own in kinds.items()
    ]
    head = ("held-out", "", "AP50", "precision", "recall", "recall at 0.1 false a.")
    said = (
        f"<h3>{html.escape(run.name)}</h3><p>{metrics['steps']} steps, {_size(metrics['bytes'])} as int8.</p>"
    )
    return said + _table(head, rows) + _panels(figures) + _source(run)


def _decided(runs: Sequence[Run]) -> str:
    """What the whole chain tells over time (`evaluate-video`)."""
    parts = []
    for run in _of(runs, "evaluate-video"):
        figures = run.read()
        keys = ("frame_accuracy", "event_f1", "flips_per_minute", "onset_s", "false_per_minute")
        rows = [
            (
                row["name"],
                *(_or_dash(row["figures"][key]) for key in keys),
                _or_dash(row["clip_flips_per_minute"]),
            )
            for row in figures["rows"]
            if row["level"] == "all"
        ]
        head = (
            "way to decide",
            "right frames",
            "event F1",
            "flips/min",
            "onset s",
            "false/min",
            "flips/min, clips",
        )
        about = figures["sequences"]
        parts.append(
            f"<h3>{html.escape(run.name)}</h3><p>{about['sequences']} labelled sequences of together "
            f"{about['seconds']:.0f} s with {about['people']} people; the truth itself flips "
            f"{figures['true_flips_per_minute']:.1f} times a minute.</p>"
        )
        parts.append(_table(head, rows))
        if run.has("operating-points.png"):
            parts.append(_picture(run.folder / "operating-points.png", "what steadiness costs"))
        parts.append(_source(run))
    return "".join(parts)


def _flat_table(figures: Mapping[str, Any]) -> str:
    return _table(("figure", "value"), _flat(figures))


def _flat(figures: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = []
    for key, value in figures.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            rows += _flat(value, f"{name}, ")
        elif isinstance(value, int | float | str):
            rows.append((name, value))
    return rows


def _bundle(runs: Sequence[Run]) -> str:
    parts = []
    for run in _of(runs, "bundle"):
        content = run.read()
        manifest = run.read("bundle/manifest.json")
        emotion = manifest["emotion"]
        parts.append(
            _table(("file", "size"), ((name, _size(size)) for name, size in content["files"].items()))
        )
        signed = (
            f"signed; the key for the devices' settings is {content['public_key']}"
            if content.get("public_key")
            else "not signed"
        )
        parts.append(
            f"<p>{html.escape(manifest['name'])} {html.escape(manifest['version'])}, {html.escape(signed)}. "
            f"Tells {html.escape(', '.join(emotion['labels']))} apart at temperature "
            f"{emotion['temperature']}; "
            f"suggests the threshold {emotion['suggested']['threshold']} over "
            f"{emotion['suggested']['frames']} frames.</p>"
        )
        terms = "".join(f"<li>{html.escape(term)}</li>" for term in manifest["terms"])
        parts.append(f"<h3>Terms of the training data</h3><ul>{terms}</ul>{_source(run)}")
    return "".join(parts)


def _architecture(runs: Sequence[Run]) -> str:
    parts = []
    for run in _of(runs, "bundle"):
        for model in sorted((run.folder / "bundle").glob("*.tflite")):
            if model.stem.endswith("_edgetpu"):
                continue  # one custom operator, whose inside only the compiler knows
            operators = architecture.read_operators(model)
            rows = [
                (name.lower(), n, _size(weight))
                for name, (n, weight) in architecture.counts(operators).items()
            ]
            parts.append(f"<h3>{html.escape(model.name)}</h3>")
            parts.append(_table(("operator", "number", "weights"), rows))
            drawn = _figure(
                architecture.as_svg(operators), "height × width × channels after each operator; weights"
            )
            parts.append(
                f"<details open><summary>{len(operators)} operators in order</summary>{drawn}</details>"
            )
        parts.append(_source(run))
    return "".join(parts)


def _device_section(devices: Sequence[Path]) -> str:
    measured = device_times.read_times(devices)
    times = [*measured, *device_times.PUBLISHED]
    rows = [(t.device, t.model, t.milliseconds, t.source) for t in times]
    return _svg(device_times.draw(times)) + _table(("device", "model", "ms", "source"), rows)


SECTIONS: Mapping[str, Callable[[Sequence[Run]], str]] = {
    "Pictures": _data,
    "Collected faces": _collected,
    "Embeddings and suspicious labels": _projected,
    "Search": _searched,
    "Training": _trained,
    "Accuracy": _evaluated,
    "Distillation": _distilled,
    "Size, time, pruning": _pruned,
    "Beside other models": _compared,
    "Detector": _detector,
    "Decisions over time": _decided,
    "The bundle": _bundle,
    "Architecture": _architecture,
}
"""In the order of the page; a section without a run is left out."""

"""One page, nothing fetched, every figure from a file, and readable in a real browser at any width."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from oahega_build.errors import DataError, RunError
from oahega_build.whole import device_times
from oahega_build.whole.report.page import SECTIONS, write_report
from oahega_build.whole.report.runs import find_runs
from report_runs import SEEDS, make_runs

CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_runs(tmp_path_factory.mktemp("report") / "artifacts")


@pytest.fixture(scope="module")
def page(artifacts: Path) -> Path:
    return write_report(find_runs(artifacts), artifacts.parent / "report.html")


def copied(artifacts: Path, to: Path, *stages: str) -> Path:
    """The runs of these stages alone, to be changed."""
    for stage in stages:
        shutil.copytree(artifacts / stage, to / "artifacts" / stage)
    return to / "artifacts"


def test_every_stage_that_ran_has_its_section(page: Path) -> None:
    headings = set(re.findall(r"<h2>(.*?)</h2>", page.read_text()))

    assert headings == {section.title for section in SECTIONS}


def test_the_page_fetches_nothing(page: Path) -> None:
    text = page.read_text()

    references = re.findall(r"""(?:src|href)=["']?([^"'> ]+)""", text)
    assert all(r.startswith(("data:", "#")) for r in references)
    assert "<script" not in text
    assert "@import" not in text


def test_ids_of_the_pictures_do_not_clash(page: Path) -> None:
    ids = re.findall(r"""\bid="([^"]+)""", page.read_text())

    assert len(ids) == len(set(ids))


def test_a_figure_changed_in_its_file_changes_on_the_page(artifacts: Path, tmp_path: Path) -> None:
    copy = copied(artifacts, tmp_path, "evaluate-emotion")
    file = copy / "evaluate-emotion" / "a" / "metrics.json"
    figures = json.loads(file.read_text())
    figures["table_1"]["happy"]["precision"] = {"value": 0.4321, "low": 0.41, "high": 0.45}
    file.write_text(json.dumps(figures))

    text = write_report(find_runs(copy), tmp_path / "report.html").read_text()

    assert "0.432<small>0.41–0.45</small>" in text


def test_every_figure_of_a_table_stands_in_a_file_of_a_run(page: Path, artifacts: Path) -> None:
    in_files = [n for file in artifacts.rglob("*.json*") for n in numbers(file)]
    averages = [
        sum(row["precision"][0] for row in trial["classes"].values()) / len(trial["classes"])
        for trial in json.loads((artifacts / "tune/a/metrics.json").read_text())["table_1"]
    ]
    published = [time.milliseconds for time in device_times.PUBLISHED]
    millions = [number / 1e6 for number in in_files]

    shown = set(re.findall(r"<td[^>]*>(-?\d+\.\d{3})\b", page.read_text()))

    assert len(shown) > 50
    assert shown <= {f"{number:.3f}" for number in (*in_files, *averages, *published, *millions)}


def numbers(file: Path) -> Iterator[float]:
    """Every number of a JSON file, or of one with a value per line."""

    def inside(value: object) -> Iterator[float]:
        if isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                yield from inside(item)
        elif isinstance(value, int | float):
            yield float(value)

    text = file.read_text()
    for part in text.splitlines() if file.suffix == ".jsonl" else [text]:
        yield from inside(json.loads(part))


def test_students_over_seeds_stand_beside_each_other_with_the_interval_of_their_difference(
    page: Path,
) -> None:
    text = page.read_text()

    assert "<td>0.877</td><td>0.879</td><td>0.881</td>" in text
    assert "accuracy +1.7 points [+1.0, +2.4]" in text


def test_without_a_comparison_the_logs_of_every_seed_are_drawn(artifacts: Path, tmp_path: Path) -> None:
    copy = tmp_path / "artifacts"
    for stage, share in (("train-emotion", 0.0), ("distill", 0.7)):
        for seed in SEEDS:
            run = shutil.copytree(artifacts / stage / "student", copy / stage / f"student-{seed}")
            recipe = json.loads((run / "recipe.json").read_text()) | {"seed": seed, "distil_share": share}
            (run / "recipe.json").write_text(json.dumps(recipe))

    section = re.search(
        r'<section id="distillation">.*?</section>',
        write_report(find_runs(copy), tmp_path / "report.html").read_text(),
        re.DOTALL,
    )

    assert section is not None
    assert section[0].count("with a teacher</td>") == len(SEEDS)
    assert section[0].count("alone</td>") == len(SEEDS)
    assert section[0].count("<svg") == 2


def test_figures_from_elsewhere_stand_before_those_from_home(page: Path) -> None:
    text = page.read_text()

    assert text.index("0.544<small>0.51–0.57</small>") < text.index("<h2>Accuracy</h2>")
    assert "50.2%</" in text
    assert "balanced accuracy on web/report" in text


def test_a_page_without_figures_from_elsewhere_says_so(artifacts: Path, tmp_path: Path) -> None:
    copy = copied(artifacts, tmp_path, "evaluate-emotion", "bundle")

    assert "No figure from elsewhere" in write_report(find_runs(copy), tmp_path / "report.html").read_text()


def test_what_could_not_be_measured_is_a_dash(page: Path) -> None:
    text = page.read_text()

    assert "nan" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL).lower().split()
    assert ">inf<" not in text


def test_text_from_files_is_escaped(artifacts: Path, tmp_path: Path) -> None:
    copy = copied(artifacts, tmp_path, "overview")
    file = copy / "overview" / "a" / "metrics.json"
    file.write_text(
        json.dumps(json.loads(file.read_text()) | {"problems": ["<b onload=x>.png cannot be read"]})
    )

    title = "<script>alert(1)</script>"
    text = write_report(find_runs(copy), tmp_path / "report.html", title=title).read_text()

    assert "<b onload" not in text
    assert "&lt;b onload=x&gt;.png" in text
    assert "<script" not in text


def test_unfinished_runs_are_left_out(artifacts: Path, tmp_path: Path) -> None:
    copy = copied(artifacts, tmp_path, "overview", "tune")
    assert "<h2>Search</h2>" in write_report(find_runs(copy), tmp_path / "before.html").read_text()
    (copy / "tune" / "a").rename(copy / "tune" / "a.unfinished")

    text = write_report(find_runs(copy), tmp_path / "report.html").read_text()

    assert "<h2>Search</h2>" not in text


def test_an_artifacts_folder_without_runs_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing to report"):
        write_report(find_runs(tmp_path), tmp_path / "report.html")


def test_the_architecture_names_every_operator_of_the_embedded_models(page: Path) -> None:
    from oahega_build.models.operators import read_operators
    from oahega_edge.bundles.load import DEFAULT_BUNDLE

    text = page.read_text()

    for model in ("detector", "emotion"):
        operators = read_operators(DEFAULT_BUNDLE / f"{model}.tflite")
        assert operators
        assert all(operator.name.lower() in text for operator in operators)


def test_times_of_devices_stand_beside_published_ones_with_their_sources(
    artifacts: Path, tmp_path: Path
) -> None:
    file = tmp_path / "kiosk.json"
    row = {"model": "emotion", "accelerator": "cpu", "threads": 2, "p50_ms": 0.987}
    file.write_text(json.dumps({"device": "Raspberry Pi 5", "models": [row]}))

    text = write_report(find_runs(artifacts), tmp_path / "report.html", [file]).read_text()

    assert "0.987" in text
    assert "0.123" in text  # of the run of `bench`
    assert all(time.source in text for time in device_times.PUBLISHED)


def test_a_file_without_times_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text("{}")

    with pytest.raises(DataError, match="bench --models"):
        device_times.read_times([file])


@pytest.mark.lengthy
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian's package chromium)")
def test_nothing_is_wider_than_the_screen(page: Path, tmp_path: Path) -> None:
    widths = (360, 768, 1280)
    frame = json.dumps(page.read_text()).replace("</", "<\\/")
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(
        f"<body><pre id=out></pre><script>const page = {frame};"
        f"for (const width of {list(widths)}) {{"
        "const f = document.body.appendChild(document.createElement('iframe'));"
        "f.width = width; f.height = 900; f.srcdoc = page;"
        "f.onload = () => { const d = f.contentDocument.documentElement;"
        "const b = f.contentDocument.querySelectorAll('section').length;"
        "document.getElementById('out').textContent +="
        " `${width}: wide ${d.scrollWidth} of ${d.clientWidth}, ${b} sections. `; };"
        "}</script></body>"
    )
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000"]
    command += [
        f"--user-data-dir={tmp_path / 'profile'}",
        "--window-size=1400,1000",
        "--dump-dom",
        str(wrapper),
    ]

    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    found = re.findall(r"(\d+): wide (\d+) of (\d+), (\d+) sections", shown)
    assert sorted(int(width) for width, *_ in found) == list(widths)
    for width, wide, visible, sections in found:
        assert int(sections) >= 9
        assert int(wide) <= int(visible), f"at {width}"

"""The documents name only what exists: links, files, settings, decisions, and verbs of make and the CLI."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

import oahega_edge
from oahega_build.cli import app as build_verbs  # noqa: TID251 (the documents name its verbs too)
from oahega_edge.cli import app as edge_verbs
from oahega_edge.service.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("docs", "edge", "build", "systemd", "debian", "ansible", "requirements", "tests")
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(p for name in FOLDERS for p in (ROOT / name).rglob("*.md"))]
BASES = (ROOT, ROOT / "edge", ROOT / "build", ROOT / "edge/oahega_edge", ROOT / "build/oahega_build")
"""Folders that a path in a document may start from, beside the document's own folder."""
MADE = (".cache", "artifacts", "dist", "inventory")
"""Folders that users and verbs fill."""
DECISIONS = ROOT / "docs/decisions"
HISTORY = [page for page in PAGES if page.parent == DECISIONS or page.name == "CHANGELOG.md"]
"""Pages that may name what has gone since."""
TODAY = [page for page in PAGES if page not in HISTORY]


def prose(text: str) -> str:
    """The text of a page without fenced examples."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub derives from the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            yield target


def missing_paths(page: Path) -> Iterator[str]:
    """Names in backticks that begin like a path of this repository but do not exist.

    What lies beside the checkout may be absent.
    """
    for name in re.findall(r"`([\w.*-]+(?:/[\w.*-]+)*/?)`", prose(page.read_text(encoding="utf-8"))):
        first = name.partition("/")[0]
        bases = [base for base in (page.parent, *BASES) if (base / first).is_dir()]
        is_path = "/" in name and bases and first not in (*MADE, "..")
        if is_path and not any(any(base.glob(name)) for base in bases):
            yield name


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert list(broken_links(page)) == []


@pytest.mark.parametrize("page", TODAY, ids=name_of)
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    assert list(missing_paths(page)) == []


def test_a_broken_link_and_a_wrong_path_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Top\n[a](#top) [b](#bottom) [c](gone.md) `docs/gone.md` `edge/README.md` `oahega/v1`")

    found = [*broken_links(page), *missing_paths(page)]

    assert found == ["#bottom", "gone.md", "docs/gone.md"]


def named(pattern: str) -> set[str]:
    """All that the pattern finds in the pages of today, examples included."""
    texts = (page.read_text(encoding="utf-8") for page in TODAY)
    return {name for text in texts for name in re.findall(pattern, text)}


def test_every_make_verb_of_the_documents_exists() -> None:
    rules = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))

    assert named(r"(?m)(?:`|^ *)make ([a-z][\w-]*)") <= rules


def test_every_verb_of_the_command_lines_exists() -> None:
    assert named(r"python -m oahega_build ([a-z][\w-]*)") <= set(get_command(build_verbs).commands)
    typed = named(r"(?m)(?:`|^ *|bin/)oahega-edge ([a-z][\w-]*)(?![\w/-])")

    assert typed <= set(get_command(edge_verbs).commands)


def test_the_index_of_decisions_lists_each_with_its_title() -> None:
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    headings = {
        page.name: page.read_text(encoding="utf-8").splitlines()[0] for page in DECISIONS.glob("[0-9]*.md")
    }

    rows = re.findall(r"^\| \[(\d{4})\]\((\S+)\) \| (.+?) \|", index, re.MULTILINE)

    assert {file: f"# {number}: {title}" for number, file, title in rows} == headings


def test_the_index_lists_every_page_of_its_folder() -> None:
    index = (ROOT / "docs/README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}

    assert {name for name in pages if f"]({name})" not in index} == set()


def test_every_setting_of_the_documents_exists() -> None:
    sections = "|".join(Settings.model_fields)
    fields = {
        name: set(getattr(field.annotation, "model_fields", ()))
        for name, field in Settings.model_fields.items()
    }
    settings = {f"{section}.{key}" for section, keys in fields.items() for key in keys}
    said = {f"health.{name}" for name in ("delivery", "drift", "shadow", "last_event")}
    others = {*said, "metrics.json", "device.txt"}

    assert named(rf"`((?:{sections})\.(?!py`|md`|toml`|yml`)[a-z_]+)") - others <= settings


def promises() -> dict[str, str]:
    """Promise -> tests that hold it, of docs/security.md."""
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    table = page.partition("## Promises and their tests")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+) \| (.+) \|$", table, re.MULTILINE)
    return dict(rows[1:])  # without the head


@pytest.mark.parametrize("tests", promises().values(), ids=promises())
def test_every_promise_names_tests_that_exist(tests: str) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`(?:: )?([^;]*)", tests)
    functions = {
        file: re.findall(r"^def (\w+)\(", (ROOT / file).read_text(), re.MULTILINE) for file, _ in named
    }
    missing = {
        name for file, names in named for name in re.findall(r"`(\w+)`", names) if name not in functions[file]
    }

    assert named
    assert missing == set()


def test_one_release_is_named_everywhere() -> None:
    example = (ROOT / "ansible/inventory/example/group_vars/devices/main.yml").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (?:Unreleased \()?([\d.]+)", changelog, re.MULTILINE)
    packages = named(r"oahega-edge_([\d.]+)_a\w+64\.deb")
    folders = named(r"/opt/oahega-edge/releases/([\d.]+\d)")
    role = set(re.findall(r'oahega_edge_release: "([\d.]+)"', example))

    assert newest is not None
    assert packages | folders | role | {newest.group(1)} == {oahega_edge.__version__}

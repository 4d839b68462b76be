"""The operator's side: the key, opening what was fetched, what was withdrawn."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge.samples.giving import Days, png
from oahega_build.cli import app
from oahega_build.errors import BuildError
from oahega_build.samples.book import BOOK, Book
from oahega_build.samples.keys import load_key, make_key
from oahega_build.samples.opening import Opened, open_samples, withdraw_here
from oahega_edge.samples.codes import hash_of
from oahega_edge.samples.consent import ASKED
from oahega_edge.samples.keys import PRIVATE, PUBLIC, key_text, read_key
from oahega_edge.samples.sealed import Sample, seal
from oahega_edge.samples.shelf import FOLDER, Shelf


class Site:
    """An operator with a key, a device and what was fetched from it."""

    def __init__(self, folder: Path) -> None:
        self.private = folder / "samples.key"
        self.recipient = read_key(PUBLIC, make_key(self.private))
        self.fetched = folder / "fetched"
        self.out = folder / "opened"
        (self.fetched / "kiosk").mkdir(parents=True)
        self.days = Days()
        self.shelf = Shelf(self.fetched / "kiosk", 100, 30, self.days)

    def give(self, label: str = "happy", content: bytes | None = None) -> str:
        """A sample on the device, fetched as it lies there; its code."""
        sample = Sample(content or png(), label, "tiny 1.0", ASKED, self.days())
        return self.shelf.keep(sample, self.recipient)[0]

    def open(self) -> Opened:
        return open_samples(self.fetched, load_key(self.private), Book(self.out))

    def pictures(self) -> list[str]:
        return sorted(str(file.relative_to(self.out)) for file in self.out.rglob("*.png"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def name_of(code: str) -> str:
    return hash_of(code).hex()


def test_samples_are_opened_into_a_folder_per_label(site: Site) -> None:
    one, two = site.give("happy", png(1)), site.give("sad", png(2))

    opened = site.open()

    assert (opened.opened, opened.unreadable) == (2, {})
    assert site.pictures() == [f"happy/{name_of(one)}.png", f"sad/{name_of(two)}.png"]
    assert (site.out / site.pictures()[0]).read_bytes() == png(1)


def test_pictures_of_people_are_for_their_owner_only(site: Site) -> None:
    site.give()
    site.open()

    for file in (site.out, *site.out.rglob("*.png"), site.out / "happy", site.private):
        assert not file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), file


def test_what_was_opened_before_is_not_opened_again(site: Site) -> None:
    code = site.give()
    site.open()
    book = Book(site.out)
    book.judge(name_of(code), "sad")
    other = site.give()
    Book(site.out).judge(name_of(code), None)

    assert site.open().opened == 1

    assert site.pictures() == [f"happy/{name_of(other)}.png"]


def test_what_is_withdrawn_on_the_device_goes_here_as_well(site: Site) -> None:
    code, other = site.give(), site.give()
    site.open()
    fetched_before = next((site.fetched / "kiosk" / FOLDER).glob(f"{name_of(code)}.sample")).read_bytes()
    site.shelf.withdraw(code)
    (site.fetched / "kiosk" / FOLDER / f"{name_of(code)}.sample").write_bytes(fetched_before)

    opened = site.open()

    assert (opened.opened, opened.withdrawn) == (0, 1)
    assert site.pictures() == [f"happy/{name_of(other)}.png"]
    assert not list(site.fetched.rglob(f"{name_of(code)}.sample"))


@pytest.mark.parametrize("name", ["*", "?" * 32, "[0-9a-f]*", "0" * 31])
def test_a_withdrawal_is_of_one_sample_whatever_the_device_calls_it(name: str, site: Site) -> None:
    """To who deletes by a name, it is a pattern of files."""
    site.give()
    site.open()
    (site.fetched / "kiosk" / FOLDER / f"{name}.withdrawn").touch()

    opened = site.open()

    assert (opened.withdrawn, len(site.pictures())) == (0, 1)


@pytest.mark.parametrize("is_opened", [True, False])
def test_the_operator_withdraws_by_code_what_the_device_has_forgotten(is_opened: bool, site: Site) -> None:
    code = site.give()
    sealed = next(site.fetched.rglob("*.sample"))
    content = sealed.read_bytes()
    if is_opened:
        site.open()

    withdraw_here(site.fetched, Book(site.out), code.lower())
    sealed.write_bytes(content)  # fetched once more
    site.open()

    assert site.pictures() == []
    with pytest.raises(BuildError, match="no sample here has this code"):
        withdraw_here(site.fetched, Book(site.out), "0000-0000-0000")
    with pytest.raises(BuildError, match="12 letters and digits"):
        withdraw_here(site.fetched, Book(site.out), "mine")


def test_another_key_is_one_sentence_and_opens_nothing(site: Site, tmp_path: Path) -> None:
    site.give()
    make_key(tmp_path / "other.key")

    opened = open_samples(site.fetched, load_key(tmp_path / "other.key"), Book(site.out))

    assert opened.for_others == 1
    assert list(opened.sentences(0))[1] == "1 samples are sealed for another key; open them with that one"
    assert site.pictures() == []


def flipped(content: bytes) -> bytes:
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize(
    "damage", [lambda c: b"", lambda c: c[:20], lambda c: c[:60], flipped, lambda c: b"x" * 100_000]
)
def test_a_damaged_sample_is_left_out_and_the_others_are_opened(
    damage: Callable[[bytes], bytes], site: Site
) -> None:
    site.give()
    damaged = next(site.fetched.rglob("*.sample"))
    damaged.write_bytes(damage(damaged.read_bytes()))
    site.give()

    opened = site.open()

    assert opened.opened == 1
    ((name, reason),) = opened.unreadable.items()
    assert name == damaged.name
    assert "\n" not in reason


def sealed_by_anybody(site: Site, about: dict[str, object], picture: bytes) -> None:
    """Whoever knows the public key can seal what they like."""
    from oahega_edge.samples import sealed

    code_hash = bytes(range(16))
    usual = sealed._packed
    content = json.dumps(about).encode() + b"\n" + picture
    sealed._packed = lambda sample: content
    try:
        whole = seal(Sample(b"", "", "", "", site.days()), code_hash, site.days(), site.recipient)
    finally:
        sealed._packed = usual
    (site.fetched / f"{code_hash.hex()}.sample").write_bytes(whole)


ABOUT = {"label": "happy", "model": "m", "consent": ASKED, "day": "2026-03-01", "bytes": len(png())}


@pytest.mark.parametrize(
    ("changed", "picture"),
    [
        ({"label": "../../evil"}, png()),
        ({"label": ".."}, png()),
        ({"label": "a/b"}, png()),
        ({"label": ""}, png()),
        ({"label": 7}, png()),
        ({"more": 1}, png()),
        ({"consent": "none"}, png()),
        ({"bytes": 10**9}, png()),
        ({}, b"GIF89a no png at all" * 20),
        ({"bytes": len(png(0, 97))}, png(0, 97)),
        ({}, b""),
        ({}, png()[:20]),
        ({}, png()[:16] + b"\0\0\xff\xff" * 2 + png()[24:]),  # claims 65,535 pixels in each direction
        ({}, png()[:24] + bytes(len(png()) - 24)),
    ],
)
def test_what_makes_no_sense_inside_a_sample_is_left_out(
    changed: dict[str, object], picture: bytes, site: Site
) -> None:
    sealed_by_anybody(site, ABOUT | changed, picture)

    opened = site.open()

    assert (opened.opened, len(opened.unreadable)) == (0, 1)
    assert list(site.out.iterdir()) == [site.out / BOOK]


WRONG_KEYS = {
    "empty": b"",
    "binary": b"\xff\0" * 20,
    "cut off": key_text(PRIVATE, bytes(32)).encode()[:-3],
    "the public one": key_text(PUBLIC, bytes(32)).encode(),
    "of a bundle": b"Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm8=\n",
    "too long": b"x" * 5000,
}


@pytest.mark.parametrize("content", WRONG_KEYS.values(), ids=WRONG_KEYS)
def test_a_broken_key_file_is_one_sentence_that_does_not_repeat_it(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "wrong.key"
    file.write_bytes(content)

    with pytest.raises(BuildError) as caught:
        load_key(file)

    said = str(caught.value)
    assert said.startswith(f"the key {file} ")
    assert "\n" not in said
    assert not content or content[:30].decode("latin-1") not in said


def test_a_key_is_never_overwritten(site: Site) -> None:
    before = site.private.read_bytes()

    with pytest.raises(BuildError, match="cannot be written: File exists"):
        make_key(site.private)

    assert site.private.read_bytes() == before


def test_a_damaged_book_is_one_sentence(site: Site) -> None:
    site.give()
    site.open()
    (site.out / BOOK).write_text('{"a": 1}')

    with pytest.raises(BuildError, match="is damaged"):
        Book(site.out)


def test_the_verbs_make_a_key_and_open(site: Site, tmp_path: Path) -> None:
    site.give("sad")
    new = CliRunner().invoke(app, ["sample-key", str(tmp_path / "new.key")])
    command = ["open-samples", str(site.fetched), "--key", str(site.private), "--out", str(site.out)]

    done = CliRunner().invoke(app, command)

    assert new.stdout.startswith(PUBLIC)
    assert "opened 1 samples, deleted 0 that were withdrawn; 1 are here" in done.output
    assert len(site.pictures()) == 1


def test_the_commands_of_the_documents_work(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/learning.md").read_text(encoding="utf-8")
    make, open_, review = re.findall(
        r"^python -m oahega_build (sample-key.*|open-samples.*|review.*)$", page, re.MULTILINE
    )
    place = tmp_path / "operator"
    place.mkdir()
    monkeypatch.chdir(place)
    assert CliRunner().invoke(app, make.split()).exit_code == 0
    (place / "inventory/mine").mkdir(parents=True)
    fetched = place / "inventory/mine/samples/kiosk"
    shelf = Shelf(fetched.parent, 5, 30, site.days)
    recipient = load_key(place / "samples.key").public_key().public_bytes_raw()
    fetched.parent.mkdir()
    shelf.keep(Sample(png(), "happy", "tiny 1.0", ASKED, site.days()), recipient)
    (fetched.parent / FOLDER).rename(fetched)

    done = CliRunner().invoke(app, open_.split())

    assert "opened 1 samples" in done.output
    assert len(list((place / "samples/happy").iterdir())) == 1
    assert review == "review samples"

"""Samples on the disk: sealed, counted, withdrawn, expired; whole or not at all."""

from __future__ import annotations

import itertools
import logging
import resource
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from edge.samples.giving import KEY, RECIPIENT, Days, a_sample
from oahega_edge.asking.refusals import Refusal
from oahega_edge.errors import EdgeError, SettingsError
from oahega_edge.samples import codes
from oahega_edge.samples.desk import ask_folder
from oahega_edge.samples.keys import PRIVATE, PUBLIC, key_text, read_key
from oahega_edge.samples.sealed import BLOCK, HEADER, check_sealing, seal
from oahega_edge.samples.shelf import FOLDER, Shelf
from waiting import await_end, beside

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
HASH = bytes(range(16))


@pytest.fixture
def days() -> Days:
    return Days()


@pytest.fixture
def shelf(tmp_path: Path, days: Days) -> Shelf:
    return Shelf(tmp_path, 5, 30, days)


def files(state: Path) -> Counter[str]:
    """Number of files by ending."""
    return Counter(file.suffix for file in (state / FOLDER).iterdir())


def opened(content: bytes, key: X25519PrivateKey) -> bytes:
    return SUITE.decrypt(content[HEADER.size :], key, content[: HEADER.size])


def test_only_the_operators_key_opens_a_sample(days: Days) -> None:
    content = seal(a_sample(), HASH, days(), RECIPIENT)

    inside = opened(content, KEY)

    assert b'"label": "happy"' in inside
    assert a_sample().png in inside
    assert b"plain pixels" not in content
    assert b"happy" not in content


def test_no_key_that_the_device_holds_opens_a_sample(shelf: Shelf, tmp_path: Path) -> None:
    shelf.keep(a_sample(), RECIPIENT)
    (file,) = (tmp_path / FOLDER).iterdir()
    content = file.read_bytes()
    held = [RECIPIENT, key_text(PUBLIC, RECIPIENT).encode(), bytes.fromhex(file.stem), content]
    windows = {text[i : i + 32] for text in held for i in range(max(1, len(text) - 31))}

    for candidate in (window.ljust(32, b"\0") for window in windows):
        with pytest.raises(InvalidTag):
            opened(content, X25519PrivateKey.from_private_bytes(candidate))


@pytest.mark.parametrize("place", [0, 9, 25, 30, 40, -1])
def test_a_sample_of_which_a_bit_was_changed_is_refused(place: int, days: Days) -> None:
    content = bytearray(seal(a_sample(), HASH, days(), RECIPIENT))
    content[place] ^= 1

    with pytest.raises((InvalidTag, ValueError)):
        opened(bytes(content), KEY)


def test_the_size_does_not_tell_the_label(days: Days) -> None:
    sizes = {len(seal(a_sample(label), HASH, days(), RECIPIENT)) for label in ("sad", "surprise", "x" * 64)}

    assert len(sizes) == 1
    assert (sizes.pop() - HEADER.size - 48) % BLOCK == 0


def test_two_samples_of_the_same_are_sealed_with_different_keys(days: Days) -> None:
    one, two = (seal(a_sample(), HASH, days(), RECIPIENT) for _ in range(2))

    assert not {one[i : i + 16] for i in range(HEADER.size, len(one) - 16)} & {
        two[i : i + 16] for i in range(HEADER.size, len(two) - 16)
    }


def test_a_withdrawn_sample_is_gone_and_a_trace_without_content_stays(shelf: Shelf, tmp_path: Path) -> None:
    code, _ = shelf.keep(a_sample(), RECIPIENT)
    shelf.keep(a_sample(), RECIPIENT)

    shelf.withdraw(code.lower().replace("-", " "))

    assert files(tmp_path) == {".sample": 1, ".withdrawn": 1}
    assert (tmp_path / FOLDER / f"{codes.hash_of(code).hex()}.withdrawn").read_bytes() == b""
    assert shelf.stock().samples == 1
    with pytest.raises(Refusal, match="no sample on this device has this code"):
        shelf.withdraw(code)


@pytest.mark.parametrize(
    "code", ["", "x", "7KQM-2XWD-90FA", "../../muted", "7KQM-2XWD-90F\ud800", "7" * 4000]
)
def test_a_wrong_code_withdraws_nothing(code: str, shelf: Shelf) -> None:
    shelf.keep(a_sample(), RECIPIENT)

    with pytest.raises(Refusal, match="no sample on this device has this code"):
        shelf.withdraw(code)

    assert shelf.stock().samples == 1


def test_a_code_is_read_as_people_write_it() -> None:
    assert codes.hash_of("7kqm2xwd90fa") == codes.hash_of(" 7KQM - 2XWD-9OFA ")
    assert codes.hash_of("1LI0-0000-0000") == codes.hash_of("1110-0000-0000")
    assert len({codes.new_code() for _ in range(500)}) == 500


def test_expired_samples_go_on_their_day(shelf: Shelf, days: Days, tmp_path: Path) -> None:
    shelf.keep(a_sample(), RECIPIENT)
    days.pass_by(1)
    _, goes_on = shelf.keep(a_sample(), RECIPIENT)
    days.pass_by(28)
    shelf.tidy()
    assert shelf.stock().samples == 2

    days.pass_by(1)
    shelf.tidy()
    assert (shelf.stock().samples, shelf.stock().next_goes) == (1, goes_on)

    days.pass_by(1)
    shelf.tidy()
    assert files(tmp_path) == {}


def test_a_sample_of_a_clock_that_was_ahead_or_of_longer_days_goes_as_well(
    shelf: Shelf, days: Days, tmp_path: Path
) -> None:
    days.pass_by(400)
    shelf.keep(a_sample(), RECIPIENT)
    days.pass_by(-400)
    Shelf(tmp_path, 5, 60, days).keep(a_sample(), RECIPIENT)
    shelf.keep(a_sample(), RECIPIENT)

    shelf.tidy()

    assert shelf.stock().samples == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.sample", b""),
        ("a.sample", b"plain"),
        ("a.sample", b"oahegaS2" + bytes(500)),
        ("a.sample", b"oahegaS1" + b"\xff" * 500),
        ("a.new", b"oahegaS1 half of a sample"),
    ],
)
def test_what_a_power_cut_or_another_release_left_goes(
    name: str, content: bytes, shelf: Shelf, tmp_path: Path
) -> None:
    shelf.keep(a_sample(), RECIPIENT)
    (tmp_path / FOLDER / name).write_bytes(content)

    shelf.tidy()

    assert files(tmp_path) == {".sample": 1}


def test_a_withdrawal_that_a_power_cut_interrupted_is_finished(shelf: Shelf, tmp_path: Path) -> None:
    shelf.keep(a_sample(), RECIPIENT)
    (file,) = (tmp_path / FOLDER).iterdir()
    file.rename(file.with_suffix(".withdrawn"))  # the moment between both steps

    shelf.tidy()

    assert file.with_suffix(".withdrawn").read_bytes() == b""


def test_a_full_shelf_takes_no_more(shelf: Shelf) -> None:
    code, *_ = (shelf.keep(a_sample(), RECIPIENT)[0] for _ in range(5))
    with pytest.raises(Refusal, match="as many samples as"):
        shelf.keep(a_sample(), RECIPIENT)

    shelf.withdraw(code)

    shelf.keep(a_sample(), RECIPIENT)


def test_forgetting_takes_all_and_what_was_withdrawn_stays_known(shelf: Shelf, tmp_path: Path) -> None:
    code, *_ = (shelf.keep(a_sample(), RECIPIENT)[0] for _ in range(3))
    shelf.withdraw(code)

    assert shelf.forget() == 2

    assert files(tmp_path) == {".withdrawn": 1}
    assert ask_folder(tmp_path, "samples", None) == {
        "samples": 0,
        "next_goes": None,
        "last_goes": None,
        "withdrawn": 1,
    }


def a_file(state: Path) -> None:
    (state / FOLDER).write_text("")


def a_link_into_nowhere(state: Path) -> None:
    (state / FOLDER).symlink_to("/nowhere/at/all")


def a_folder_that_root_cannot_change(state: Path) -> None:
    (state / FOLDER).symlink_to("/sys")


@pytest.mark.parametrize("damage", [a_file, a_link_into_nowhere, a_folder_that_root_cannot_change])
def test_a_disk_that_refuses_is_one_sentence(
    damage: Callable[[Path], None], shelf: Shelf, tmp_path: Path
) -> None:
    damage(tmp_path)

    with pytest.raises(Refusal, match=r"^the device cannot write to its disk; nothing was kept \(.+\)$"):
        shelf.keep(a_sample(), RECIPIENT)

    assert not any(file.is_file() and file.stat().st_size for file in tmp_path.rglob("*"))


@pytest.mark.parametrize("room", [0, 100, 4096])
def test_a_disk_that_becomes_full_while_it_is_written_keeps_nothing(
    room: int, shelf: Shelf, tmp_path: Path
) -> None:
    shelf.keep(a_sample(), RECIPIENT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(Refusal, match="nothing was kept"):
            shelf.keep(a_sample(), RECIPIENT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert files(tmp_path) == {".sample": 1}


def test_many_at_once_are_kept_whole(tmp_path: Path, days: Days) -> None:
    shelf = Shelf(tmp_path, 8, 30, days)
    refused: list[str] = []

    def keep() -> None:
        try:
            shelf.keep(a_sample(), RECIPIENT)
        except Refusal as refusal:
            refused.append(refusal.word)

    await_end(*[beside(keep) for _ in range(12)])

    assert files(tmp_path) == {".sample": 8}
    assert refused == ["full"] * 4


def test_each_step_is_logged_without_content(
    shelf: Shelf, days: Days, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    code, _ = shelf.keep(a_sample(), RECIPIENT)
    shelf.withdraw(code)
    with pytest.raises(Refusal):
        shelf.withdraw(code)
    shelf.keep(a_sample(), RECIPIENT)
    days.pass_by(60)
    shelf.tidy()
    shelf.forget()

    assert [record.getMessage() for record in caplog.records] == [
        "a sample was kept, 1 of at most 5",
        "a sample was withdrawn",
        "a withdrawal named no sample",
        "a sample was kept, 1 of at most 5",
        "samples expired: 1",
        "all samples were deleted: 0",
    ]
    assert not any(text in caplog.text for text in (code, "happy", codes.hash_of(code).hex()))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "Zm9v" * 11,
        key_text(PUBLIC, RECIPIENT)[:-1],
        key_text(PUBLIC, RECIPIENT)[:-2] + "__",
        key_text(PUBLIC, RECIPIENT).swapcase(),
        key_text(PUBLIC, RECIPIENT) + "A",
        key_text(PRIVATE, RECIPIENT),
        PUBLIC + "ü" * 48,
    ],
    ids=("nothing", "x", "other", "short", "mistyped", "case", "long", "private", "not ascii"),
)
def test_a_wrong_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no key of samples|was cut off or mistyped") as caught:
        read_key(PUBLIC, text)

    assert len(text) < 2 or text not in str(caught.value)


@pytest.mark.parametrize("key", [bytes(32), b"\1" + bytes(31)])
def test_a_key_for_which_nothing_can_be_sealed_is_found_at_the_start(key: bytes) -> None:
    with pytest.raises(SettingsError, match="for which nothing can be sealed"):
        check_sealing(key)


def test_a_folder_that_cannot_be_read_is_no_empty_one(tmp_path: Path) -> None:
    with pytest.raises(EdgeError, match="cannot be read"):
        ask_folder(tmp_path / "nowhere", "samples", None)
    (tmp_path / FOLDER).write_text("")
    for request in ("samples", "samples-forget"):
        with pytest.raises(EdgeError, match=r"cannot be read|nothing was deleted"):
            ask_folder(tmp_path, request, None)
    assert list(itertools.islice(tmp_path.iterdir(), 2)) == [tmp_path / FOLDER]

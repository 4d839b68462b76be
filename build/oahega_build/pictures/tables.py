"""Tables that people edit in a spreadsheet: CSV with commas, semicolons or tabs."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from oahega_build.errors import DataError
from oahega_edge.text import read_text

DELIMITERS = ",;\t"
LARGEST_TABLE = 1 << 30
"""Bytes; the annotations of COCO's training part have 448 MB."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table as read: a name per column, a value per column in every row."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[dict[str, str], ...]
    lines: tuple[int, ...]
    """Line of the file that each row ends in, for errors."""
    decimal_comma: bool
    """Spreadsheets that separate by semicolons write 0,5 for a half."""

    def path_in(self, text: str) -> str:
        """A cell as the path of a file below the data set, with `/`."""
        return text.strip().replace("\\", "/")

    def number(self, text: str) -> float:
        """A cell as a number; ValueError where it is none."""
        return float(text.replace(",", ".") if self.decimal_comma else text)


def read_table(path: Path, needed: Iterable[str]) -> Table:
    """A file whose first line names the columns; empty lines are skipped.

    Raises DataError when it is no text, a column of `needed` is absent, or a line is shorter or longer.
    """
    lines = _lines(path)
    skipped = 1 if lines[0].lower().startswith("sep=") else 0  # Excel's hint to itself
    delimiter = max(DELIMITERS, key=lines[skipped].count)
    cells = [*_cells(path, lines[skipped:], delimiter)]
    columns = tuple(name.strip() for name in _at_most(cells[0][0], 0)) if cells else ()
    absent = sorted(set(needed) - set(columns))
    if absent:
        raise DataError(f"{path} has no column {', '.join(absent)}; its columns are {', '.join(columns)}")
    rows = tuple(_row(path, columns, row, number + skipped) for row, number in cells[1:])
    return Table(path, columns, rows, tuple(number + skipped for _, number in cells[1:]), delimiter != ",")


def _lines(path: Path) -> list[str]:
    try:
        return [*read_text(path, LARGEST_TABLE).split("\n"), ""]
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; check the path") from error
    except ValueError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _cells(path: Path, lines: list[str], delimiter: str) -> Iterator[tuple[list[str], int]]:
    """The cells of every line that is not empty, with its number."""
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter)
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield cells, reader.line_num
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}; save it as CSV again") from error


def _row(path: Path, columns: tuple[str, ...], cells: list[str], number: int) -> dict[str, str]:
    cells = _at_most(cells, len(columns))
    if len(cells) != len(columns):
        raise DataError(
            f"{path}, line {number} has {len(cells)} cells, the first line has {len(columns)}; correct it"
        )
    return dict(zip(columns, cells, strict=True))


def _at_most(cells: list[str], count: int) -> list[str]:
    """Without the empty cells beyond `count` that some programs add."""
    while len(cells) > count and not cells[-1].strip():
        cells = cells[:-1]
    return cells

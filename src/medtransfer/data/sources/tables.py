"""Tables as people save them: the separator and the encoding are recognised, blanks and empty parts are dropped.

Recognised: comma, semicolon and tab; a first line ``sep=;``; UTF-8 with and without its mark, UTF-16, and Latin-1 for
what is none of them. Header cells are matched without case and outer blanks; cells lose outer blanks.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from medtransfer.errors import DataError

SEPARATORS = (",", ";", "\t")
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
Record = dict[str, str]


class Table(list[tuple[int, Record]]):
    """``(row number, record)`` of a table; the header is row 1 if nothing is above it, a missing cell is empty.

    Attributes:
        utf8: whether the text was valid Unicode; otherwise letters beyond ASCII are a guess.
        notes: what was dropped or recognised, in words.
    """

    def __init__(self, records: Iterable[tuple[int, Record]], *, utf8: bool, notes: Sequence[str]) -> None:
        super().__init__(records)
        self.utf8, self.notes = utf8, tuple(notes)


def read_table(path: Path, required: Sequence[str], *, optional: Sequence[str] = (), comment: str = "") -> Table:
    """Read a table.

    Args:
        path: the file.
        required: columns that must be there.
        optional: columns that may be there; like the required ones they are spelt this way in the records.
        comment: lines before the header that begin with this are left out, and counted in the row numbers.

    Raises:
        DataError: the file is absent, is not a table, lacks a required column, has a column twice,
            or a row is longer than the header.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such table, expected columns {', '.join(required)}; correct the source's root")
    text, utf8 = _decode(path.read_bytes())
    above = 0
    while comment and text.startswith(comment):
        text, above = text.partition("\n")[2], above + 1
    separator = ""
    if text[:4].lower() == "sep=":  # Excel's own first line
        line, _, text = text.partition("\n")
        separator, above = line[4:].strip("\r") or ",", above + 1
    try:
        separator = separator or _separator(text, required)
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except (csv.Error, TypeError) as error:
        raise DataError(f"{path}: not a comma-separated table ({error}); export it again") from error
    return _records(path, rows, above, (*required, *optional), required, utf8=utf8, separator=separator)


def _decode(content: bytes) -> tuple[str, bool]:
    """Return the text, and whether it was valid Unicode."""
    mark = next((codec for mark, codec in _MARKS.items() if content.startswith(mark)), None)
    if mark is None and b"\0" in content[:200]:
        mark = "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
    try:
        return content.decode(mark or "utf-8"), True
    except UnicodeDecodeError:
        return content.decode("latin-1"), False


def _separator(text: str, required: Sequence[str]) -> str:
    """Return the separator whose header has most of the required columns, then the one that occurs most often."""
    header = text.partition("\n")[0]
    wanted = {name.casefold() for name in required}

    def fit(separator: str) -> tuple[int, int]:
        cells = next(csv.reader([header], delimiter=separator), [])
        return len(wanted & {cell.strip().casefold() for cell in cells}), len(cells)

    return max(SEPARATORS, key=fit)


def _records(
    path: Path,
    rows: list[list[str]],
    above: int,
    known: Sequence[str],
    required: Sequence[str],
    *,
    utf8: bool,
    separator: str,
) -> Table:
    cells = [[cell.strip() for cell in row] for row in rows]
    spelt = {name.casefold(): name for name in known}
    header = [spelt.get(name.casefold(), name) for name in (cells[0] if cells else [])]
    width = len(header)
    body = [(number, row) for number, row in enumerate(cells[1:], start=2 + above) if any(row)]
    if long := next((number for number, row in body if any(row[width:])), None):
        raise DataError(f"{path} row {long}: more cells than the header; put cells that hold a comma in quotes")
    nameless = [place for place, name in enumerate(header) if not name]
    names = [name for name in header if name]
    if missing := [name for name in required if name not in names]:
        expected, there = ", ".join(required), ", ".join(names)[:200] or "none"
        raise DataError(
            f"{path}: column {missing[0]} is missing, expected {expected}; there are {there}; correct the header"
        )
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{path}: column {twice} occurs twice; remove or rename one")
    blank = len(cells) - 1 - len(body)
    notes = [f"{blank} empty rows dropped"] if blank > 0 else []
    filled = sum(any(place < len(row) and row[place] for _, row in body) for place in nameless)
    notes += [f"{len(nameless) - filled} empty columns without a name dropped"] if len(nameless) > filled else []
    notes += [f"{filled} columns that hold text but have no name left out"] if filled else []
    notes += ["not UTF-8: letters are read as Latin-1"] if not utf8 else []
    notes += [f"cells are separated by {'tabs' if separator == chr(9) else separator}"] if separator != "," else []
    records = (
        (number, {name: row[place] if place < len(row) else "" for place, name in enumerate(header) if name})
        for number, row in body
    )
    return Table(records, utf8=utf8, notes=[f"{path.name}: {note}" for note in notes])

"""A comma-separated table and image files: anyone's own data, and the phantom sample.

Layout: a table whose column ``image`` is a path relative to the root. Optional columns: ``patient_id`` (else every
image is a patient of its own), ``label``, ``split``, ``source``, ``view``, ``date`` (ISO 8601), ``mask``, ``modality``,
``y_<finding>`` (0, 1 or empty) and ``zone_0`` … ``zone_5`` (0–3 or empty). Known flaws: those of the table; a mistake
in a cell is an error, not a row left out, because the table is the user's own.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal

from medtransfer.data.manifest import SPLITS, ZONES
from medtransfer.data.sources.base import Listing, Scan, Source, inside, read_table
from medtransfer.errors import DataError

TEXTS = ("patient_id", "label", "source", "view", "modality")
COLUMNS = frozenset({"image", "split", "date", "mask", *TEXTS, *ZONES})


class CsvSource(Source):
    """Images listed in a table.

    Attributes:
        table: file name of the table below the root.
        classes: labels in the order of the outputs; empty takes the labels that occur, sorted.
        ignore: columns that are not read.
        modality: that of rows which state none.
    """

    name: Literal["csv"] = "csv"
    table: str = "labels.csv"
    classes: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    modality: Literal["natural", "CT", "CXR"] = "CXR"
    citation: str = "not stated; see the owner of the table"
    licence: str = "not stated; see the owner of the table"
    flaws: ClassVar[str] = "those of the table"

    def scan(self) -> Scan:
        """List the images of the table.

        Raises:
            DataError: a column is unknown, a cell does not fit its column, or a column of labels is blank; names table,
                row and column.
        """
        listing = Listing(self.root)
        entries = read_table(self.root / self.table, ("image",))
        self._require_labels([entry for _, entry in entries])
        for row, entry in entries:
            cells = {column: cell.strip() for column, cell in entry.items() if column not in self.ignore}
            self._add_entry(listing, row, cells)
        labels = {row["label"] for row in listing.rows} - {""}
        official = any(row["split"] for row in listing.rows)
        return listing.scan(self.classes or sorted(labels), official_splits=official, metadata=(self.table,))

    def _require_labels(self, entries: Sequence[dict[str, str]]) -> None:
        """Refuse a column of labels without a label: it was probably meant to be filled."""
        for column in entries[0] if entries else ():
            named = (column == "label" or column.startswith("y_")) and column not in self.ignore
            if named and not any(entry[column].strip() for entry in entries):
                raise DataError(
                    f"{self.root / self.table}: column {column} is blank in all {len(entries)} rows, expected a label "
                    "in some; fill it, leave it out, or name it in ignore"
                )

    def _add_entry(self, listing: Listing, row: int, cells: dict[str, str]) -> None:
        fields: dict[str, Any] = {"label": "", "split": "", "modality": self.modality}
        for column, cell in cells.items():
            if column != "image" and (cell or column not in COLUMNS):
                fields[column] = self._value(row, column, cell)
        mask = fields.get("mask", "")
        if mask and not (inside(mask) and (self.root / mask).is_file()):
            listing.skip(cells["image"], row, f"mask {mask} is absent")
        else:
            listing.add(cells["image"], row=row, **fields)

    def _value(self, row: int, column: str, cell: str) -> Any:
        known = column in COLUMNS or column.startswith("y_")
        try:
            if known:
                return _parse(column, cell)
        except ValueError:
            expected = _expected(column)
        else:
            expected = "a column of the layout; rename it, or name it in ignore"
        raise DataError(f"{self.root / self.table} row {row}, column {column}: {cell!r}, expected {expected}")


def _parse(column: str, cell: str) -> Any:
    if column == "date":
        moment = datetime.fromisoformat(cell)
        if moment.tzinfo:  # days are compared as written; only the owner knows which day it is elsewhere
            raise ValueError
        return moment
    if column == "split" and cell not in SPLITS:
        raise ValueError
    if column.startswith(("y_", "zone_")):
        number = float(cell) if cell else float("nan")
        if cell and not (number in (0, 1) if column.startswith("y_") else 0 <= number <= 3):
            raise ValueError
        return number
    return cell


def _expected(column: str) -> str:
    if column == "date":
        return "a date like 2020-03-31, without a time zone"
    if column == "split":
        return "train, val, test or nothing"
    return "0, 1 or nothing" if column.startswith("y_") else "a severity from 0 to 3 or nothing"

"""A table and image files: anyone's own data, and the phantom sample.

Layout: a table whose column ``image`` is a path relative to the root, or a frame of DICOM (``scan.dcm#3``). Optional
columns: ``patient_id`` (else every image is a patient of its own), ``label``, ``split``, ``source``, ``view``,
``laterality``, ``date`` (ISO 8601), ``mask``, ``modality``, ``y_<finding>`` (0, 1 or empty) and ``zone_0`` … ``zone_5``
(0–3 or empty). Known flaws: those of the table; a mistake in a cell is an error, not a row left out, because the table
is the user's own. A mask of another size than its image is not used and counted.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal

from medtransfer.data.images import image_size
from medtransfer.data.manifest import SPLITS, ZONES
from medtransfer.data.sources.base import Listing, Scan, Source, inside
from medtransfer.data.sources.listing import leads_out
from medtransfer.data.sources.tables import Record, Table, read_table
from medtransfer.errors import DataError

TEXTS = ("patient_id", "label", "source", "view", "laterality", "modality")
Modality = Literal["natural", "CT", "CXR"]
COLUMNS = frozenset({"image", "split", "date", "mask", *TEXTS, *ZONES})

NOT_AVAILABLE = frozenset({"na", "n/a", "#n/a", "nan", "null"})
"""What programs write into a cell that has no value; a class or patient of that name would be a guess."""


class TableSource(Source):
    """Images listed in a table.

    Attributes:
        table: file name of the table below the root.
        classes: labels in the order of the outputs; empty takes the labels that occur, sorted.
        ignore: columns that are not read.
        unknown: what becomes of columns that the layout does not have.
        modality: that of rows which state none.
    """

    table: str = "labels.csv"
    classes: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    unknown: Literal["refuse", "ignore"] = "refuse"
    modality: Modality | None = None
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
        entries = read_table(self.root / self.table, ("image",), optional=sorted(COLUMNS - {"image"}))
        entries[:] = [(row, {_column(name): cell for name, cell in entry.items()}) for row, entry in entries]
        left_aside = self._left_aside(entries)
        listing.notes += [*entries.notes, *([f"columns not read: {', '.join(left_aside)}"] if left_aside else [])]
        self._require_labels([entry for _, entry in entries])
        entries[:] = [(row, {c: cell for c, cell in entry.items() if c not in left_aside}) for row, entry in entries]
        seen: dict[str, str] = {}
        for row, cells in entries:
            self._require_clear(row, cells, seen, utf8=entries.utf8)
        for row, cells in self._placed(entries, listing):
            self._add_entry(listing, row, cells)
        labels = {row["label"] for row in listing.rows} - {""}
        official = any(row["split"] for row in listing.rows)
        return listing.scan(
            self.classes or sorted(labels),
            official_splits=official,
            metadata=(self.table,),
            classes_as_found=not self.classes,
        )

    def _placed(self, entries: Table, listing: Listing) -> list[tuple[int, Record]]:
        """Return the entries with the paths of their images."""
        return entries

    def _left_aside(self, entries: Table) -> list[str]:
        there = list(entries[0][1]) if entries else []
        unknown = [name for name in there if name not in COLUMNS and not name.startswith("y_")]
        return [name for name in there if name in self.ignore or (self.unknown == "ignore" and name in unknown)]

    def _require_clear(self, row: int, cells: dict[str, str], seen: dict[str, str], *, utf8: bool) -> None:
        """Refuse a label or patient that could mean two things: NA, another spelling, letters that are a guess."""
        for column in ("label", "patient_id"):
            cell, expected = cells.get(column, ""), ""
            if cell.casefold() in NOT_AVAILABLE:
                expected = "a name, or nothing where it is not known"
            elif column == "label" and ("\ufffd" in cell or not (utf8 or cell.isascii())):
                expected = "readable letters; save the table as UTF-8"
            elif column == "label" and seen.setdefault(cell.casefold(), cell) != cell:
                expected = f"{seen[cell.casefold()]!r} as in an earlier row, or another name"
            if expected:
                raise DataError(f"{self.root / self.table} row {row}, column {column}: {cell!r}, expected {expected}")

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
        mask = fields["mask"] = listing.place(fields.get("mask", ""))
        if not mask:
            del fields["mask"]
        if mask and (reason := self._other_size(mask, listing.place(cells["image"]))):
            listing.skip(mask, row, f"{reason}; the image is used without it")
            mask = ""
            del fields["mask"]
        if mask and not (inside(mask) and (self.root / mask).is_file() and not leads_out(self.root, mask)):
            listing.skip(cells["image"], row, f"mask {mask} is absent")
        else:
            listing.add(cells["image"], row=row, **fields)

    def _other_size(self, mask: str, image: str) -> str:
        """Say that a mask is not of its image's size; empty where it is, or where either cannot be read."""
        if not (inside(mask) and inside(image)):
            return ""
        try:
            (width, height), (wide, high) = image_size(self.root / mask), image_size(self.root / image)
        except DataError:
            return ""
        return f"mask is {width}×{height}, its image {wide}×{high}" if (width, height) != (wide, high) else ""

    def _value(self, row: int, column: str, cell: str) -> Any:
        place = f"{self.root / self.table} row {row}, column {column}"
        if column not in COLUMNS and not column.startswith("y_"):  # its cells may name people
            raise DataError(f"{place}: no column of the layout; rename it, or name it in ignore")
        try:
            return _parse(column, cell)
        except ValueError:
            raise DataError(f"{place}: {cell!r}, expected {_expected(column)}") from None


class CsvSource(TableSource):
    """Images listed in a table."""

    name: Literal["csv"] = "csv"
    modality: Modality = "CXR"


def _column(name: str) -> str:
    """Return a column of findings in the layout's spelling; the others are matched when the table is read."""
    return name.lower() if name.lower().startswith(("y_", "zone_")) else name


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

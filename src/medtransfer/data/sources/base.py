"""What every source adapter shares: the result of a scan, a list that checks its files, and table reading.

A source turns a publisher's layout into manifest rows. It neither splits nor resizes, and does not decode images.
"""

import csv
import hashlib
import io
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from medtransfer.config import Config
from medtransfer.data.images import SUFFIXES
from medtransfer.data.packed import Patients
from medtransfer.errors import DataError

Row = dict[str, Any]


@dataclass(frozen=True)
class Skipped:
    """A file or list entry that was left out, and why; ``row`` counts from 1, a table's header included."""

    file: str
    row: int | None
    reason: str


@dataclass(frozen=True)
class Scan:
    """What a source found.

    Attributes:
        rows: manifest rows; ``image_id``, ``patient_id``, ``path`` and ``mask`` are relative to the source.
        skipped: what was left out.
        classes: labels in the order of the network's outputs; empty when the task is multi-label.
        official_splits: whether ``split`` is the publisher's own.
        known_overlaps: patients that the publisher's splits share, in words; empty when there are none.
        metadata: lists and tables of the layout, relative to the source's root.
        patients: whether ``patient_id`` is known of every image.
    """

    rows: list[Row]
    skipped: list[Skipped]
    classes: tuple[str, ...]
    official_splits: bool = False
    known_overlaps: str = ""
    metadata: tuple[str, ...] = ()
    patients: Patients = "each_image"


class Source(Config, ABC):
    """A publisher's layout under one folder."""

    root: Path

    @abstractmethod
    def scan(self) -> Scan:
        """List the images without decoding them.

        Raises:
            DataError: the folder does not have this layout.
        """


class Listing:
    """Rows of a data set in the making; files that are absent, outside the root or listed twice become ``skipped``."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise DataError(f"{root}: no such folder, expected a data set; correct the source's root")
        self.root = root
        self.rows: list[Row] = []
        self.skipped: list[Skipped] = []
        self.patients: Patients = "known"
        self._listed: set[str] = set()

    def add(self, path: str, *, row: int | None = None, **fields: Any) -> None:
        """Append an image by its path relative to the root; without ``patient_id`` it is a patient of its own.

        The list then says that its patients are not known, unless the image is natural: such an image has no patient.
        """
        reason = self._objection(path)
        if reason:
            self.skip(path, row, reason)
            return
        self._listed.add(path)
        if not fields.get("patient_id"):
            self.patients = self.patients if fields.get("modality") == "natural" else "each_image"
            fields["patient_id"] = path
        self.rows.append({"image_id": path, "path": path, **fields})

    def skip(self, file: str, row: int | None, reason: str) -> None:
        """Record what is left out."""
        self.skipped.append(Skipped(file, row, reason))

    def scan(self, classes: Sequence[str], **facts: Any) -> Scan:
        """Return the finished scan.

        Raises:
            DataError: no image was found.
        """
        if not self.rows:
            first = f"; first reason: {self.skipped[0].file}: {self.skipped[0].reason}" if self.skipped else ""
            raise DataError(
                f"{self.root}: no image found, {len(self.skipped)} left out{first}; check folder and layout"
            )
        return Scan(self.rows, self.skipped, tuple(classes), patients=self.patients, **facts)

    def _objection(self, path: str) -> str:
        if not inside(path):
            return "path leaves the data set's folder"
        if not (self.root / path).is_file():
            return "file is absent"
        return "listed twice" if path in self._listed else ""


def inside(path: str) -> bool:
    """Whether a relative path stays below the folder it is relative to."""
    pure = PurePosixPath(path)
    return bool(path) and not pure.is_absolute() and ".." not in pure.parts


def is_image(path: Path) -> bool:
    """Whether a file's name has the suffix of an image format."""
    return path.suffix.lower() in SUFFIXES


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return ``(row number, text)`` of the lines that are not blank, stripped; bytes that are not UTF-8 are replaced.

    Raises:
        DataError: the file is absent.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such list, expected it in this layout; correct the source's root")
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    return [(row, line.strip()) for row, line in enumerate(text.split("\n"), start=1) if line.strip()]


def read_table(path: Path, required: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Return ``(row number, record)`` of a comma-separated table; the header is row 1, a missing cell is empty.

    Bytes that are not UTF-8 become a replacement character, so that one odd letter does not lose a table.

    Raises:
        DataError: the file is absent, is not a table, lacks a required column, or a row is longer than the header.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such table, expected columns {', '.join(required)}; correct the source's root")
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), restval="")
        records = list(enumerate(reader, start=2))
    except csv.Error as error:
        raise DataError(f"{path}: not a comma-separated table ({error}); export it again") from error
    missing = [column for column in required if column not in (reader.fieldnames or ())]
    if missing:
        raise DataError(f"{path}: column {missing[0]} is missing, expected {', '.join(required)}; correct the header")
    long = next((row for row, record in records if None in record), None)
    if long:
        raise DataError(f"{path} row {long}: more cells than the header; put cells that hold a comma in quotes")
    return records


def thin(rows: list[Row], limit: int | None) -> list[Row]:
    """Return at most ``limit`` rows in their order, drawn patient by patient in the order of a hash of the id."""
    if limit is None or len(rows) <= limit:
        return rows
    drawn = sorted(range(len(rows)), key=lambda i: (_digest(rows[i]["patient_id"]), i))[:limit]
    return [rows[i] for i in sorted(drawn)]


def shared_patients(rows: Sequence[Row]) -> str:
    """Say how many patients are in more than one split; empty when none is."""
    splits = defaultdict(set)
    for row in rows:
        splits[row["patient_id"]].add(row["split"])
    shared = sorted(patient for patient, names in splits.items() if len(names) > 1)
    if not shared:
        return ""
    names = ", ".join(shared[:10]) + (", …" if len(shared) > 10 else "")
    return f"{len(shared)} of {len(splits)} patients are in more than one official split: {names}"


def _digest(patient: str) -> str:
    return hashlib.sha256(patient.encode()).hexdigest()

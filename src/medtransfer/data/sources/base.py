"""What every source adapter shares: the result of a scan, and a list that checks its files.

A source turns a publisher's layout into manifest rows. It neither splits nor resizes, and does not decode images.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from medtransfer.config import Config
from medtransfer.data.dicom_header import file_and_frame, frames_of
from medtransfer.data.packed import Patients
from medtransfer.data.sources.listing import Skipped, is_image, leads_out
from medtransfer.data.sources.tables import read_table
from medtransfer.errors import DataError

__all__ = [
    "Listing",
    "Row",
    "Scan",
    "Skipped",
    "Source",
    "inside",
    "is_image",
    "read_lines",
    "read_table",
    "shared_patients",
    "thin",
]

Row = dict[str, Any]
ABSENT, TWICE = "file is absent", "listed twice"
_CLASS = re.compile(r"[\w. :-]{1,100}")
"""A class becomes part of the names of metrics."""


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
        notes: what the source chose or assumed, in words.
        classes_as_found: whether the classes are those of the images, and not declared.
        rewritten: text that ``data add`` writes in place of a list or table of ``metadata``.
    """

    rows: list[Row]
    skipped: list[Skipped]
    classes: tuple[str, ...]
    official_splits: bool = False
    known_overlaps: str = ""
    metadata: tuple[str, ...] = ()
    patients: Patients = "each_image"
    notes: tuple[str, ...] = ()
    classes_as_found: bool = False
    rewritten: Mapping[str, str] = field(default_factory=dict)


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
        self.notes: list[str] = []
        self.patients: Patients = "known"
        self._listed: set[str] = set()
        self._splits: Counter[str] = Counter()

    def add(self, path: str, *, row: int | None = None, **fields: Any) -> None:
        """Append an image by its path relative to the root; without ``patient_id`` it is a patient of its own.

        A file of several frames becomes an image per frame, of one patient, unless the path names a frame. The list
        then says that its patients are not known, unless the image is natural: such an image has no patient.
        """
        path = self.place(path)
        self._splits[fields.get("split", "")] += 1
        if reason := self._objection(path):
            self.skip(path, row, reason)
            return
        images = frames_of(self.root, path)
        if len(images) > 1 and fields.get("mask"):
            self.skip(path, row, f"one mask for {len(images)} frames; name each frame in a row ({images[0]})")
            return
        if self._listed.intersection(images):
            self.skip(path, row, TWICE)
            return
        self._listed.update(images)
        if not fields.get("patient_id"):
            self.patients = self.patients if fields.get("modality") == "natural" else "each_image"
            fields["patient_id"] = file_and_frame(self.root / path)[0].relative_to(self.root).as_posix()
        self.rows += [{"image_id": image, "path": image, **fields} for image in images]

    def place(self, path: str) -> str:
        """Return a listed path relative to the root: Windows' and absolute ones too, without ``./`` and ``//``.

        A path that leads elsewhere is returned unchanged.
        """
        if "\\" in path and not (self.root / path).exists():
            path = path.replace("\\", "/")
        pure = PurePosixPath(path)
        if pure.is_absolute():
            for root in (self.root.absolute(), self.root.resolve()):
                if pure.is_relative_to(root.as_posix()):
                    return pure.relative_to(root.as_posix()).as_posix()
            return path
        return pure.as_posix() if path else path

    def skip(self, file: str, row: int | None, reason: str) -> None:
        """Record what is left out."""
        self.skipped.append(Skipped(file, row, reason))

    def scan(self, classes: Sequence[str], **facts: Any) -> Scan:
        """Return the finished scan.

        Raises:
            DataError: no image was found, none of an official split is here, or a class has a name that no metric has.
        """
        if odd := next((name for name in classes if not _CLASS.fullmatch(name)), None):
            raise DataError(
                f"{self.root}: class {odd!r}, expected letters, digits, blanks and any of '_-.:'; rename it"
            )
        if not self.rows:
            first = f"; first reason: {self.skipped[0].file}: {self.skipped[0].reason}" if self.skipped else ""
            raise DataError(
                f"{self.root}: no image found, {len(self.skipped)} left out{first}; check folder and layout"
            )
        notes = (*self._absences(facts.get("official_splits", False)), *self.notes)
        return Scan(self.rows, self.skipped, tuple(classes), patients=self.patients, notes=notes, **facts)

    def _absences(self, official: bool) -> list[str]:
        """Return which share of the listed files is not here.

        Raises:
            DataError: none of an official split is.
        """
        absent, listed = sum(each.reason == ABSENT for each in self.skipped), self._splits.total()
        if not absent or not listed:  # a set that is put together from others has their notes
            return []
        share = f"{absent} of {listed} listed files ({absent / listed:.0%}) are not below {self.root}"
        here = {row.get("split", "") for row in self.rows}
        if official and (empty := [s for s, n in self._splits.items() if s and n > 1 and s not in here]):
            raise DataError(f"{share}, and none of the split {empty[0]}; add the other parts of the data set")
        return [share]

    def _objection(self, path: str) -> str:
        if not inside(path):
            return "path leaves the data set's folder"
        file = file_and_frame(self.root / path)[0]
        if not file.is_file():
            return ABSENT
        return (
            "a link that leads out of the data set's folder"
            if leads_out(self.root, file.relative_to(self.root))
            else ""
        )


def inside(path: str) -> bool:
    """Whether a relative path stays below the folder it is relative to."""
    pure = PurePosixPath(path)
    return bool(path) and not pure.is_absolute() and ".." not in pure.parts


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Return ``(row number, text)`` of the lines that are not blank, stripped; bytes that are not UTF-8 are replaced.

    Raises:
        DataError: the file is absent.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such list, expected it in this layout; correct the source's root")
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    return [(row, line.strip()) for row, line in enumerate(text.split("\n"), start=1) if line.strip()]


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

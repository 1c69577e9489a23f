"""A folder of DICOM files and a table of labels: an export of a hospital's archive.

Layout: DICOM files at any depth, and a table as of ``csv`` whose column ``image`` has the path of a file, a frame of it
(``scan.dcm#3``), its SOPInstanceUID, or the SHA-256 of the UID in hexadecimal digits. The patient is the table's
``patient_id``, else the header's; both become a number in the order of the table, so that no id is stored. View,
laterality and modality are the table's, else the header's. A file of several frames becomes an image per frame.

``data add`` writes a table of its own, in which numbers are the patients and paths the images, and of each file only
what ``data/dicom_header.py`` lets through. The names of files are kept. Known flaws: those of the table; text that is
burnt into the pixels stays there; dummy ids of an export that hides its patients join them.
"""

import csv
import hashlib
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, ClassVar, Literal

from medtransfer.data.dicom_header import file_and_frame, identity, is_dicom, modality_of
from medtransfer.data.manifest import ZONES
from medtransfer.data.sources.base import Listing, Row, Scan
from medtransfer.data.sources.listing import images_below
from medtransfer.data.sources.table import TEXTS, TableSource
from medtransfer.data.sources.tables import Record, Table
from medtransfer.errors import DataError

_UID = re.compile(r"[\d.]{5,64}|[0-9a-fA-F]{64}")


class DicomSource(TableSource):
    """DICOM files listed in a table; what identifies a patient stays where it is.

    Attributes:
        modality: of images whose row states none; nothing takes it from each header.
    """

    name: Literal["dicom"] = "dicom"
    flaws: ClassVar[str] = "those of the table; file names are kept, and so is text that is burnt into the pixels"

    def scan(self) -> Scan:
        """List the images of the table, patients as numbers.

        Raises:
            DataError: as of ``csv``.
        """
        found = super().scan()
        return replace(found, rewritten={self.table: self._cleaned(found.rows)})

    def _placed(self, entries: Table, listing: Listing) -> list[tuple[int, Record]]:
        by_uid, patients = self._identities()
        named = any(entry.get("patient_id") for _, entry in entries)
        numbers: dict[str, str] = {}
        placed = []
        for row, entry in entries:
            path = listing.place(by_uid.get(entry["image"].lower(), entry["image"]))
            if not (self.root / self._file(path)).is_file() and _UID.fullmatch(entry["image"]):
                listing.skip(self.table, row, "no file has this SOPInstanceUID")
                continue
            cells = entry | {"image": path}
            own, by_header = entry.get("patient_id"), patients.get(self._file(path), "")
            if named and by_header and not own:  # the same person could be named by both, and be two
                raise DataError(
                    f"{self.root / self.table}: row {row} has no patient_id and others have one, expected one in every "
                    "row, or in none: then the PatientID of each header counts"
                )
            if patient := own or by_header:
                cells["patient_id"] = numbers.setdefault(patient, f"{len(numbers) + 1:05}")
            cells["modality"] = entry.get("modality") or self.modality or self._modality(path)
            if not cells["modality"]:
                listing.skip(path, row, "neither CT nor a radiograph by its header; say which: column modality")
            else:
                placed.append((row, cells))
        if len(numbers) == 1 and len(placed) > 1:
            listing.notes.append("all images are of one patient, by table or headers")
        return placed

    def _identities(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the path by SOPInstanceUID and by its hash, and the patient by path; damaged files are in neither."""
        by_uid: dict[str, str] = {}
        patients: dict[str, str] = {}
        for path in images_below(self.root)[0]:
            if not is_dicom(self.root / path):
                continue
            try:
                uid, patients[path] = identity(self.root / path)
            except DataError:  # reading the image gives the reason
                continue
            for name in (uid, hashlib.sha256(uid.encode()).hexdigest()) if uid else ():
                by_uid.setdefault(name, path)
        return by_uid, patients

    def _modality(self, path: str) -> str:
        """Return the modality of a header; ``CXR``, which nothing reads, where the file will be left out anyway."""
        file = self.root / self._file(path)
        try:
            return modality_of(file) if is_dicom(file) else ""
        except DataError:
            return "CXR"

    def _file(self, path: str) -> str:
        return file_and_frame(self.root / path)[0].relative_to(self.root).as_posix()

    def _cleaned(self, rows: Sequence[Row]) -> str:
        """Return the table that describes the copy: the columns of the layout, patients as numbers."""
        there = dict.fromkeys(name for row in rows for name in row)
        names = [name for name in there if name in (*TEXTS, "split", "date", "mask", *ZONES) or name.startswith("y_")]
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(["image", *names])
        for row in rows:
            own = row | ({"patient_id": ""} if row["patient_id"] == self._file(row["path"]) else {})
            table.writerow([row["path"], *(_cell(own.get(name, "")) for name in names)])
        return text.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return ("" if value != value else f"{value:g}") if isinstance(value, float) else str(value)

"""CheXpert (Irvin et al. 2019): 224,316 chest X-rays of 65,240 patients with 14 findings, some of them uncertain.

Layout: ``train.csv`` and ``valid.csv`` (v1.0, or -small with the same columns), images at the paths that they list,
with or without the leading ``CheXpert-v1.0…/``. Headers may have underscores instead of spaces.

Known flaws: labels are mined from reports; uncertain labels are not random; several images of one study; lines, tubes
and burnt-in letters give findings away.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import field_validator

from medtransfer.data.sources.base import Listing, Scan, Source, read_table, shared_patients
from medtransfer.errors import DataError

FINDINGS = (
    "No Finding",
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
)
SLUGS = (
    "no_finding",
    "enlarged_cardiomediastinum",
    "cardiomegaly",
    "lung_opacity",
    "lung_lesion",
    "edema",
    "consolidation",
    "pneumonia",
    "atelectasis",
    "pneumothorax",
    "pleural_effusion",
    "pleural_other",
    "fracture",
    "support_devices",
)
"""The findings as the manifest's columns name them, without ``y_``."""
UNCERTAIN_POSITIVE = frozenset({"Edema", "Atelectasis"})
"""Findings whose uncertain labels count as present under ``mixed``: best so in Irvin et al. 2019."""
TABLES = {"train.csv": "train", "valid.csv": "test"}
PLACE = re.compile(r"(?:^|/)(?:train|valid|test)/(?P<patient>patient\d+)/(?P<study>study\d+)/[^/]+$")
View = Literal["PA", "AP", "lateral", "LL", "RL"]


class ChexpertSource(Source):
    """CheXpert as a multi-label data set ``y_<finding>``.

    With both tables ``valid.csv``, which radiologists labelled, is the test split and ``train.csv`` the rest. Peng et
    al. 2021 draw 72, 8 and 20 % of all images: ``split: {official: false, train: 0.72, val: 0.08, test: 0.2}``.

    Attributes:
        findings: which of the 14, in the order of the outputs, by their column without ``y_``; none stands for all.
        uncertain: what −1 means: ``zeros`` absent, ``ones`` present, ``ignore`` not known, ``mixed`` present for edema
            and atelectasis, absent for the others.
        blank: what an empty cell means: ``zero`` absent, as in the published training codes, or ``missing`` not known.
        views: views to keep; none keeps all.
    """

    name: Literal["chexpert"] = "chexpert"
    findings: tuple[str, ...] = ()
    uncertain: Literal["zeros", "ones", "ignore", "mixed"] = "zeros"
    blank: Literal["zero", "missing"] = "zero"
    views: tuple[View, ...] = ()
    citation: ClassVar[str] = "Irvin et al. 2019, CheXpert, AAAI; Stanford ML Group"
    licence: ClassVar[str] = "Stanford University Dataset Research Use Agreement; no redistribution"
    flaws: ClassVar[str] = (
        "labels mined from reports, many uncertain; several images of one study; tubes and letters give findings away"
    )

    @field_validator("findings")
    @classmethod
    def _known(cls, findings: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in findings if name not in SLUGS]:
            raise ValueError(f"findings: {unknown[0]!r} is none of CheXpert's; there are {', '.join(SLUGS)}")
        return findings

    def scan(self) -> Scan:
        """List the images of the tables that are there.

        Raises:
            DataError: there is no table, a column is missing, a label is none of 1, 0, −1 and blank, or all are blank.
        """
        listing = Listing(self.root)
        tables = [name for name in TABLES if (self.root / name).is_file()]
        if not tables:
            raise DataError(f"{self.root}: no train.csv or valid.csv, expected CheXpert; correct the source's root")
        official = len(tables) == len(TABLES)
        for name in tables:
            for row, entry in _read(self.root / name):
                self._add_entry(listing, name, row, entry, split=TABLES[name] if official else "")
        overlaps = shared_patients(listing.rows) if official else ""
        return listing.scan((), official_splits=official, known_overlaps=overlaps, metadata=tuple(tables))

    def _add_entry(self, listing: Listing, table: str, row: int, entry: Mapping[str, str], *, split: str) -> None:
        path, view = self._path(entry["Path"].strip()), _view(entry)
        place = PLACE.search(path)
        if place is None:
            listing.skip(path, row, "path names no patient and study")
        elif self.views and view not in self.views:
            listing.skip(path, row, f"view {view or 'not stated'} is not one of {', '.join(self.views)}")
        else:
            listing.add(
                path,
                row=row,
                patient_id=place["patient"],
                source="stanford",
                modality="CXR",
                view=view,
                split=split,
                **{
                    f"y_{SLUGS[FINDINGS.index(name)]}": self._label(table, row, name, entry[name])
                    for name in self._wanted
                },
            )

    @property
    def _wanted(self) -> tuple[str, ...]:
        return tuple(FINDINGS[SLUGS.index(slug)] for slug in self.findings) or FINDINGS

    def _path(self, listed: str) -> str:
        """Drop the data set's own folder when the root is inside it."""
        inner = listed.partition("/")[2]
        return inner if listed.startswith("CheXpert") and not (self.root / listed).is_file() else listed

    def _label(self, table: str, row: int, name: str, cell: str) -> float:
        text = cell.strip()
        if not text:
            return 0.0 if self.blank == "zero" else math.nan
        if text not in {"1", "1.0", "0", "0.0", "-1", "-1.0"}:
            raise DataError(
                f"{self.root / table} row {row}, column {name}: {cell!r}, expected 1, 0, -1 or nothing; correct it"
            )
        value = float(text)
        if value >= 0:
            return value
        mixed = 1.0 if name in UNCERTAIN_POSITIVE else 0.0
        return {"zeros": 0.0, "ones": 1.0, "ignore": math.nan, "mixed": mixed}[self.uncertain]


def _read(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Read a table with spaces or underscores in its header."""
    table = read_table(path, ())
    records = [(row, {column.replace("_", " "): cell for column, cell in entry.items()}) for row, entry in table]
    columns = set(records[0][1]) if records else set()
    missing = next(
        (column for column in ("Path", "Frontal/Lateral", "AP/PA", *FINDINGS) if column not in columns), None
    )
    if missing:
        raise DataError(f"{path}: column {missing} is missing or has no rows, expected CheXpert's; correct the header")
    if not any(entry[name].strip() for _, entry in records for name in FINDINGS):
        raise DataError(
            f"{path}: every label of all {len(records)} rows is blank, expected 1, 0 or -1 in some; blanks alone would "
            "make every finding absent: take the published table"
        )
    return records


def _view(entry: Mapping[str, str]) -> str:
    frontal = entry["Frontal/Lateral"].strip() == "Frontal"
    return entry["AP/PA"].strip() if frontal else "lateral"

"""ChestX-ray14 (Wang et al. 2017): 112,120 frontal X-rays of 30,805 patients with 14 text-mined findings.

Layout: ``Data_Entry_2017*.csv``, images in ``images/`` or ``images_001/images/`` … ``images_012/images/``, and, when
present, the official ``train_val_list.txt`` and ``test_list.txt``.

Known flaws: labels are mined from reports (about one in ten is wrong); many images with a finding show a drain or a
line; the same patient has up to 184 images.
"""

import math
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import field_validator, model_validator

from medtransfer.data.sources.base import Listing, Scan, Source, is_image, read_lines, read_table, shared_patients
from medtransfer.data.sources.chexpert import SLUGS
from medtransfer.errors import DataError

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
NO_FINDING = "No Finding"
SYNONYMS = {"pleural_effusion": "effusion"}
"""CheXpert's name of a finding → the name here, both in lower case."""
LISTS = {"train_val_list.txt": "train", "test_list.txt": "test"}


class ChestXray14Source(Source):
    """ChestX-ray14 as a multi-label data set ``y_<finding>``; a finding that is not listed is 0.

    Attributes:
        findings: the outputs of a multi-label task by their column without ``y_``; none stands for the 14. Names as in
            CheXpert are understood (``pleural_effusion``, ``no_finding``); a finding that this source does not label is
            not known in any row, so that a loss which leaves out what is not known can join both sources.
        classes: for a single-label task, findings or ``no_finding`` in the order of the outputs. Images of none of
            them, or of two, are left out; other findings may come with one.
    """

    name: Literal["chestxray14"] = "chestxray14"
    findings: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    citation: ClassVar[str] = "Wang et al. 2017, ChestX-ray8, CVPR; NIH Clinical Center"
    licence: ClassVar[str] = "no restriction on use; cite the paper and acknowledge the NIH Clinical Center"
    flaws: ClassVar[str] = "labels mined from reports; drains and lines give findings away; many images of one patient"

    @field_validator("findings")
    @classmethod
    def _known(cls, findings: tuple[str, ...]) -> tuple[str, ...]:
        there = dict.fromkeys((*map(str.lower, FINDINGS), *SLUGS))
        if unknown := [name for name in findings if name not in there]:
            raise ValueError(f"findings: {unknown[0]!r} is no finding; there are {', '.join(there)}")
        return findings

    @model_validator(mode="after")
    def _classes_are_findings(self) -> "ChestXray14Source":
        known = ("no_finding", *map(str.lower, FINDINGS))
        unknown = [name for name in self.classes if name not in known]
        if unknown:
            raise ValueError(f"classes: {unknown[0]!r} is no finding; there are {', '.join(known)}")
        return self

    def scan(self) -> Scan:
        """List the images of the entry table."""
        listing = Listing(self.root)
        table = self._table(listing)
        places = self._places(listing)
        splits = {name: split for file, split in LISTS.items() for name in self._names(file)}
        for row, entry in read_table(table, ("Image Index", "Finding Labels", "Patient ID")):
            self._add_entry(listing, row, entry, places, splits)
        present = [file for file in LISTS if (self.root / file).is_file()]
        return listing.scan(
            self.classes,
            official_splits=bool(splits),
            known_overlaps=shared_patients(listing.rows) if splits else "",
            metadata=(table.name, *present),
        )

    def _add_entry(
        self, listing: Listing, row: int, entry: dict[str, str], places: dict[str, str], splits: dict[str, str]
    ) -> None:
        file = entry["Image Index"]
        findings = set(entry["Finding Labels"].split("|")) - {NO_FINDING}
        labels = set(self.classes) & ({name.lower() for name in findings} or {"no_finding"})
        reason = self._objection(findings, labels)
        if splits and file not in splits:
            reason = reason or "in neither official list"
        if reason:
            listing.skip(file, row, reason)
            return
        listing.add(
            places.get(file, file),
            row=row,
            patient_id=entry["Patient ID"].strip(),
            source="nih",
            modality="CXR",
            view=entry.get("View Position", ""),
            split=splits.get(file, ""),
            label="".join(labels),
            **{f"y_{name}": self._value(name, findings) for name in self.findings or map(str.lower, FINDINGS)},
        )

    def _value(self, output: str, findings: set[str]) -> float:
        """Return 1 or 0, NaN for a finding that this source does not label."""
        if output == "no_finding":
            return float(not findings)
        known = {name.lower(): name for name in FINDINGS}
        name = known.get(SYNONYMS.get(output, output))
        return math.nan if name is None else float(name in findings)

    def _objection(self, findings: set[str], labels: set[str]) -> str:
        unknown = findings - set(FINDINGS)
        if unknown:
            return f"unknown finding {min(unknown)!r}"
        if self.classes and len(labels) != 1:
            return (
                f"{' and '.join(sorted(labels)) or 'no finding of the task'}, expected one of {', '.join(self.classes)}"
            )
        return ""

    def _table(self, listing: Listing) -> Path:
        """Return the table, of several the newest: its name ends in the year of its version."""
        tables = sorted(self.root.glob("Data_Entry_2017*.csv"))
        if not tables:
            raise DataError(f"{self.root}: no Data_Entry_2017*.csv, expected ChestX-ray14; correct the source's root")
        if len(tables) > 1:
            listing.notes.append(f"{tables[-1].name} is read, {', '.join(each.name for each in tables[:-1])} is not")
        return tables[-1]

    def _places(self, listing: Listing) -> dict[str, str]:
        files = (file for folder in sorted(self.root.glob("images*")) for file in sorted(folder.rglob("*")))
        places: dict[str, str] = {}
        for file in filter(is_image, files):
            path = file.relative_to(self.root).as_posix()
            if places.setdefault(file.name, path) != path:
                listing.skip(path, None, f"{places[file.name]} has the same name and is read")
        return places

    def _names(self, file: str) -> list[str]:
        path = self.root / file
        return [line for _, line in read_lines(path)] if path.is_file() else []

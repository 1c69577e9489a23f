"""COVID-19 Image Data Collection (Cohen et al. 2020): X-rays and CT slices from papers and websites.

Layout: ``metadata.csv``, images at ``<folder>/<filename>``; optional: lung masks in ``annotations/lungVAE-masks/`` and
the mean severity of three readers in ``annotations/covid-severity-scores.csv``.

Left out and counted: views that are not wanted, CT slices, other findings, absent files, rows without a patient. A
mask that is empty or of another size than its image is not used, and counted; the image stays. A severity outside its
range is an error, because the whole table is then in doubt.

Known flaws: text that is not clean UTF-8; rows whose file is absent; lateral views and CT slices beside frontal X-rays;
several images of one patient; dates that are only a year, which count as not known; burnt-in letters and arrows.
"""

import re
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal

from medtransfer.data.images import image_size, read_image
from medtransfer.data.sources.base import Listing, Scan, Source, read_table
from medtransfer.errors import DataError

CLASSES = ("normal", "pneumonia", "covid")
COVID_OR_OTHER = ("other", "covid")
VIEWS = ("PA", "AP", "AP Supine")
MASKS = "annotations/lungVAE-masks"
SCORES = "annotations/covid-severity-scores.csv"
RANGES = {"geographic": 8.0, "opacity": 6.0}
"""Scores of the table, from 0 to this: extent of the opacities over both lungs, and how dense they are."""
DATE_FORMATS = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%m/%d/%Y", "%m/%d/%y", "%Y-%m-%d")
PNEUMONIAS = re.compile(
    "pneumonia|sars|mers|streptococcus|pneumocystis|klebsiella|legionella|lipoid|varicella|e.coli|bacterial"
    "|chlamydophila|influenza"
)


class CovidCollectionSource(Source):
    """The collection's images of the chosen views, labelled ``normal``, ``pneumonia`` or ``covid``.

    Attributes:
        views: views to keep.
        hospital: what the manifest's ``source`` is: ``collection`` for ``cohen`` everywhere, ``location`` for the
            place that the table names, normalised; empty where it names none.
        labels: ``classes`` for ``normal``, ``pneumonia`` and ``covid``; ``covid_or_other`` for COVID-19 against
            any other finding or none (West et al. 2020, W-1).
        unclassified: keep images whose finding is none of the classes, without a label.
    """

    name: Literal["covid_collection"] = "covid_collection"
    views: tuple[str, ...] = VIEWS
    hospital: Literal["collection", "location"] = "collection"
    labels: Literal["classes", "covid_or_other"] = "classes"
    unclassified: bool = False
    citation: ClassVar[str] = (
        "Cohen et al. 2020, COVID-19 Image Data Collection, arXiv 2003.11597 and 2006.11988; scores: arXiv 2005.11856"
    )
    licence: ClassVar[str] = "per image, see the column license of metadata.csv; scores: CC BY-SA"
    flaws: ClassVar[str] = "several images of one patient; burnt-in letters and arrows; many publications and scanners"

    def scan(self) -> Scan:
        """List the images of ``metadata.csv``.

        Raises:
            DataError: a severity is no number in its range.
        """
        listing = Listing(self.root)
        scores = severities(self.root / SCORES)
        for row, entry in read_table(
            self.root / "metadata.csv", ("patientid", "finding", "view", "folder", "filename")
        ):
            self._add_entry(listing, row, {key: cell.strip() for key, cell in entry.items()}, scores)
        tables = ("metadata.csv", *([SCORES] if scores else []))
        return listing.scan(CLASSES if self.labels == "classes" else COVID_OR_OTHER, metadata=tables)

    def _add_entry(
        self, listing: Listing, row: int, entry: dict[str, str], scores: dict[str, dict[str, float]]
    ) -> None:
        path = f"{entry['folder']}/{entry['filename']}"
        label = class_of(entry["finding"]) or ("" if self.unclassified else None)
        if self.labels == "covid_or_other" and entry["finding"]:
            label = "covid" if label == "covid" else "other"
        if reason := objection(entry, self.views, label):
            listing.skip(path, row, reason)
        else:
            listing.add(
                path,
                row=row,
                patient_id=entry["patientid"],
                source=place_of(entry.get("location", "")) if self.hospital == "location" else "cohen",
                modality="CXR",
                view=entry["view"],
                date=date_of(entry.get("date", "")),
                label=label,
                mask=self._mask_of(listing, row, path),
                **{f"v_{name}": value for name, value in scores.get(entry["filename"], {}).items()},
            )

    def _mask_of(self, listing: Listing, row: int, path: str) -> str:
        """Return the mask's file, or nothing where there is none or it cannot be used."""
        mask = f"{MASKS}/{Path(path).stem}_mask.png"
        if not (self.root / mask).is_file() or not (self.root / path).is_file():
            return ""
        if reason := mask_objection(self.root / mask, self.root / path):
            listing.skip(mask, row, f"{reason}; the image is used without it")
            return ""
        return mask


def objection(entry: dict[str, str], views: tuple[str, ...], label: str | None) -> str:
    """Say why a row of a collection's table is left out; empty when it is not."""
    if entry.get("modality", "X-ray") not in ("", "X-ray"):
        return f"modality {entry['modality']} is not X-ray"
    if entry["view"] not in views:
        return f"view {entry['view'] or 'not stated'} is not one of {', '.join(v or 'not stated' for v in views)}"
    if label is None:
        return f"finding {entry['finding'] or 'not stated'} is none of the classes"
    return "" if entry["patientid"] else "patient is not stated"


def mask_objection(mask: Path, image: Path) -> str:
    """Say why a lung mask cannot be used; empty when it can."""
    try:
        sizes = image_size(mask), image_size(image)
        if sizes[0] != sizes[1]:
            (width, height), (wide, high) = sizes
            return f"mask is {width}×{height}, its image {wide}×{high}"
        return "" if read_image(mask, channels=1).any() else "mask is empty"
    except DataError as error:
        return str(error).removeprefix(f"{mask}: ")


def severities(table: Path) -> dict[str, dict[str, float]]:
    """Return ``{filename: {score: value}}`` of a table of scores, nothing without a table.

    Raises:
        DataError: a score is no number in its range; names table and row.
    """
    if not table.is_file():
        return {}
    columns = {name: f"{name}_mean" for name in RANGES}
    known = {}
    for row, entry in read_table(table, ("filename", *columns.values()), comment="##"):
        values = {name: _number(entry[column]) for name, column in columns.items()}
        for name, value in values.items():
            if not 0 <= value <= RANGES[name]:
                raise DataError(
                    f"{table} row {row}, column {columns[name]}: {entry[columns[name]]!r}, expected 0 to "
                    f"{RANGES[name]:g}; take the published table"
                )
        known[entry["filename"].strip()] = values
    return known


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def place_of(location: str) -> str:
    """Return a location without outer blanks, doubled blanks, a final full stop and capitals."""
    return " ".join(location.split()).strip(" .,").casefold()


def class_of(finding: str) -> str | None:
    """Return the class of a finding, also of later slash paths; ``None`` for what has none (ARDS alone)."""
    text = finding.strip().lower()
    if "covid-19" in text:
        return "covid"
    if text == "no finding":
        return "normal"
    return "pneumonia" if PNEUMONIAS.search(text) else None


def date_of(text: str) -> datetime | None:
    """Return a day written in one of the collection's ways; ``None`` when the day is not stated."""
    for form in DATE_FORMATS:
        try:
            return datetime.strptime(text.strip(), form)
        except ValueError:
            continue
    return None


def below(folder: str, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a collection that is in a folder of another source's root."""
    return row | {key: f"{folder}/{row[key]}" for key in ("image_id", "path", "mask") if row.get(key)}

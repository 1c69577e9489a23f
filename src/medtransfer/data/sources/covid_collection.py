"""COVID-19 Image Data Collection (Cohen et al. 2020): X-rays and CT slices from papers and websites.

Layout: ``metadata.csv``, images at ``<folder>/<filename>``, lung masks in ``annotations/lungVAE-masks/``.

Known flaws: text that is not clean UTF-8; rows whose file is absent; lateral views and CT slices beside frontal X-rays;
several images of one patient; dates that are only a year, which count as not known; burnt-in letters and arrows.
"""

import re
from datetime import datetime
from typing import ClassVar, Literal

from medtransfer.data.sources.base import Listing, Scan, Source, read_table

CLASSES = ("normal", "pneumonia", "covid")
VIEWS = ("PA", "AP", "AP Supine")
MASKS = "annotations/lungVAE-masks"
DATE_FORMATS = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%m/%d/%Y", "%m/%d/%y", "%Y-%m-%d")
PNEUMONIAS = re.compile(
    "pneumonia|sars|mers|streptococcus|pneumocystis|klebsiella|legionella|lipoid|varicella|e.coli|bacterial"
    "|chlamydophila|influenza"
)


class CovidCollectionSource(Source):
    """The collection's images of the chosen views, labelled ``normal``, ``pneumonia`` or ``covid``."""

    name: Literal["covid_collection"] = "covid_collection"
    views: tuple[str, ...] = VIEWS
    citation: ClassVar[str] = "Cohen et al. 2020, COVID-19 Image Data Collection, arXiv 2003.11597 and 2006.11988"
    licence: ClassVar[str] = "per image, see the column license of metadata.csv"
    flaws: ClassVar[str] = "several images of one patient; burnt-in letters and arrows; many publications and scanners"

    def scan(self) -> Scan:
        """List the images of ``metadata.csv``."""
        listing = Listing(self.root)
        for row, entry in read_table(
            self.root / "metadata.csv", ("patientid", "finding", "view", "folder", "filename")
        ):
            self._add_entry(listing, row, entry)
        return listing.scan(CLASSES, metadata=("metadata.csv",))

    def _add_entry(self, listing: Listing, row: int, entry: dict[str, str]) -> None:
        path = f"{entry['folder']}/{entry['filename']}"
        label = class_of(entry["finding"])
        if entry["view"] not in self.views:
            listing.skip(path, row, f"view {entry['view'] or 'not stated'} is not one of {', '.join(self.views)}")
        elif label is None:
            listing.skip(path, row, f"finding {entry['finding'] or 'not stated'} is none of the classes")
        else:
            listing.add(
                path,
                row=row,
                patient_id=entry["patientid"].strip(),
                source="cohen",
                modality="CXR",
                view=entry["view"],
                date=date_of(entry.get("date", "")),
                label=label,
                mask=self._mask_of(entry["filename"]),
            )

    def _mask_of(self, file: str) -> str:
        mask = f"{MASKS}/{file.rsplit('.', 1)[0]}_mask.png"
        return mask if (self.root / mask).is_file() else ""


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

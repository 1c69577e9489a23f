"""Actualmed and Figure1, the two smaller COVID-19 X-ray collections that COVIDx draws on.

Layout of both: ``metadata.csv`` and ``images/``. Actualmed names the file in ``imagename``; in Figure1 the file is
``images/<patientid>`` with the ending ``.jpg`` or ``.png``, and the view may be blank.

Left out and counted: blank findings (53 of the 238 published rows of Actualmed), views that are not wanted, absent
files, rows without a patient.
"""

from typing import ClassVar, Literal

from medtransfer.data.sources.base import Listing, Scan, Source, read_table
from medtransfer.data.sources.covid_collection import CLASSES, VIEWS, class_of, date_of, objection


class ActualmedSource(Source):
    """The images of the chosen views, labelled ``normal``, ``pneumonia`` or ``covid``.

    Attributes:
        views: views to keep; an empty text keeps rows whose view is not stated.
    """

    name: Literal["actualmed"] = "actualmed"
    views: tuple[str, ...] = VIEWS
    citation: ClassVar[str] = "Chung 2020, Actualmed COVID-19 Chest X-ray Dataset Initiative"
    licence: ClassVar[str] = "see the repository of the data set; research use"
    flaws: ClassVar[str] = "several images of one patient; 53 published rows without a finding"

    def scan(self) -> Scan:
        """List the images of ``metadata.csv``."""
        return _scan(self, self.views, source="actualmed", file="imagename")


class Figure1Source(Source):
    """The images of the chosen views, labelled ``normal``, ``pneumonia`` or ``covid``.

    Attributes:
        views: views to keep; the empty text, here by default, keeps rows whose view is not stated.
    """

    name: Literal["figure1"] = "figure1"
    views: tuple[str, ...] = (*VIEWS, "")
    citation: ClassVar[str] = "Chung 2020, Figure 1 COVID-19 Chest X-ray Dataset Initiative"
    licence: ClassVar[str] = "see the repository of the data set; research use"
    flaws: ClassVar[str] = "few images; views often not stated"

    def scan(self) -> Scan:
        """List the images of ``metadata.csv``."""
        return _scan(self, self.views, source="figure1", file="patientid")


def _scan(collection: Source, views: tuple[str, ...], *, source: str, file: str) -> Scan:
    listing = Listing(collection.root)
    for row, entry in read_table(collection.root / "metadata.csv", ("patientid", "finding", "view", file)):
        cells = {key: cell.strip() for key, cell in entry.items()}
        path, label = _place(listing, cells[file]), class_of(cells["finding"])
        if reason := objection(cells, views, label):
            listing.skip(path, row, reason)
        else:
            listing.add(
                path,
                row=row,
                patient_id=cells["patientid"],
                source=source,
                modality="CXR",
                view=cells["view"],
                date=date_of(cells.get("date", "")),
                label=label,
            )
    return listing.scan(CLASSES, metadata=("metadata.csv",))


def _place(listing: Listing, name: str) -> str:
    """Return the image's path; a name without an ending has the one of the file that is there."""
    endings = [ending for ending in ("", ".jpg", ".png") if (listing.root / f"images/{name}{ending}").is_file()]
    return f"images/{name}{endings[0] if endings else ''}"

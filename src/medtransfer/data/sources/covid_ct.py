"""COVID-CT (Zhao et al. 2020): 349 COVID-19 and 397 other CT slices cut from papers, with official split lists.

Layout: ``Images-processed/CT_{COVID,NonCOVID}/`` and ``Data-split/{COVID,NonCOVID}/{train,val,test}CT_….txt``, one
file name per line. A name like ``2020.03.13.20035212-p23-152.png`` is the preprint, the token of the patient or page,
and figure; the first two are the patient. Parts of one figure (``…%0``, ``…%1``) are one patient; else the image is.

Known flaws: neighbouring slices of one patient are in different official splits; sizes from 102×61 up; borders,
tables and burnt-in text; the classes come from different kinds of publication.
"""

import re
from typing import ClassVar, Literal

from medtransfer.data.sources.base import Listing, Scan, Source, is_image, read_lines, shared_patients

FOLDERS = {"NonCOVID": "non-covid", "COVID": "covid"}


class CovidCtSource(Source):
    """COVID-CT with its official splits; COVID is class 1."""

    name: Literal["covid_ct"] = "covid_ct"
    citation: ClassVar[str] = "Zhao et al. 2020, COVID-CT-Dataset, arXiv 2003.13865"
    licence: ClassVar[str] = "research use; the images belong to the authors and publishers of the source papers"
    flaws: ClassVar[str] = "slices of one patient are in different official splits; tables, borders and burnt-in text"

    def scan(self) -> Scan:
        """List the images of the six split lists."""
        listing = Listing(self.root)
        metadata: list[str] = []
        for folder, label in FOLDERS.items():
            for split in ("train", "val", "test"):
                metadata.append(f"Data-split/{folder}/{split}CT_{folder}.txt")
                self._add_list(listing, metadata[-1], folder, {"label": label, "split": split})
            self._report_unlisted(listing, folder)
        overlaps = shared_patients(listing.rows)
        return listing.scan(
            tuple(FOLDERS.values()), official_splits=True, known_overlaps=overlaps, metadata=tuple(metadata)
        )

    def _add_list(self, listing: Listing, names: str, folder: str, fields: dict[str, str]) -> None:
        for row, file in read_lines(self.root / names):
            path = f"Images-processed/CT_{folder}/{file}"
            patient = f"{fields['label']}/{patient_of(file)}"
            listing.add(path, row=row, patient_id=patient, source="covid-ct", modality="CT", **fields)

    def _report_unlisted(self, listing: Listing, folder: str) -> None:
        listed = {row["path"] for row in listing.rows}
        for file in sorted((self.root / "Images-processed" / f"CT_{folder}").glob("*")):
            path = file.relative_to(self.root).as_posix()
            if is_image(file) and path not in listed:
                listing.skip(path, None, "in no split list")


def patient_of(file: str) -> str:
    """Return the patient that a COVID-CT file name stands for: document and patient token, figure, or the file itself.

    >>> patient_of("2020.03.13.20035212-p23-152.png"), patient_of("14%2.jpg"), patient_of("14.png")
    ('2020.03.13.20035212-p23', '14.jpg', '14.png')
    """
    token = re.fullmatch(r"(.+-p\d+)-.+", file)
    return token[1] if token else re.sub(r"%\d+(?=\.\w+$)", "", file)

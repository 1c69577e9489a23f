"""COVIDx V3–V9 (Wang, Lin & Wong 2020): chest X-rays merged from five collections, with train and test lists.

Layout: ``labels/{train,test}_COVIDx<version>.txt`` (or the lists beside the folders) and the images in ``train/`` and
``test/``. A line is ``patient file label source``; the patient may contain spaces, so lines are split from the right.
Liu & Ji use V4 (473/5,459/7,966 training images, 100 test images per class).

Known flaws: the source alone predicts most labels; V9 misspells ``rsna`` as ``rnsa``; V1 and V2 have no source column
and are not read; labels are positive/negative in V6 and in the B lists.
"""

from pathlib import Path
from typing import ClassVar, Literal

from medtransfer.data.sources.base import Listing, Scan, Source, read_lines, shared_patients
from medtransfer.errors import DataError

THREE_CLASSES = {"normal": "normal", "pneumonia": "pneumonia", "COVID-19": "covid"}
TWO_CLASSES = {"negative": "non-covid", "positive": "covid"}
MISSPELT = {"rnsa": "rsna"}


class CovidxSource(Source):
    """A COVIDx list with its official test set; patients are told apart by source and id."""

    name: Literal["covidx"] = "covidx"
    version: str = "4"
    citation: ClassVar[str] = "Wang, Lin & Wong 2020, COVID-Net, Scientific Reports 10, 19549"
    licence: ClassVar[str] = "that of each collection; research use"
    flaws: ClassVar[str] = "the source alone predicts most labels; collections differ in contrast and format"

    def scan(self) -> Scan:
        """List the images of the train and test lists."""
        listing = Listing(self.root)
        lists = {split: self._find_list(split) for split in ("train", "test")}
        for split, path in lists.items():
            for row, line in read_lines(path):
                self._add_line(listing, line, split, row)
        labels = {row["label"] for row in listing.rows}
        names = THREE_CLASSES if labels & {"normal", "pneumonia"} else TWO_CLASSES
        return listing.scan(
            tuple(names.values()),
            official_splits=True,
            known_overlaps=shared_patients(listing.rows),
            metadata=tuple(path.relative_to(self.root).as_posix() for path in lists.values()),
        )

    def _add_line(self, listing: Listing, line: str, split: str, row: int) -> None:
        fields = line.rsplit(" ", 3)
        if len(fields) != 4:
            listing.skip(line, row, "expected four fields: patient, file, label, source")
            return
        patient, file, text, source = fields
        label = (THREE_CLASSES | TWO_CLASSES).get(text)
        if label is None:
            listing.skip(file, row, f"label {text} is not one of {', '.join(THREE_CLASSES | TWO_CLASSES)}")
            return
        source = MISSPELT.get(source.lower(), source.lower())
        patient_id = f"{source}:{patient.strip()}"
        listing.add(
            f"{split}/{file}", row=row, patient_id=patient_id, label=label, split=split, source=source, modality="CXR"
        )

    def _find_list(self, split: str) -> Path:
        file = f"{split}_COVIDx{self.version}.txt"
        for folder in (self.root / "labels", self.root):
            if (folder / file).is_file():
                return folder / file
        raise DataError(f"{self.root}: neither labels/{file} nor {file} exists; set the version to that of the lists")

"""COVIDx V3–V9 (Wang, Lin & Wong 2020): chest X-rays merged from five collections, with train and test lists.

Layout: ``labels/{train,test}_COVIDx<version>.txt`` (or the lists beside the folders) and the images in ``train/`` and
``test/``. A line is ``patient file label source`` or ``patient file label``; the patient may contain spaces, so lines
are read from the right, by the words that are labels. V1 and V2 have no sources, and 197 of the 300 test lines of V3,
V4, V5 and V7A have none. Liu & Ji use V4 (473/5,459/7,966 training images, 100 test images per class).

A patient is a source and an id. An id without a source is taken as the patient of the one source that has this id in
another line: two splits that may share a patient are then said to share one.

Known flaws: the source alone predicts most labels; V9 misspells ``rsna`` as ``rnsa``; labels are positive/negative in
V6 and in the B lists.
"""

from collections import defaultdict
from pathlib import Path
from typing import ClassVar, Literal

from medtransfer.data.sources.base import Listing, Row, Scan, Source, read_lines, shared_patients
from medtransfer.errors import DataError

THREE_CLASSES = {"normal": "normal", "pneumonia": "pneumonia", "COVID-19": "covid"}
TWO_CLASSES = {"negative": "non-covid", "positive": "covid"}
LABELS = THREE_CLASSES | TWO_CLASSES
MISSPELT = {"rnsa": "rsna"}
FIELDS = "patient, file, label and, where it is known, source"


class CovidxSource(Source):
    """A COVIDx list with its official test set."""

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
        _name_patients(listing.rows)
        labels = {row["label"] for row in listing.rows}
        names = THREE_CLASSES if labels & {"normal", "pneumonia"} else TWO_CLASSES
        return listing.scan(
            tuple(names.values()),
            official_splits=True,
            known_overlaps=shared_patients(listing.rows),
            metadata=tuple(path.relative_to(self.root).as_posix() for path in lists.values()),
        )

    def _add_line(self, listing: Listing, line: str, split: str, row: int) -> None:
        words = line.split()
        place = next((-n for n in (1, 2) if len(words) > n + 1 and words[-n] in LABELS), None)
        if place is None:
            why = f"expected {FIELDS}" if len(words) < 3 else f"no label, expected one of {', '.join(LABELS)}"
            listing.skip(line, row, why)
            return
        source = words[-1].lower() if place == -2 else ""
        listing.add(
            f"{split}/{words[place - 1]}",
            row=row,
            patient_id=" ".join(words[: place - 1]),
            label=LABELS[words[place]],
            split=split,
            source=MISSPELT.get(source, source),
            modality="CXR",
        )

    def _find_list(self, split: str) -> Path:
        file = f"{split}_COVIDx{self.version}.txt"
        for folder in (self.root / "labels", self.root):
            if (folder / file).is_file():
                return folder / file
        raise DataError(f"{self.root}: neither labels/{file} nor {file} exists; {self._remedy(split)}")

    def _remedy(self, split: str) -> str:
        """Return which lists are there, and whether this layout knows them."""
        there = [path for folder in (self.root / "labels", self.root) for path in sorted(folder.glob("*.txt"))]
        versions = sorted(
            {p.stem.removeprefix(f"{split}_COVIDx") for p in there if p.stem.startswith(f"{split}_COVIDx")}
        )
        if versions:
            return f"there are lists of version {', '.join(versions)}; set the version to that of the lists"
        if not there:
            return "there is no list at all; correct the source's root"
        first = next((line for _, line in read_lines(there[0])), "")
        return (
            f"there is {there[0].name}, whose first line is {first[:60]!r}; this layout reads {FIELDS} from lists of "
            "that name, so rename the lists if they fit, or write a table for the layout csv"
        )


def _name_patients(rows: list[Row]) -> None:
    """Put the source before the ids; an id without a source gets the only source that has it elsewhere."""
    sources = defaultdict(set)
    for row in rows:
        sources[row["patient_id"]].add(row["source"])
    for row in rows:
        known = sources[row["patient_id"]] - {""}
        source = row["source"] or (next(iter(known)) if len(known) == 1 else "")
        row["patient_id"] = f"{source}:{row['patient_id']}"

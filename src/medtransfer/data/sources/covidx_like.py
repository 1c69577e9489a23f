"""A COVIDx-like set: normal and pneumonia from ChestX-ray14, COVID-19 from the COVID-19 Image Data Collection.

Layout: both collections, and optionally Brixia scores, in folders below one root. An X-ray with Pneumonia among its
findings is ``pneumonia``, one with No Finding is ``normal``, any other has no class and is left out, unless findings
are wanted; of the collection only ``covid`` images are used, unless other classes are named.

With findings and scores one set serves every step of a chain, and one split keeps its patients apart.

Known flaws: the source alone predicts COVID, since positives and negatives come from different collections.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from medtransfer.data.sources.base import Listing, Row, Scan, Skipped, Source, thin
from medtransfer.data.sources.brixia import BrixiaSource
from medtransfer.data.sources.chestxray14 import FINDINGS, ChestXray14Source
from medtransfer.data.sources.covid_collection import CLASSES, VIEWS, CovidCollectionSource, below


class CovidxLikeSource(Source):
    """Three classes from two collections.

    Attributes:
        chestxray14: folder of ChestX-ray14 below the root.
        collection: folder of the COVID-19 Image Data Collection below the root.
        views: views of the collection to keep.
        collection_classes: classes of the collection to keep.
        findings: outputs of a multi-label task on ChestX-ray14, see ``ChestXray14Source``; its images without a class
            are then kept too. None are known in the collection.
        annotations: table of Brixia scores below the root, see ``BrixiaSource``; its images are kept whatever their
            class, and have severity zones.
        hospital: what the manifest's ``source`` is: ``collection`` for ``nih`` and ``cohen``, ``location`` for
            ``cohen/<place>`` where the collection's table names one.
        max_normal: largest number of normal images, drawn patient by patient.
        max_pneumonia: the same for pneumonia.
    """

    name: Literal["covidx_like"] = "covidx_like"
    chestxray14: str = "chestxray14"
    collection: str = "covid-chestxray-dataset"
    views: tuple[str, ...] = VIEWS
    collection_classes: tuple[Literal["normal", "pneumonia", "covid"], ...] = ("covid",)
    findings: tuple[str, ...] = ()
    annotations: str = ""
    hospital: Literal["collection", "location"] = "collection"
    max_normal: int | None = Field(default=None, ge=1)
    max_pneumonia: int | None = Field(default=None, ge=1)
    citation: ClassVar[str] = (
        f"{ChestXray14Source.citation}; {CovidCollectionSource.citation}; "
        "annotations: Signoroni et al. 2021, BS-Net, Med. Image Anal. 71"
    )
    licence: ClassVar[str] = f"{ChestXray14Source.licence}; {CovidCollectionSource.licence}; annotations: research use"
    flaws: ClassVar[str] = (
        "the source alone predicts covid, since positives and negatives come from different collections"
    )

    def scan(self) -> Scan:
        """Compose the scans."""
        listing = Listing(self.root)
        wanted = tuple(dict.fromkeys((*map(str.lower, FINDINGS), *self.findings))) if self.findings else ()
        negatives = ChestXray14Source(root=self.root / self.chestxray14, findings=wanted).scan()
        positives, graded = self._collection()
        rows = [self._negative(row) for row in negatives.rows]
        kept = [
            *thin([row for row in rows if row["label"] == "normal"], self.max_normal),
            *thin([row for row in rows if row["label"] == "pneumonia"], self.max_pneumonia),
            *([row for row in rows if not row["label"]] if self.findings else ()),
        ]
        listing.rows += kept
        chosen = [row for row in positives.rows if row["label"] in self.collection_classes or row["path"] in graded]
        listing.rows += [self._positive(row, graded.get(row["path"], {})) for row in chosen]
        for folder, scan in ((self.chestxray14, negatives), (self.collection, positives)):
            listing.skipped += [Skipped(f"{folder}/{s.file}", s.row, s.reason) for s in scan.skipped]
        _report_left_out(listing, self.chestxray14, len(rows) - len(kept))
        _report_left_out(listing, self.collection, len(positives.rows) - len(chosen))
        listing.notes += (*negatives.notes, *positives.notes)
        listing.patients = "known" if negatives.patients == positives.patients == "known" else "each_image"
        metadata = [f"{self.chestxray14}/{file}" for file in negatives.metadata]
        metadata += [f"{self.collection}/{file}" for file in positives.metadata]
        return listing.scan(CLASSES, metadata=(*metadata, *([self.annotations] if self.annotations else ())))

    def _collection(self) -> tuple[Scan, dict[str, Row]]:
        """Return the collection, and what Brixia scores add to its images by their path in it."""
        options: dict[str, Any] = {"views": self.views, "hospital": self.hospital}
        images = CovidCollectionSource(
            root=self.root / self.collection, unclassified=bool(self.annotations), **options
        ).scan()
        if not self.annotations:
            return images, {}
        scored = BrixiaSource(
            root=self.root, annotations=self.annotations, collection=self.collection, **options
        ).scan()
        return images, {row["path"].removeprefix(f"{self.collection}/"): _scores(row) for row in scored.rows}

    def _negative(self, row: Row) -> Row:
        findings = [name for name in FINDINGS if row[f"y_{name.lower()}"]]
        label = "pneumonia" if "Pneumonia" in findings else "" if findings else "normal"
        known = {key: value for key, value in row.items() if not key.startswith("y_")}
        known |= {f"y_{name}": row[f"y_{name}"] for name in self.findings}
        patient = f"nih:{row['patient_id']}"
        return below(self.chestxray14, known) | {"patient_id": patient, "label": label, "split": ""}

    def _positive(self, row: Row, scores: Row) -> Row:
        place = row["source"] if self.hospital == "location" else ""
        source = f"cohen/{place}" if place else "cohen"
        patient = f"cohen:{row['patient_id']}"
        label = row["label"] if row["label"] in self.collection_classes else ""
        return below(self.collection, row) | scores | {"patient_id": patient, "source": source, "label": label}


def _scores(row: Row) -> Row:
    """Return the zones of an image and the scores of each reader."""
    return {key: value for key, value in row.items() if key.startswith(("zone_", "v_"))}


def _report_left_out(listing: Listing, folder: str, count: int) -> None:
    if count:
        listing.skip(folder, None, f"{count} images are of no class of this set or above its limits")

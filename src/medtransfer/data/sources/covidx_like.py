"""A COVIDx-like set: normal and pneumonia from ChestX-ray14, COVID-19 from the COVID-19 Image Data Collection.

Layout: both collections in folders below one root. An X-ray with Pneumonia among its findings is ``pneumonia``, one
with No Finding is ``normal``, any other is left out; of the collection only ``covid`` images are used.

Known flaws: the source alone predicts COVID, since positives and negatives come from different collections.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from medtransfer.data.sources.base import Listing, Row, Scan, Skipped, Source, thin
from medtransfer.data.sources.chestxray14 import FINDINGS, ChestXray14Source
from medtransfer.data.sources.covid_collection import CLASSES, VIEWS, CovidCollectionSource


class CovidxLikeSource(Source):
    """Three classes from two collections.

    Attributes:
        chestxray14: folder of ChestX-ray14 below the root.
        collection: folder of the COVID-19 Image Data Collection below the root.
        views: views of the collection to keep.
        max_normal: largest number of normal images, drawn patient by patient.
        max_pneumonia: the same for pneumonia.
    """

    name: Literal["covidx_like"] = "covidx_like"
    chestxray14: str = "chestxray14"
    collection: str = "covid-chestxray-dataset"
    views: tuple[str, ...] = VIEWS
    max_normal: int | None = Field(default=None, ge=1)
    max_pneumonia: int | None = Field(default=None, ge=1)
    citation: ClassVar[str] = f"{ChestXray14Source.citation}; {CovidCollectionSource.citation}"
    licence: ClassVar[str] = f"{ChestXray14Source.licence}; {CovidCollectionSource.licence}"
    flaws: ClassVar[str] = (
        "the source alone predicts covid, since positives and negatives come from different collections"
    )

    def scan(self) -> Scan:
        """Compose the two scans."""
        listing = Listing(self.root)
        negatives = ChestXray14Source(root=self.root / self.chestxray14).scan()
        positives = CovidCollectionSource(root=self.root / self.collection, views=self.views).scan()
        rows = [_single_label(row) for row in negatives.rows]
        kept = [
            *thin([row for row in rows if row["label"] == "normal"], self.max_normal),
            *thin([row for row in rows if row["label"] == "pneumonia"], self.max_pneumonia),
        ]
        listing.rows += [_below(self.chestxray14, row) for row in kept]
        covid = [row for row in positives.rows if row["label"] == "covid"]
        listing.rows += [_below(self.collection, row) for row in covid]
        for folder, scan in ((self.chestxray14, negatives), (self.collection, positives)):
            listing.skipped += [Skipped(f"{folder}/{s.file}", s.row, s.reason) for s in scan.skipped]
        _report_left_out(listing, self.chestxray14, len(rows) - len(kept))
        _report_left_out(listing, self.collection, len(positives.rows) - len(covid))
        listing.patients = "known" if negatives.patients == positives.patients == "known" else "each_image"
        metadata = [f"{self.chestxray14}/{file}" for file in negatives.metadata]
        return listing.scan(CLASSES, metadata=(*metadata, *(f"{self.collection}/{f}" for f in positives.metadata)))


def _single_label(row: Row) -> dict[str, Any]:
    findings = [name for name in FINDINGS if row[f"y_{name.lower()}"]]
    label = "pneumonia" if "Pneumonia" in findings else "" if findings else "normal"
    return {key: value for key, value in row.items() if not key.startswith("y_")} | {"label": label, "split": ""}


def _below(folder: str, row: Row) -> Row:
    paths = {key: f"{folder}/{row[key]}" for key in ("image_id", "path", "mask") if row.get(key)}
    return row | paths | {"patient_id": f"{row['source']}:{row['patient_id']}"}


def _report_left_out(listing: Listing, folder: str, count: int) -> None:
    if count:
        listing.skip(folder, None, f"{count} images are of no class of this set or above its limits")

"""Brixia scores (Signoroni et al. 2021) of X-rays in the COVID-19 Image Data Collection, by two radiologists.

Layout: the collection and a folder with ``public-annotations.csv`` below one root. Its columns S-A … S-F are the senior
radiologist's scores 0–3 of right upper, middle, lower, left upper, middle, lower zone, S-Global is their sum; J-… are
the junior's.

Left out and counted: what the collection leaves out (lateral views, CT slices, absent files, …), scores that are no
whole number from 0 to 3 or do not add up, names that the collection does not list. Masks are the collection's.

Known flaws: those of the collection; the two readers differ.
"""

from typing import ClassVar, Literal

from medtransfer.data.manifest import ZONES
from medtransfer.data.sources.base import Listing, Row, Scan, Skipped, Source, read_table
from medtransfer.data.sources.covid_collection import VIEWS, CovidCollectionSource, below

READERS = {"senior": "S", "junior": "J"}
LETTERS = "ABCDEF"


class BrixiaSource(Source):
    """Images with the severity of six zones.

    The manifest's ``zone_0`` … ``zone_5`` are the chosen reader's, ``v_<reader>_0`` … ``5`` those of both.

    Attributes:
        annotations: the table below the root.
        collection: folder of the collection below the root.
        reader: whose scores are the target.
        zones: ``presence`` is 1 where the score is above 0, as in Park et al. 2022; ``score`` keeps 0–3.
        views: views of the collection to keep.
        hospital: see ``CovidCollectionSource``.
    """

    name: Literal["brixia"] = "brixia"
    annotations: str = "brixia-cohen/public-annotations.csv"
    collection: str = "covid-chestxray-dataset"
    reader: Literal["senior", "junior"] = "senior"
    zones: Literal["presence", "score"] = "presence"
    views: tuple[str, ...] = VIEWS
    hospital: Literal["collection", "location"] = "collection"
    citation: ClassVar[str] = f"Signoroni et al. 2021, BS-Net, Med. Image Anal. 71; {CovidCollectionSource.citation}"
    licence: ClassVar[str] = f"scores: research use; images: {CovidCollectionSource.licence}"
    flaws: ClassVar[str] = f"two readers who differ; {CovidCollectionSource.flaws}"

    def scan(self) -> Scan:
        """List the images of the collection that have scores."""
        listing = Listing(self.root)
        images = CovidCollectionSource(
            root=self.root / self.collection, views=self.views, hospital=self.hospital, unclassified=True
        ).scan()
        rows = {row["path"].rpartition("/")[2]: row for row in images.rows}
        left_out = {skip.file.rpartition("/")[2]: skip for skip in images.skipped}
        columns = tuple(f"{letter}-{zone}" for letter in READERS.values() for zone in (*LETTERS, "Global"))
        for number, entry in read_table(self.root / self.annotations, ("filename", *columns)):
            file, scores, reason = _read(entry)
            if reason := reason or _reason(file, rows, left_out):
                listing.skip(file, number, reason)
            else:
                self._add_row(listing, number, rows[file], scores)
        _keep_notes_on_masks(listing, self.collection, images)
        metadata = tuple(f"{self.collection}/{table}" for table in images.metadata)
        return listing.scan(images.classes, metadata=(self.annotations, *metadata))

    def _add_row(self, listing: Listing, number: int, row: Row, scores: dict[str, list[int]]) -> None:
        placed = below(self.collection, row)
        chosen = scores[self.reader]
        values = [float(score > 0) if self.zones == "presence" else float(score) for score in chosen]
        readers = {f"v_{name}_{zone}": float(s) for name, each in scores.items() for zone, s in enumerate(each)}
        fields = {key: value for key, value in placed.items() if key not in ("path", "image_id")}
        listing.add(placed["path"], row=number, **fields, **dict(zip(ZONES, values, strict=True)), **readers)


def _read(entry: dict[str, str]) -> tuple[str, dict[str, list[int]], str]:
    """Return name, scores by reader, and why they cannot be used."""
    scores: dict[str, list[int]] = {}
    for reader, letter in READERS.items():
        cells = [entry[f"{letter}-{zone}"].strip() for zone in LETTERS]
        if odd := [cell for cell in cells if cell not in {"0", "1", "2", "3"}]:
            return entry["filename"].strip(), {}, f"{reader} score {odd[0]!r} is not 0, 1, 2 or 3"
        scores[reader] = [int(cell) for cell in cells]
        if entry[f"{letter}-Global"].strip() != str(sum(scores[reader])):
            return entry["filename"].strip(), {}, f"{letter}-Global is not the sum of the {reader} scores"
    return entry["filename"].strip(), scores, ""


def _reason(file: str, rows: dict[str, Row], left_out: dict[str, Skipped]) -> str:
    if file in rows:
        return ""
    return left_out[file].reason if file in left_out else "the collection does not list it"


def _keep_notes_on_masks(listing: Listing, folder: str, images: Scan) -> None:
    """Pass on which masks of the listed images the collection could not use."""
    used = {row["path"].removeprefix(f"{folder}/").rpartition("/")[2].rpartition(".")[0] for row in listing.rows}
    for skip in images.skipped:
        stem = skip.file.rpartition("/")[2].removesuffix("_mask.png")
        if skip.file.endswith("_mask.png") and stem in used:
            listing.skip(f"{folder}/{skip.file}", skip.row, skip.reason)

"""A user's images: read, split by patient, checked for leaks, packed; and a report of what was read and left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from medtransfer import paths
from medtransfer.comparing.question import Columns, Question
from medtransfer.data.add import scan_to_manifest
from medtransfer.data.gate import search, stored_looks
from medtransfer.data.leaks import GateConfig, require_no_leaks
from medtransfer.data.looks import Looks
from medtransfer.data.packed import PackConfig, PackedDataset, pack
from medtransfer.data.sources import CsvSource, Scan, Skipped, SourceConfig
from medtransfer.data.sources.base import Listing, read_table
from medtransfer.data.sources.table import COLUMNS
from medtransfer.data.splits import SplitConfig, assign_splits
from medtransfer.errors import ConfigError, DataError
from medtransfer.files import read_json, remove_made

FEWEST = 10
"""Patients of every class below which nothing can be split, screened and tested."""
SPLIT = SplitConfig(train=0.5, val=0.15, test=0.35)
"""Half is for training, a third for the test: with few images the test decides what can be told at all."""
MARGIN = 1.1
"""Images are packed this much larger than the network's view, so that crops can move."""
ROUNDS = 20
PARTS = ("manifest.parquet", "images.npy", "masks.npy", "dataset.json")


class Input(NamedTuple):
    """A source, what it lists, and the columns that could hold the target."""

    source: Any
    scan: Scan
    table: Columns
    not_read: tuple[str, ...]
    """Columns of the table that nothing reads, the target among them until it is confirmed."""


@dataclass(frozen=True)
class DataReport:
    """What was read of a user's data, and what was not.

    Attributes:
        images: that take part.
        patients: of these; None where not known.
        counts: split → class, finding or ``images`` → images.
        left_out: reason → files.
        split: how the images were split, in words.
        joined: pairs of near-duplicates that were kept in one split.
        ignored: columns that were not read.
    """

    images: int
    patients: int | None
    counts: Mapping[str, Mapping[str, int]]
    left_out: Mapping[str, tuple[str, ...]]
    split: str
    joined: int
    ignored: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the report for a terminal."""
        of = "without patient ids" if self.patients is None else f"of {self.patients} patients"
        said = [f"{self.images} images {of}; {self.split}"]
        said += [f"  {name:<6}" + "  ".join(f"{k} {n}" for k, n in row.items()) for name, row in self.counts.items()]
        said += [
            f"  left out {len(files)}: {reason} ({', '.join(files[:3])}{', …' if len(files) > 3 else ''})"
            for reason, files in self.left_out.items()
        ]
        if self.ignored:
            said.append(f"  columns not read: {', '.join(self.ignored)}")
        joined = f"; {self.joined} pairs of near-duplicates are kept in one split" if self.joined else ""
        return [*said, f"  leak gate: open, no patient and no image in two splits{joined}"]


def open_input(data: Path, layout: str, modality: str) -> Input:
    """List the images of a table, of a folder of class folders, or of a publisher's layout.

    Args:
        data: a CSV table, or a folder.
        layout: the folder's layout, a name of ``data/sources``.
        modality: ``CXR``, ``CT`` or ``natural``; for a table, of rows that state none.

    Raises:
        ConfigError: there is no such layout. DataError: the table or folder is absent or has another layout.
    """
    if data.suffix.lower() == ".csv":
        return _open_table(data, modality)
    if not data.is_dir():
        raise DataError(f"{data}: neither a .csv table nor a folder; give one of them as --data")
    settings = {"name": layout, "root": data} | ({"modality": modality} if layout == "imagefolder" else {})
    try:
        source = TypeAdapter[Any](SourceConfig).validate_python(settings)
    except ValidationError as error:
        raise ConfigError(f"--layout {layout}: {error.errors()[0]['msg']}") from error
    scan = source.scan()
    names = dict.fromkeys(key for row in scan.rows for key in row if key == "label" or key.startswith(("y_", "v_")))
    table = {name: [_text(row.get(name)) for row in scan.rows] for name in names}
    return Input(source, scan, {name: cells for name, cells in table.items() if any(cells)}, ())


def _open_table(data: Path, modality: str) -> Input:
    entries = read_table(data, ("image",))
    columns = list(entries[0][1]) if entries else []
    targets = [name for name in columns if name == "label" or name.startswith("y_") or name not in COLUMNS]
    source = CsvSource.model_validate(
        {"root": data.parent, "table": data.name, "ignore": targets, "modality": modality}
    )
    scan = source.scan()
    place = Listing(data.parent).place
    cells = {place(entry["image"].strip()): entry for _, entry in reversed(entries)}
    found = [cells.get(row["path"]) or cells[row["path"].rpartition("#")[0]] for row in scan.rows]  # a file or a frame
    table = {name: [entry[name].strip() for entry in found] for name in targets}
    return Input(source, scan, table, tuple(targets))


def with_target(given: Input, question: Question) -> Scan:
    """Return the scan with the confirmed target alone; images for which it is not known are left out."""
    rows, skipped = [], list(given.scan.skipped)
    cells = list(zip(*(given.table[column] for column in question.columns), strict=True))
    for row, answers in zip(given.scan.rows, cells, strict=True):
        if not any(answers):
            skipped.append(Skipped(row["path"], None, f"no value in {', '.join(question.columns)}"))
            continue
        kept = {key: value for key, value in row.items() if not key.startswith(("y_", "v_", "zone_"))}
        rows.append(kept | {"label": ""} | _target(question, answers))
    classes = question.outputs if question.task in ("binary", "multiclass") else ()
    return replace(given.scan, rows=rows, skipped=skipped, classes=classes)


def _target(question: Question, answers: Sequence[str]) -> dict[str, Any]:
    if question.task in ("binary", "multiclass"):
        return {"label": answers[0]}
    mark = "v" if question.task == "regression" else "y"
    numbers = [float(cell) if cell else np.nan for cell in answers]
    return {f"{mark}_{name}": number for name, number in zip(question.outputs, numbers, strict=True)}


def prepare(
    given: Input, scan: Scan, question: Question, name: str, *, crop: int, folder: Path
) -> tuple[PackedDataset, DataReport]:
    """Decode every image once or twice, split whole patients, and pack; the leak gate decides between the two.

    Where the split is ours, near-duplicates are kept in one split as if they were of one patient. A split of the table
    or the publisher stays as it is, unless it shares patients.

    Raises:
        DataError: a class has too few patients. LeakError: a split that was given shares an image.
    """
    manifest, skipped = scan_to_manifest(given.source, name, scan=scan)
    require_enough(manifest, question)
    official = scan.official_splits and not scan.known_overlaps
    settings = SPLIT.model_copy(update={"official": official})
    split = assign_splits(manifest, settings)
    channels = 3 if (manifest["modality"] == "natural").any() else 1
    config = PackConfig.model_validate({"size": round(crop * MARGIN), "channels": channels})
    meta = {"classes": scan.classes, "patients": scan.patients, "official_splits": official}
    meta |= {"licence": given.source.licence, "citation": given.source.citation}

    def packed(table: pd.DataFrame) -> PackedDataset:
        remove_made(folder / "images", PARTS)
        pack(table, given.source.root, folder / "images", config, meta=meta)
        return PackedDataset.open(folder / "images")

    data = packed(split)
    looks = stored_looks(data, folder / "looks")
    apart, joined = _without_leaks(name, data, looks, manifest, settings)
    if apart is not None:
        data = packed(apart)
    words = _split_words(official, scan.known_overlaps)
    return data, _report(data, question, skipped, words, joined, _ignored(given, question))


def _without_leaks(
    name: str, data: PackedDataset, looks: Looks, manifest: pd.DataFrame, settings: SplitConfig
) -> tuple[pd.DataFrame | None, int]:
    """Return the manifest split so that no copies are apart, None where they were not, and how many pairs were joined.

    Raises:
        LeakError: copies are in two splits that were given.
    """
    group, table = dict(zip(manifest["image_id"], manifest["patient_id"], strict=True)), None
    joined = 0
    for _ in range(ROUNDS):
        leaks, _ = search({name: data}, [looks], [], GateConfig())
        if leaks.empty:
            return table, joined
        if data.meta.official_splits:
            break
        joined += len(leaks)
        for first, second in zip(leaks["image_a"], leaks["image_b"], strict=True):
            old, new = group[second], group[first]
            group = {image: new if own == old else own for image, own in group.items()}
        together = manifest.assign(patient_id=manifest["image_id"].map(group))
        table = manifest.assign(split=assign_splits(together, settings)["split"])
        data = PackedDataset(data.folder, data.manifest.assign(split=table["split"].to_numpy()), data.meta)
    require_no_leaks(leaks, GateConfig())
    return table, joined


def require_enough(manifest: pd.DataFrame, question: Question) -> None:
    """Refuse images of too few patients of a class, or with too few known values.

    Raises:
        DataError: names the class.
    """
    patients = manifest["patient_id"]
    if question.task in ("binary", "multiclass"):
        groups = {name: manifest["label"] == name for name in question.outputs}
    elif question.task == "multilabel":
        groups = {f"{f} {v}": manifest[f"y_{f}"] == v for f in question.outputs for v in (1, 0)}
    else:
        groups = {question.outputs[0]: manifest[f"v_{question.outputs[0]}"].notna()}
    for name, chosen in groups.items():
        found = patients[chosen].nunique()
        if found < FEWEST:
            raise DataError(
                f"{name}: {int(chosen.sum())} images of {found} patients, expected {FEWEST} patients at least to "
                "train, screen and test; add images, or leave this class out of the table"
            )


def _split_words(official: bool, overlaps: str) -> str:
    if official:
        return "split as given"
    shares = f"{SPLIT.train * 100:.0f} / {SPLIT.val * 100:.0f} / {SPLIT.test * 100:.0f} % by patient"
    return f"split here, {shares}" + (f" (the publisher's own is not used: {overlaps})" if overlaps else "")


def _ignored(given: Input, question: Question) -> tuple[str, ...]:
    return tuple(name for name in given.not_read if name not in question.columns)


def _report(
    data: PackedDataset,
    question: Question,
    skipped: Sequence[Skipped],
    split: str,
    joined: int,
    ignored: tuple[str, ...],
) -> DataReport:
    manifest = data.manifest
    counts: dict[str, dict[str, int]] = {}
    for name in ("train", "val", "test"):
        rows = manifest[manifest["split"] == name]
        if question.task == "multilabel":
            counts[name] = {f: int((rows[f"y_{f}"] == 1).sum()) for f in question.outputs}
        elif question.task == "regression":
            counts[name] = {"images": len(rows)}
        else:
            counts[name] = {c: int((rows["label"] == c).sum()) for c in question.outputs}
    reasons: dict[str, list[str]] = {}
    for each in skipped:
        reasons.setdefault(each.reason, []).append(each.file)
    known = data.meta.patients == "known"
    return DataReport(
        images=len(manifest),
        patients=manifest["patient_id"].nunique() if known else None,
        counts=counts,
        left_out={reason: tuple(files) for reason, files in reasons.items()},
        split=split,
        joined=joined,
        ignored=ignored,
    )


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)


def added(name: str) -> tuple[Path, str]:
    """Return folder and layout of a data set that ``data add`` has added.

    Raises:
        DataError: there is none of this name.
    """
    folder = paths.RAW / paths.plain_name(name, "data set")
    try:
        layout = str(read_json(folder.with_name(f"{name}.report.json"))["source"])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{name}: no such table or folder, and no data set of this name below {paths.RAW}") from error
    return folder, layout

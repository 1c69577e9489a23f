"""The main network on hospitals and views apart, and how far the hospital alone gives the diagnosis away."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from medtransfer.data.manifest import collection_of, names_no_hospital
from medtransfer.evaluation.binary import auroc
from medtransfer.evaluation.checks import attempt
from medtransfer.evaluation.summary import brief
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import MISSING, READING, estimate, labels, number
from medtransfer.studies.multitask_vit.report.results import NOT_AVAILABLE, Results

COLUMNS = (
    ("probability", "auroc", "AUROC"),
    ("probability", "sensitivity", "Sensitivity"),
    ("probability", "specificity", "Specificity"),
    ("probability", "accuracy", "Accuracy"),
    ("value", "mse", "MSE of the score"),
)
VIEWS = ("PA", "AP")
NOT_APPLICABLE = TableCell("not applicable")
_HEAD = (*labels("Test images of"), Column("Images"), *(Column(title) for *_, title in COLUMNS))


def hospitals_table(found: Results) -> Table:
    """Return the main network's numbers by collection and hospital; *not available* with fewer than two of these.

    A collection has a row where its images name hospitals; a hospital with few test images has none.
    """
    test = found.table[(found.table["split"] == "test") & (found.table["variant"] == found.main)]
    images = test.drop_duplicates("image_id")["source"].value_counts()
    seen = set(found.table.loc[found.table["split"] == "val", "source"])
    named = sorted(name for name in images.index if not names_no_hospital(name, images.index))
    large = [name for name in named if images[name] >= found.config.hospitals.least_images]
    whole = dict.fromkeys(collection_of(name) for name in named if "/" in name)
    rows = [_row(f"{name}, all", found, found.table["source"].map(collection_of) == name) for name in whole]
    rows += [_row(_told(name, seen), found, found.table["source"] == name) for name in large]
    if len(named) < 2 or not rows:
        rows = [(TableCell("fewer than two usable hospitals"), *(NOT_AVAILABLE for _ in _HEAD[1:]))]
    note = _left_out(images, named, large) if len(named) > 1 else ()
    intro = (
        f"{found.main}: means over the classes at the thresholds of all validation images. Only a row marked external "
        f"is of a hospital without images in training and validation. {READING}"
    )
    return Table("hospitals", "Hospitals apart", intro, _HEAD, tuple(rows), note)


def _left_out(images: pd.Series, named: Sequence[str], large: Sequence[str]) -> tuple[str, ...]:
    unnamed, small = images.drop(named).sum(), [name for name in named if name not in large]
    notes = [f"{unnamed} test images name no hospital and are in no row of one."] if unnamed else []
    if small:
        notes.append(f"{len(small)} hospitals with {images[small].sum()} test images are too small for a row.")
    return tuple(notes)


def views_table(found: Results) -> Table:
    """Return the main network's numbers on PA and AP views; sources without a view are *not applicable*."""
    test = found.table[(found.table["split"] == "test") & (found.table["variant"] == found.main)]
    rows = [_row(view, found, found.table["view"] == view) for view in VIEWS if (test["view"] == view).any()]
    for name, own in test.groupby("source"):
        if (own["view"] == "").all():
            rows.append((TableCell(name or "no hospital named"), *(NOT_APPLICABLE for _ in _HEAD[1:])))
    intro = f"{found.main}: means over the classes at the thresholds of all validation images. {READING}"
    return Table("views", "PA and AP apart", intro, _HEAD, tuple(rows))


def source_table(found: Results) -> Table:
    """Return the AUROC of the hospital alone beside the main network's: what an image need not show.

    The score of an image is the share of positive training images of its hospital.
    """
    cell = found.cell(found.main, "probability")
    manifest = found.manifests.get(cell.dataset) if cell else None
    rows: list[tuple[TableCell, ...]] = []
    for name in cell.by_output if cell else ():
        reached = estimate(brief(cell.by_output[name]["auroc"])) if cell else MISSING
        alone = [None if manifest is None else source_auroc(manifest, name, of=of) for of in (str, collection_of)]
        told = (NOT_AVAILABLE if value is None else TableCell(number(value)) for value in alone)
        rows.append((TableCell(name), reached, *told))
    intro = (
        "The score of an image is the share of training images of its hospital that have the class; no pixel is read. "
        "A hospital without training images has the share of its collection. Above 0.5 the hospital gives the "
        "diagnosis away, and a network can be right for that reason."
    )
    sources = (Column(found.main, "AUROC"), Column("hospital alone", "AUROC"), Column("collection alone", "AUROC"))
    columns = (*labels("Class"), *sources)
    return Table("source-only", "What the hospital alone tells", intro, columns, tuple(rows))


def source_auroc(manifest: pd.DataFrame, label: str, *, of: Callable[[str], str] = str) -> float | None:
    """Return the AUROC of the source alone on labelled test images; None with fewer than two sources in training.

    A source without training images gets the share of its collection, or of all.

    Args:
        manifest: ``source``, ``label`` and ``split``.
        label: the class.
        of: what of a source is told, such as its collection.
    """
    labelled = manifest[manifest["label"] != ""]
    train, test = labelled[labelled["split"] == "train"], labelled[labelled["split"] == "test"]
    told = train["source"].map(of)
    if told.nunique() < 2:
        return None
    positive = train["label"] == label
    score = test["source"].map(of).map(positive.groupby(told).mean()).astype(float)
    by_collection = positive.groupby(train["source"].map(collection_of)).mean()
    score = score.fillna(test["source"].map(collection_of).map(by_collection)).fillna(float(positive.mean()))
    value, _ = attempt(auroc, (test["label"] == label).to_numpy(float), score.to_numpy())
    return None if np.isnan(value) else value


def _told(name: str, seen: set[str]) -> str:
    return name if name in seen else f"{name} (external)"


def _row(title: str, found: Results, rows: pd.Series) -> tuple[TableCell, ...]:
    cells = found.among(rows)
    images: Sequence[str] = sorted({image for cell in cells.values() for image in cell.images})
    numbers = (
        estimate(brief(cells[kind].samples[metric])) if kind in cells else MISSING for kind, metric, _ in COLUMNS
    )
    return (TableCell(title), TableCell(str(len(images))), *numbers)

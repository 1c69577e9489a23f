"""The main network on hospitals and views apart, and how far the hospital alone gives the diagnosis away."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

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
    """Return the main network's numbers by hospital; *not available* with fewer than two that name themselves."""
    test = found.table[(found.table["split"] == "test") & (found.table["variant"] == found.main)]
    names = sorted(set(test["source"]) - {""})
    seen = set(found.table.loc[found.table["split"] == "val", "source"])
    rows = [_row(_told(name, seen), found, found.table["source"] == name) for name in names]
    if len(names) < 2:
        rows = [(TableCell("fewer than two hospitals"), *(NOT_AVAILABLE for _ in _HEAD[1:]))]
    blank = test.loc[test["source"] == "", "image_id"].nunique()
    note = (f"{blank} test images name no hospital and are in no row.",) if blank and len(names) > 1 else ()
    intro = (
        f"{found.main}: means over the classes at the thresholds of all validation images. Only a row marked external "
        f"is of a hospital without images in training and validation. {READING}"
    )
    return Table("hospitals", "Hospitals apart", intro, _HEAD, tuple(rows), note)


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
        alone = source_auroc(manifest, name) if manifest is not None else None
        rows.append(
            (
                TableCell(name),
                estimate(brief(cell.by_output[name]["auroc"])) if cell else MISSING,
                NOT_AVAILABLE if alone is None else TableCell(number(alone)),
            )
        )
    intro = (
        "The score of an image is the share of training images of its hospital that have the class; no pixel is read. "
        "Above 0.5 the hospital gives the diagnosis away, and a network can be right for that reason."
    )
    columns = (*labels("Class"), Column(found.main, "AUROC"), Column("hospital alone", "AUROC"))
    return Table("source-only", "What the hospital alone tells", intro, columns, tuple(rows))


def source_auroc(manifest: pd.DataFrame, label: str) -> float | None:
    """Return the AUROC of the source alone on labelled test images; None with fewer than two sources in training.

    A source without training images gets the share of all.
    """
    labelled = manifest[manifest["label"] != ""]
    train, test = labelled[labelled["split"] == "train"], labelled[labelled["split"] == "test"]
    if train["source"].nunique() < 2:
        return None
    positive = train["label"] == label
    score = test["source"].map(positive.groupby(train["source"]).mean()).astype(float).fillna(float(positive.mean()))
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

"""Diagnosis of every network: AUROC by class, the operating point fixed on validation, and the paper's beside it."""

from collections.abc import Mapping

import numpy as np

from medtransfer.evaluation.cells import Cell, of_output
from medtransfer.evaluation.compare import delong_interval
from medtransfer.evaluation.summary import Sample, average, brief
from medtransfer.evaluation.thresholds import choose_threshold
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import MISSING, READING, estimate, interval, labels, number
from medtransfer.studies.multitask_vit.report.results import Results

COLUMNS = {
    "auroc": "AUROC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "accuracy": "Accuracy",
    "ece": "Calibration error",
}
AT_POINT = ("sensitivity", "specificity", "accuracy")
FIXED, OPTIMISTIC = "threshold fixed on validation", "optimistic: threshold chosen on these test labels"
POINT = "The threshold of each class is the highest with a sensitivity of at least 0.80 on validation images."
MEAN = "mean"


def diagnosis_table(found: Results) -> Table:
    """Return each network's means over the classes."""
    columns = tuple(Column(title, "Mean over the classes") for title in COLUMNS.values())
    rows = tuple(
        (TableCell(cell.variant), *(estimate(brief(cell.samples[name])) for name in COLUMNS))
        for cell in found.of("probability")
    )
    return Table("diagnosis", "Diagnosis", f"{POINT} {READING}", (*labels("Network"), *columns), rows)


def classes_table(found: Results) -> Table:
    """Return each network's classes and their mean: AUROC, fixed operating point, the paper's own way beside it."""
    columns = (
        *labels("Network", "Class"),
        Column("AUROC"),
        Column("AUROC of mean scores, DeLong"),
        *(Column(COLUMNS[name], FIXED) for name in AT_POINT),
        *(Column(COLUMNS[name], OPTIMISTIC) for name in AT_POINT),
    )
    intro = (
        f"{POINT} The paper adjusts the threshold on the evaluated labels themselves; these columns are too good. "
        f"DeLong's AUROC and 95 % interval are of scores averaged over seeds, with images as independent. {READING}"
    )
    rows = tuple(row for cell in found.of("probability") for row in _classes(cell, found))
    return Table("classes", "Diagnosis by class", intro, columns, rows)


def _classes(cell: Cell, found: Results) -> list[tuple[TableCell, ...]]:
    best = {name: optimistic(cell, name, found) for name in cell.outputs}
    rows = [_row(cell.variant, name, cell.by_output[name], _delong(cell, name), best[name]) for name in cell.by_output]
    known = [one for one in best.values() if one]
    together = {name: average([one[name] for one in known]) for name in AT_POINT} if known else {}
    return [*rows, _row(cell.variant, MEAN, cell.samples, MISSING, together)]


def _row(
    variant: str, name: str, fixed: Mapping[str, Sample], delong: TableCell, best: Mapping[str, Sample]
) -> tuple[TableCell, ...]:
    chosen = (estimate(brief(best[metric])) if best else MISSING for metric in AT_POINT)
    return (
        TableCell(variant),
        TableCell(name),
        estimate(brief(fixed["auroc"])),
        delong,
        *(estimate(brief(fixed[metric])) for metric in AT_POINT),
        *chosen,
    )


def optimistic(cell: Cell, output: str, found: Results) -> dict[str, Sample]:
    """Return the metrics at thresholds that are chosen on the test labels themselves, as in the paper (P-14).

    Empty where a class has no test image.
    """
    target, scores, _ = cell.column(output)
    if len(np.unique(target)) < 2:
        return {}
    thresholds = [choose_threshold("sensitivity_80", target, score) for score in scores]
    return of_output(cell, output, AT_POINT, thresholds, found.evaluation)


def _delong(cell: Cell, output: str) -> TableCell:
    target, scores, _ = cell.column(output)
    if min(int(target.sum()), int((1 - target).sum())) < 2:
        return MISSING
    one = delong_interval(target, scores.mean(0))
    around = interval(one.low, one.high) if one.low < one.high else "no interval: perfect order"
    return TableCell(number(one.value), around)

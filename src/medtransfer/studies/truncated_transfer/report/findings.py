"""Results of every single finding of a multi-label task (Fig. 4), which the mean over findings hides."""

import numpy as np

from medtransfer.evaluation.cells import Cell
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import MISSING, labels, number
from medtransfer.studies.truncated_transfer.report.names import condition_title, variant_title
from medtransfer.studies.truncated_transfer.report.results import Results


def mean_of_output(cell: Cell, output: str, metric: str = "auprc") -> float:
    """Return a metric of one output on its known test images, mean over seeds; NaN if it does not exist."""
    return float(cell.by_output[output][metric].points.mean())


def findings_table(results: Results) -> Table | None:
    """Return AUPRC and AUROC of every finding and variant; None if no task has several findings."""
    several = [c for c in results.conditions if len(results.config.tasks[c.task].findings) > 1]
    if not several:
        return None
    rows = [_row(results, c.name, finding) for c in several for finding in results.config.tasks[c.task].findings]
    return Table(
        "findings",
        "Every single finding (Fig. 4)",
        "AUPRC on the test images, mean over seeds; AUROC below it. With few positives, AUROC stays high where AUPRC "
        "falls.",
        (
            *labels("Setting", "Finding"),
            Column("share of positives"),
            *(Column(variant_title(variant)) for variant in results.config.variants),
        ),
        tuple(rows),
    )


def _row(results: Results, condition: str, finding: str) -> tuple[TableCell, ...]:
    tested = [results.cells.get((variant, condition)) for variant in results.config.variants]
    first = next(cell for cell in tested if cell is not None)
    share = float(np.mean(first.column(finding)[0]))
    values = (MISSING if cell is None else _both(cell, finding) for cell in tested)
    return (TableCell(condition_title(condition)), TableCell(finding), TableCell(number(share)), *values)


def _both(cell: Cell, finding: str) -> TableCell:
    auroc = number(mean_of_output(cell, finding, "auroc"))
    return TableCell(number(mean_of_output(cell, finding)), f"AUROC {auroc}")

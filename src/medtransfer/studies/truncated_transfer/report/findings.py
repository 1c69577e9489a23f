"""Every finding of a multi-label task by itself (Fig. 4): what its mean over findings hides."""

import numpy as np

from medtransfer.evaluation.cells import Cell
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import MISSING, labels, number
from medtransfer.studies.truncated_transfer.report.names import condition_title, variant_title
from medtransfer.studies.truncated_transfer.report.results import Results


def mean_of_output(cell: Cell, output: str, metric: str = "auprc") -> float:
    """Return a metric of one output on its known test images, mean over seeds; NaN where it does not exist."""
    return float(cell.by_output[output][metric].points.mean())


def findings_table(found: Results) -> Table | None:
    """Return AUPRC and AUROC of every finding and variant; nothing where no task has several findings."""
    several = [c for c in found.conditions if len(found.config.tasks[c.task].findings) > 1]
    if not several:
        return None
    rows = [_row(found, c.name, finding) for c in several for finding in found.config.tasks[c.task].findings]
    return Table(
        "findings",
        "Every finding by itself (Fig. 4)",
        "AUPRC on the test images, mean over seeds, AUROC below it. With few positives AUROC stays high where AUPRC "
        "falls.",
        (
            *labels("Setting", "Finding"),
            Column("share of positives"),
            *(Column(variant_title(variant)) for variant in found.config.variants),
        ),
        tuple(rows),
    )


def _row(found: Results, condition: str, finding: str) -> tuple[TableCell, ...]:
    tested = [found.cells.get((variant, condition)) for variant in found.config.variants]
    first = next(cell for cell in tested if cell is not None)
    share = float(np.mean(first.column(finding)[0]))
    shown = (MISSING if cell is None else _both(cell, finding) for cell in tested)
    return (TableCell(condition_title(condition)), TableCell(finding), TableCell(number(share)), *shown)


def _both(cell: Cell, finding: str) -> TableCell:
    auroc = number(mean_of_output(cell, finding, "auroc"))
    return TableCell(number(mean_of_output(cell, finding)), f"AUROC {auroc}")

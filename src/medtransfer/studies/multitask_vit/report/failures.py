"""Test images that the main network gets wrong, the surest first; the images themselves stay where the data are."""

import numpy as np

from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import labels, number
from medtransfer.studies.multitask_vit.report.results import Results

SHOWN = 20


def failures_table(found: Results) -> Table:
    """Return the images whose likeliest class is wrong, at most ``SHOWN``, by the probability of the wrong class."""
    cell = found.cell(found.main, "probability")
    rows: list[tuple[TableCell, ...]] = []
    wrong = known = 0
    if cell:
        score, labelled = cell.scores.mean(0), (cell.target == 1).any(1)
        called, true = score.argmax(1), cell.target.argmax(1)
        failed = np.flatnonzero(labelled & (called != true))
        wrong, known = len(failed), int(labelled.sum())
        for row in sorted(failed, key=lambda row: (-score[row].max(), str(cell.images[row])))[:SHOWN]:
            names = (str(cell.images[row]), cell.outputs[true[row]], cell.outputs[called[row]])
            sure = (number(score[row, called[row]]), number(score[row, true[row]]))
            rows.append(tuple(map(TableCell, (*names, *sure))))
    intro = (
        f"{found.main}, probabilities averaged over seeds: the likeliest class is wrong in {wrong} of {known} test "
        f"images. At most {SHOWN} are listed, the surest first."
    )
    columns = (*labels("Image", "Label", "Called"), Column("Its probability"), Column("Probability of the label"))
    return Table("failures", "Failure cases", intro, columns, tuple(rows))

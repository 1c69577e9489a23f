"""Test images that the main network gets wrong, the surest first; drawn ones are shown, those of patients are not."""

import numpy as np

from medtransfer.data.images import grey_levels
from medtransfer.data.packed import PackedDataset
from medtransfer.explain.panels import image_grid, panel_png
from medtransfer.reporting.content import Column, Figure, Table, TableCell
from medtransfer.reporting.formatting import labels, number
from medtransfer.reporting.images import embedded
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


def failures_figure(table: Table, data: PackedDataset, *, phantoms: bool) -> tuple[Figure, ...]:
    """Return the images of the failure cases, in the order of their table, for drawn images alone.

    Args:
        table: out of ``failures_table``.
        data: the data set of the diagnosis.
        phantoms: whether its images are drawn.
    """
    if not table.rows or not phantoms:
        return ()
    position = {name: place for place, name in enumerate(data.manifest["image_id"])}
    cells = [[cell.main for cell in row] for row in table.rows]
    images = grey_levels(data.images[[position[row[0]] for row in cells]])
    titles = [f"{row[0]}\n{row[1]}, called {row[2]} ({row[3]})" for row in cells]
    caption = "The listed test images in the order of the table: label, called class and its probability."
    return (Figure("failures", "Failure cases", caption, embedded(panel_png(image_grid(images, titles)), caption)),)

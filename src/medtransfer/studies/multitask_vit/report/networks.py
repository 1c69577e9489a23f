"""The figure that leads: AUROC and error of the score of every network and of the floors below them."""

from medtransfer.evaluation.cells import Cell
from medtransfer.evaluation.predictions import Kind
from medtransfer.evaluation.summary import brief
from medtransfer.reporting.content import Figure
from medtransfer.reporting.drawing import BLUE, GREEN, ORANGE
from medtransfer.reporting.plots import Mark, forest
from medtransfer.studies.multitask_vit.report.floors import floor_cells
from medtransfer.studies.multitask_vit.report.results import Results

PANELS: tuple[tuple[Kind, str, str], ...] = (
    ("probability", "auroc", "Diagnosis: mean AUROC"),
    ("value", "mse", "Severity score 0–6: MSE"),
)
LOOKS = {
    "paper's model": {"color": BLUE, "marker": "o"},
    "variant": {"color": ORANGE, "marker": "s"},
    "floor": {"color": GREEN, "marker": "D"},
}
"""Colour and marker of each series."""


def networks_figure(found: Results) -> Figure:
    """Draw every network and floor on the same test images, a panel each for the diagnosis and the severity."""
    networks = {kind: {cell.variant: cell for cell in found.of(kind)} for kind, *_ in PANELS}
    floors = {kind: floor_cells(found, kind) for kind, *_ in PANELS}
    marks = [
        _mark(title, line, cells[kind][line], metric, found.main)
        for cells, lines in ((networks, [*found.config.variants]), (floors, [*floors["value"] | floors["probability"]]))
        for line in lines
        for kind, metric, title in PANELS
        if line in cells[kind]
    ]
    caption = (
        "Mean over seeds with the 95 % interval over patients and seeds; floors have patients alone. Higher is better "
        "on the left, lower on the right."
    )
    return forest("networks", "Every network and what it has to beat", caption, marks, label="")


def _mark(title: str, line: str, cell: Cell, metric: str, main: str) -> Mark:
    series = "paper's model" if line == main else "variant" if cell.variant == line else "floor"
    return Mark("", title, line, series, LOOKS[series], brief(cell.samples[metric]))

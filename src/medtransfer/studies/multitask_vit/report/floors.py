"""What a network has to beat: floors beside the main network, on the same test images."""

from collections.abc import Mapping

from medtransfer.evaluation.cells import Cell
from medtransfer.evaluation.predictions import Kind
from medtransfer.evaluation.summary import brief
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import MISSING, READING, estimate, labels
from medtransfer.studies.multitask_vit.floors import CONSTANT, FROZEN, THUMBNAILS
from medtransfer.studies.multitask_vit.report.results import Results

COLUMNS: tuple[tuple[Kind, str, str], ...] = (
    ("probability", "auroc", "AUROC"),
    ("value", "mse", "MSE"),
    ("value", "mae", "MAE"),
    ("value", "r2", "R²"),
)


def floors_table(found: Results) -> Table:
    """Return the main network and every floor."""
    rows = [_row(found.main, {kind: found.cell(found.main, kind) for kind, *_ in COLUMNS})]
    for name, title in _titles(found).items():
        cells = {kind: found.floors.get((name, kind)) for kind, *_ in COLUMNS}
        if any(cells.values()):
            rows.append(_row(title, cells))
    intro = (
        "Diagnosis: mean over the classes. Severity: score 0–6, which linear models give as a number and networks as a "
        "count of zones. Linear models are fitted on training images, their penalty on validation images. Their "
        "scores are cut to 0–6, which enlarges no image's error; this was decided after test numbers were known. "
        f"Ready-made features are those of {found.config.floors.frozen or 'no network of these parameters'}. {READING}"
    )
    columns = (*labels("Predictor"), *(Column(title, _group(kind)) for kind, _, title in COLUMNS))
    return Table("floors", "Floors", intro, columns, tuple(rows))


def floor_cells(found: Results, kind: Kind) -> dict[str, Cell]:
    """Return the floors of one kind by title."""
    return {title: found.floors[name, kind] for name, title in _titles(found).items() if (name, kind) in found.floors}


def _titles(found: Results) -> dict[str, str]:
    side = found.config.floors.thumbnail
    return {
        CONSTANT: "mean of the training scores",
        THUMBNAILS: f"linear model of {side} × {side} pixels",
        FROZEN: "linear model of ready-made features",
    }


def _row(title: str, cells: Mapping[Kind, Cell | None]) -> tuple[TableCell, ...]:
    numbers = (
        estimate(brief(cell.samples[metric])) if (cell := cells[kind]) else MISSING for kind, metric, _ in COLUMNS
    )
    return (TableCell(title), *numbers)


def _group(kind: str) -> str:
    return "Diagnosis" if kind == "probability" else "Severity score 0–6"

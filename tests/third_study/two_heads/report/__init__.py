"""The report of the study: both heads of every network on test images."""

from collections.abc import Sequence

from medtransfer.evaluation.cells import Cell, measure
from medtransfer.evaluation.predictions import Kind
from medtransfer.evaluation.summary import Sample, brief
from medtransfer.reporting.content import Column, ReportContent, Table, TableCell
from medtransfer.reporting.formatting import READING, estimate, labels
from medtransfer.reporting.input import ReportInput
from medtransfer.reporting.origin import champions_of, provenance_table, uncommitted
from medtransfer.reporting.records import provenance, recorded_fits
from medtransfer.studies.two_heads.config import TwoHeadsConfig

HEADS: dict[Kind, tuple[str, dict[str, str]]] = {
    "probability": ("Diagnosis", {"macro_auroc": "Mean AUROC", "top_1": "Accuracy"}),
    "severity": ("Severity", {"mae": "Mean absolute error", "pearson": "Correlation"}),
}
"""Kind of score → its head, and the metrics that are shown."""


def build(data: ReportInput[TwoHeadsConfig]) -> ReportContent:
    """Compute everything that the report says."""
    cells = measure(data.predictions, data.evaluation, splits=("test",))
    fits = provenance(recorded_fits(data.folder, data.config.networks))
    return ReportContent(
        title="Two heads: diagnosis and severity by one network",
        about="Each network reads a chest X-ray once; one head names the disease, the other grades six lung zones.",
        **data.parts(),
        headline=(f"{len(data.config.networks)} networks were trained with both heads; the tables say how well.",),
        champions=champions_of(data.champions, fits, lambda variant, condition: {"Network": variant}),
        results=(_heads_table(cells), _zones_table(cells)),
        figures=(),
        provenance=(provenance_table(fits),),
        limits=("A made-up study: it shows that the parts fit together.", *uncommitted(fits)),
    )


def _heads_table(cells: Sequence[Cell]) -> Table:
    by_head = {(cell.variant, cell.kind): cell.samples for cell in cells}
    shown = [(kind, metric) for kind, (_, metrics) in HEADS.items() for metric in metrics]
    rows = (
        (TableCell(variant), *(_number(by_head[variant, kind][metric]) for kind, metric in shown))
        for variant in dict.fromkeys(cell.variant for cell in cells)
    )
    columns = (Column(title, group) for group, metrics in HEADS.values() for title in metrics.values())
    return Table("heads", "Both heads", f"On test images. {READING}", (*labels("Network"), *columns), tuple(rows))


def _zones_table(cells: Sequence[Cell]) -> Table:
    graded = [cell for cell in cells if cell.kind == "severity"]
    rows = ((TableCell(zone), *(_number(cell.by_output[zone]["mae"]) for cell in graded)) for zone in graded[0].outputs)
    columns = (Column(cell.variant, "Mean absolute error") for cell in graded)
    return Table("zones", "Severity by zone", READING, (*labels("Zone"), *columns), tuple(rows))


def _number(one: Sample) -> TableCell:
    return estimate(brief(one))

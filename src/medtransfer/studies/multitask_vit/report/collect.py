"""Tables of the report: what each network reached, at thresholds that were fixed on validation images."""

from collections.abc import Mapping, Sequence

from medtransfer.evaluation.cells import Cell, measure
from medtransfer.evaluation.predictions import Kind
from medtransfer.evaluation.summary import Sample, brief
from medtransfer.reporting.content import Column, ReportContent, Table, TableCell
from medtransfer.reporting.formatting import MISSING, READING, estimate, labels
from medtransfer.reporting.input import ReportInput
from medtransfer.reporting.origin import champions_of, provenance_table, uncommitted
from medtransfer.reporting.records import provenance, recorded_fits
from medtransfer.studies.multitask_vit import study
from medtransfer.studies.multitask_vit.config import MultitaskVitConfig

DIAGNOSIS = {
    "auroc": "AUROC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "accuracy": "Accuracy",
    "ece": "Calibration error",
}
SEVERITY = {"mse": "MSE", "mae": "MAE", "pearson": "CC", "r2": "R²"}
POINT = "The threshold of each class is the highest with a sensitivity of at least 0.80 on validation images."
Numbers = Mapping[tuple[str, Kind], Cell]
"""Cells of the test images by variant and kind."""


def collect(data: ReportInput[MultitaskVitConfig]) -> ReportContent:
    """Compute the content of the report."""
    at_80 = data.evaluation.model_copy(update={"threshold": "sensitivity_80"})
    cells = {(cell.variant, cell.kind): cell for cell in measure(data.predictions, at_80, splits=("test",))}
    variants = tuple(data.config.variants)
    fits = provenance(recorded_fits(data.folder, (*data.config.start, *variants)))
    return ReportContent(
        title="Multi-task ViT: diagnosis and severity from a chest X-ray feature corpus",
        about=f"{study.PAPER}: a backbone that knows common findings, a transformer on its feature map, and two heads.",
        **data.parts(),
        headline=(f"{len(variants)} networks were trained; every number is on test images of the pooled sources.",),
        champions=champions_of(data.champions, fits, lambda variant, condition: {"Network": variant}),
        results=(_diagnosis(cells, variants), _by_class(cells, variants), _score(cells, variants)),
        figures=(),
        provenance=(provenance_table(fits),),
        limits=(*_limits(), *uncommitted(fits)),
    )


def _diagnosis(cells: Numbers, variants: Sequence[str]) -> Table:
    columns = tuple(Column(title, "Mean over the classes") for title in DIAGNOSIS.values())
    rows = tuple(
        (TableCell(variant), *(_number(_samples(cells, variant, "probability"), name) for name in DIAGNOSIS))
        for variant in variants
    )
    return Table("diagnosis", "Diagnosis", f"{POINT} {READING}", (*labels("Network"), *columns), rows)


def _by_class(cells: Numbers, variants: Sequence[str]) -> Table:
    found = [cells[variant, "probability"] for variant in variants if (variant, "probability") in cells]
    classes = found[0].outputs if found else ()
    rows = tuple(
        (TableCell(one.variant), *(estimate(brief(one.by_output[name]["auroc"])) for name in classes)) for one in found
    )
    columns = tuple(Column(name, "AUROC against the others") for name in classes)
    return Table("classes", "Diagnosis by class", READING, (*labels("Network"), *columns), rows)


def _score(cells: Numbers, variants: Sequence[str]) -> Table:
    columns = tuple(Column(title, "Severity score 0–6") for title in SEVERITY.values())
    rows = tuple(
        (TableCell(variant), *(_number(_samples(cells, variant, "value"), name) for name in SEVERITY))
        for variant in variants
    )
    intro = f"The score counts the zones with a severity of at least 0.5. {READING}"
    return Table("severity", "Severity", intro, (*labels("Network"), *columns), rows)


def _samples(cells: Numbers, variant: str, kind: Kind) -> Mapping[str, Sample]:
    return cells[variant, kind].samples if (variant, kind) in cells else {}


def _number(samples: Mapping[str, Sample], name: str) -> TableCell:
    return estimate(brief(samples[name])) if name in samples else MISSING


def _limits() -> tuple[str, ...]:
    return (
        "All sources are pooled: nothing is said about a hospital whose images were not trained on.",
        "The paper's networks for comparison, its tables and its maps are not here yet.",
    )

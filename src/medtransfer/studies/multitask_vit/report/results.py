"""What all parts of the report read: cells of the test images, validation rows, and which variant is the paper's."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from medtransfer.evaluation.cells import Cell, EvaluationConfig, measure
from medtransfer.evaluation.predictions import Kind
from medtransfer.reporting.content import TableCell
from medtransfer.studies.multitask_vit import study
from medtransfer.studies.multitask_vit.config import MultitaskVitConfig
from medtransfer.studies.multitask_vit.floors import FLOOR

NOT_AVAILABLE = TableCell("not available")
METRICS = ("auroc", "sensitivity", "specificity", "accuracy", "ece")


@dataclass(frozen=True, kw_only=True)
class Results:
    """The predictions of a study, measured.

    Attributes:
        config: the study's parameters.
        table: rows of probabilities and scores of validation and test images, of networks trained on all hospitals.
        rotated: rows of scores of networks without a hospital, on images of this hospital.
        evaluation: with the operating point of the paper, sensitivity at least 0.80 on validation rows.
        cells: of the test images by variant and kind.
        floors: the same of predictors that need no network to be trained.
        manifests: of the packed data sets that are there, by name.
    """

    config: MultitaskVitConfig
    table: pd.DataFrame
    rotated: pd.DataFrame
    evaluation: EvaluationConfig
    cells: Mapping[tuple[str, Kind], Cell]
    floors: Mapping[tuple[str, Kind], Cell]
    manifests: Mapping[str, pd.DataFrame]

    @property
    def main(self) -> str:
        """The variant that is the paper's model: both tasks and every part; else the first variant."""
        return self.config.main

    def cell(self, variant: str, kind: Kind) -> Cell | None:
        """Return a variant's cell of one kind; None where it was not predicted."""
        return self.cells.get((variant, kind))

    def of(self, kind: Kind) -> list[Cell]:
        """Return every variant's cell of one kind, in the order of the parameters."""
        return [self.cells[name, kind] for name in self.config.variants if (name, kind) in self.cells]

    def validation(self, cell: Cell, seed: int, output: str) -> pd.DataFrame:
        """Return the validation rows behind a seed and output of a cell."""
        table = self.table
        return table[
            (table["split"] == "val")
            & (table["variant"] == cell.variant)
            & (table["condition"] == cell.condition)
            & (table["dataset"] == cell.dataset)
            & (table["seed"] == seed)
            & (table["output"] == output)
        ]

    def among(self, rows: pd.Series, variant: str = "") -> dict[Kind, Cell]:
        """Measure a variant on some test images, at the thresholds of all validation images.

        Args:
            rows: whether a row of ``table`` counts if it is of a test image.
            variant: its name; the main one when empty.
        """
        variant = variant or self.main
        own = self.table[(self.table["variant"] == variant) & ((self.table["split"] == "val") | rows)]
        return {cell.kind: cell for cell in measure(own, self.evaluation, splits=("test",), metrics=METRICS)}


def results(
    table: pd.DataFrame, config: MultitaskVitConfig, evaluation: EvaluationConfig, manifests: Mapping[str, pd.DataFrame]
) -> Results:
    """Measure a study's predictions; single zones are left out, their sum is the score."""
    at_80 = evaluation.model_copy(update={"threshold": "sensitivity_80"})
    whole = table[(table["intervention"] == "") & (table["kind"] != "severity")]
    own = whole[whole["variant"].isin(config.variants)]
    pooled = own["condition"] == study.POOLED

    def cells(rows: pd.DataFrame) -> dict[tuple[str, Kind], Cell]:
        measured = measure(rows, at_80, splits=("test",), metrics=METRICS) if len(rows) else ()
        return {(cell.variant, cell.kind): cell for cell in measured}

    return Results(
        config=config,
        table=own[pooled],
        rotated=own[~pooled],
        evaluation=at_80,
        cells=cells(own[pooled]),
        floors=cells(whole[whole["condition"] == FLOOR]),
        manifests=manifests,
    )


def one_output(cell: Cell, output: str) -> Cell:
    """Return a cell with one of its outputs and no metrics."""
    index = [cell.outputs.index(output)]
    scores, target = cell.scores[:, :, index], cell.target[:, index]
    return replace(cell, outputs=(output,), scores=scores, target=target, samples={}, by_output={}, thresholds={})


def covid_of(outputs: tuple[str, ...]) -> str:
    """Return the class that the prevalence is about: the one named after COVID-19, else the last."""
    return next((name for name in outputs if "covid" in name.lower()), outputs[-1])

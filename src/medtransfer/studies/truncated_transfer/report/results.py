"""The test results of the study: its cells, on which every table and figure is based."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medtransfer.evaluation.binary import auprc_trapezoid
from medtransfer.evaluation.cells import Cell, EvaluationConfig, Key, Row, estimates
from medtransfer.evaluation.pairs import Pair
from medtransfer.studies.truncated_transfer.claims import METRICS, claims, measure_cells
from medtransfer.studies.truncated_transfer.config import Condition, TruncatedTransferConfig


@dataclass(frozen=True)
class Results:
    """The cells of a study's test images, in the order of its conditions and variants."""

    config: TruncatedTransferConfig
    evaluation: EvaluationConfig
    cells: dict[Key, Cell]

    @property
    def conditions(self) -> list[Condition]:
        """The conditions under which any variant was tested, in the order of the study."""
        tested = {condition for _, condition in self.cells}
        return [condition for condition in self.config.conditions() if condition.name in tested]

    def rows(self) -> list[Row]:
        """Return one row per condition, variant and metric."""
        return estimates(self.cells.values(), METRICS)


def results(predictions: pd.DataFrame, config: TruncatedTransferConfig, evaluation: EvaluationConfig) -> Results:
    """Measure every variant under every condition in a predictions table; errors as in ``claims.measure_cells``."""
    return Results(config, evaluation, measure_cells(predictions, config, evaluation))


def mean_trapezoid(cell: Cell) -> tuple[float, float | None]:
    """Return mean and sd over seeds of AUPRC by the trapezoid; for several outputs, their mean."""
    outputs = []
    for output in cell.two_class:
        target, scores, _ = cell.column(output)
        outputs.append([auprc_trapezoid(target, one, negatives=cell.neg_pos_ratio) for one in scores])
    points = np.mean(outputs, axis=0)
    return float(points.mean()), float(points.std(ddof=1)) if len(points) > 1 else None


def pairs(config: TruncatedTransferConfig, claim: str) -> list[Pair]:
    """Return the pairs of cells whose difference a claim is about: ``a1``, ``b`` or ``b_transfusion``."""
    result: list[Pair] = []
    for one in claims(config):
        if one.key == claim:
            first = [key for key, weight in one.contrast.items() if weight > 0]
            second = [key for key, weight in one.contrast.items() if weight < 0]
            result += zip(first, second, strict=True)
    return result


def by_pair(rows: Iterable[Row]) -> list[tuple[Row, ...]]:
    """Group the rows of each pair of cells, one row per metric."""
    return list(zip(*[iter(rows)] * len(METRICS), strict=True))

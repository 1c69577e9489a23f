"""Networks × chains × data sets, measured once: every table and comparison is arithmetic on these cells."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from medtransfer.errors import DataError
from medtransfer.evaluation.cells import Cell, EvaluationConfig, Key, Row, estimates, measure
from medtransfer.evaluation.pairs import Pair, differences
from medtransfer.reporting.formatting import lookup
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig
from medtransfer.studies.attentive_transfer.report.attention import attention_change

METRICS = ("accuracy", "f1", "auroc")
Grid = dict[str, dict[Key, Cell]]
"""Data set → (network, chain) → cell; the study's own test set first, then the outside sets in order."""


@dataclass(frozen=True)
class Results:
    """The test results of the study.

    Attributes:
        config: its parameters.
        evaluation: how scores become numbers.
        grid: its cells.
        change: effect of switching the inserted layers off (``attention.attention_change``).
    """

    config: AttentiveTransferConfig
    evaluation: EvaluationConfig
    grid: Grid
    change: Mapping[Key, Row]

    @property
    def own(self) -> str:
        """The study's own test set."""
        return next(iter(self.grid))

    @property
    def cells(self) -> dict[Key, Cell]:
        """The cells of the own test set."""
        return self.grid[self.own]

    @property
    def outside(self) -> list[str]:
        """The data sets that are used for testing only."""
        return list(self.grid)[1:]

    @property
    def wanted(self) -> list[Key]:
        """Every network after every chain of its own."""
        return wanted(self.config)

    @cached_property
    def known(self) -> dict[tuple[str, ...], Row]:
        """The estimates by data set, network, chain and metric."""
        cells = [cell for cells in self.grid.values() for cell in cells.values()]
        rows = estimates(cells, METRICS)
        return lookup(rows, "dataset", "variant", "condition", "metric")

    def gains(
        self, pairs: Iterable[Pair], metrics: Sequence[str] = ("auroc",), *, dataset: str = ""
    ) -> dict[tuple[str, ...], Row]:
        """Return first − second for pairs of cells, by network and chain of the first cell, and metric."""
        rows = differences(self.grid[dataset or self.own], pairs, metrics)
        return lookup(rows, "variant", "condition", "metric")


def wanted(config: AttentiveTransferConfig) -> list[Key]:
    """Return every network after every chain of its own."""
    return list(config.compared)


def results(predictions: pd.DataFrame, config: AttentiveTransferConfig, evaluation: EvaluationConfig) -> Results:
    """Measure every cell in the predictions table; thresholds are chosen on validation rows of the same fit.

    Raises:
        DataError: the table is not valid, or its test rows are not those of the own test set and all outside sets.
    """
    rows = predictions[predictions["output"] == config.positive]
    names = (config.finetune.dataset, *config.outside)
    known = rows[rows["target"].notna()]
    unexpected = sorted(set(known.loc[known["split"] == "test", "dataset"]) - set(names))
    if unexpected:
        raise DataError(
            f"predictions table: test rows of data set {', '.join(unexpected)}, expected {', '.join(names)}; name the "
            "others in outside"
        )
    cells = measure(known, evaluation, splits=("test",), metrics=METRICS)
    by_key = {(cell.dataset, *cell.key): cell for cell in cells}
    grid = {n: {key: by_key[n, *key] for key in wanted(config) if (n, *key) in by_key} for n in names}
    empty = next((name for name, cells_of in grid.items() if not cells_of), None)
    if empty is not None:
        raise DataError(f"predictions table: no test row of data set {empty}; predict it or leave it out of outside")
    return Results(config, evaluation, grid, attention_change(rows, config))

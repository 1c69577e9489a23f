"""The balance at which results are estimated: that of the test images, or the one that a regime sets by weighting."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from medtransfer.evaluation.cells import Cell
from medtransfer.reporting.content import Figure, Table
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig


def balance_title(neg_pos_ratio: float) -> str:
    """Return how a balance that is set is written."""
    return f"1 : {neg_pos_ratio:g}, by weighting"


def share_of_positives(cell: Cell) -> float:
    """Return the share of positives that AUPRC sees, of several outputs the mean."""
    if cell.neg_pos_ratio is not None:
        return 1 / (1 + cell.neg_pos_ratio)
    return float(np.mean([cell.column(output)[0].mean() for output in cell.two_class]))


def balance_note(config: TruncatedTransferConfig) -> str:
    """Say at which balance the regimes are estimated that set one for test images; nothing where none does."""
    known = {condition.regime: config.neg_pos_ratio(condition) for condition in config.conditions()}
    titles = [f"{name} at {balance_title(ratio)}" for name, ratio in known.items() if ratio is not None]
    if not titles:
        return ""
    return (
        f"AUPRC of the regime {', of '.join(titles)}: every test image counts, and the two classes are weighted to "
        "this balance, in every resample too. AUROC does not depend on it."
    )


def noted_tables(tables: Iterable[Table], note: str) -> tuple[Table, ...]:
    """Return tables with one more note; an empty one leaves them as they are."""
    return tuple(replace(table, notes=(*table.notes, note)) if note else table for table in tables)


def noted_figures(figures: Iterable[Figure], note: str) -> tuple[Figure, ...]:
    """Return figures whose captions end in a note."""
    return tuple(replace(figure, caption=f"{figure.caption} {note}".strip()) for figure in figures)

"""The class balance at which results are estimated: that of the test images, or one that a regime sets by weights."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from medtransfer.evaluation.cells import Cell
from medtransfer.reporting.content import Figure, Table
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig


def balance_title(neg_pos_ratio: float) -> str:
    """Return how a balance that a regime sets is written."""
    return f"1 : {neg_pos_ratio:g}, by weighting"


def share_of_positives(cell: Cell) -> float:
    """Return the share of positives at which AUPRC is computed; for several outputs, the mean."""
    if cell.neg_pos_ratio is not None:
        return 1 / (1 + cell.neg_pos_ratio)
    return float(np.mean([cell.column(output)[0].mean() for output in cell.two_class]))


def balance_note(config: TruncatedTransferConfig) -> str:
    """State the balance of each regime that sets one for test images; empty if none does."""
    ratios = {condition.regime: config.neg_pos_ratio(condition) for condition in config.conditions()}
    titles = [f"{name} at {balance_title(ratio)}" for name, ratio in ratios.items() if ratio is not None]
    if not titles:
        return ""
    return (
        f"AUPRC of the regime {', of '.join(titles)}: all test images are used, and the two classes are weighted to "
        "this balance, also in every resample. AUROC does not depend on the balance."
    )


def noted_tables(tables: Iterable[Table], note: str) -> tuple[Table, ...]:
    """Return tables with one more note; an empty note is not added."""
    return tuple(replace(table, notes=(*table.notes, note)) if note else table for table in tables)


def noted_figures(figures: Iterable[Figure], note: str) -> tuple[Figure, ...]:
    """Return figures whose captions end in a note."""
    return tuple(replace(figure, caption=f"{figure.caption} {note}".strip()) for figure in figures)

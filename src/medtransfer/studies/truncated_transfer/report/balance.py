"""The balance at which results are estimated: that of the test images, or the one that a regime sets by weighting."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from medtransfer.evaluation.scorecard import Fits
from medtransfer.reporting.content import Figure, Table
from medtransfer.studies.truncated_transfer.claims import measured_outputs
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig


def balance_title(negatives: float) -> str:
    """Return how a balance that is set is written."""
    return f"1 : {negatives:g}, by weighting"


def share_of_positives(fits: Fits, negatives: float | None) -> float:
    """Return the share of positives that AUPRC sees, of several outputs the mean; ``negatives`` to each if set."""
    if negatives is not None:
        return 1 / (1 + negatives)
    return float(np.nanmean(fits.target[:, measured_outputs(fits)], axis=0).mean())


def balance_note(config: TruncatedTransferConfig) -> str:
    """Say at which balance the regimes are estimated that set one for test images; nothing where none does."""
    known = {condition.regime: config.neg_pos_ratio(condition) for condition in config.conditions()}
    titles = [f"{name} at {balance_title(negatives)}" for name, negatives in known.items() if negatives is not None]
    if not titles:
        return ""
    return (
        f"AUPRC of the regime {', of '.join(titles)}: every test image counts, and the two classes weigh so much that "
        "this is their balance, in every resample too. AUROC does not depend on it."
    )


def noted_tables(tables: Iterable[Table], note: str) -> tuple[Table, ...]:
    """Return tables with a note more; an empty one leaves them as they are."""
    return tuple(replace(table, notes=(*table.notes, note)) if note else table for table in tables)


def noted_figures(figures: Iterable[Figure], note: str) -> tuple[Figure, ...]:
    """Return figures whose captions end in a note."""
    return tuple(replace(figure, caption=f"{figure.caption} {note}".strip()) for figure in figures)

"""Formatting of names and numbers in tables and figures."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from medtransfer.evaluation.cells import Cell, Row
from medtransfer.evaluation.summary import NO_IDS, TOO_FEW
from medtransfer.reporting.content import Column, TableCell

METRIC_TITLES = {
    "accuracy": "Accuracy",
    "f1": "F1",
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "macro_auroc": "macro AUROC",
    "macro_auprc": "macro AUPRC",
    "mae": "MAE",
    "mse": "MSE",
}
MISSING = TableCell("—")
REFERENCE = TableCell("0", hover="the reference of the other gains")
NOT_PRINTED = TableCell("n/a", hover="not available: the paper does not print this number")
READING = (
    "Mean ± sd over seeds; below it the 95 % interval over patients and seeds (over patients alone with one seed)."
)
IMAGES_ONLY = "images only"
"""Heads what holds chance in the test images but none in training."""

GLOSSARY = {
    "AUROC": "area under the ROC curve: probability that a positive image scores above a negative one",
    "AUPRC": "area under the precision-recall curve",
    "F1": "harmonic mean of precision and sensitivity for the positive class",
    "DeLong": "paired test of two AUROCs on the same images (DeLong et al. 1988)",
    "Holm": "correction of p-values for the number of tests (Holm 1979)",
    "sd": "standard deviation over seeds",
    "near-duplicate": "two images whose thumbnails agree in local structure after alignment",
}
"""Terms shared by all studies that the page explains on hovering; a study's own terms are in its content."""


def is_missing(value: Any) -> bool:
    """Return whether a number is None or NaN."""
    return value is None or bool(pd.isna(value))


def number(value: Any, *, digits: int = 3) -> str:
    """Return a number with a fixed number of digits, or a dash."""
    return MISSING.main if is_missing(value) else f"{value:.{digits}f}".replace("-", "−")


def signed(value: Any, *, digits: int = 3) -> str:
    """Return a difference with its sign, or a dash; a difference that rounds to zero has no sign."""
    if is_missing(value):
        return MISSING.main
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if float(f"{value:.{digits}f}") else text[1:]


def probability(p: Any) -> str:
    """Return a p-value to three digits, ``< 0.001`` below."""
    return number(p) if is_missing(p) or p >= 0.001 else "< 0.001"


def interval(low: Any, high: Any, *, difference: bool = False, digits: int = 3) -> str:
    """Return an interval, or an empty text if it does not exist."""
    if is_missing(low) or is_missing(high):
        return ""
    write = signed if difference else number
    return f"[{write(low, digits=digits)}, {write(high, digits=digits)}]"


def bounds(row: Any) -> tuple[Any, Any]:
    """Return the interval of a row that tables show: over patients and seeds from two seeds on, else over patients."""
    both = not is_missing(row["low_seeds"])
    return (row["low_seeds"], row["high_seeds"]) if both else (row["low"], row["high"])


def auroc_sentence(rows: Iterable[tuple[str, Row | None]]) -> str:
    """State the AUROC of everything that was run, where there is nothing to compare it with; empty without a value.

    Args:
        rows: what was run, and its row of AUROC.
    """
    values = [f"{title} {cell.main} {cell.detail}".strip() for title, row in rows for cell in [estimate(row)] if row]
    return f"AUROC on the test images: {'; '.join(values)}." if values else ""


def estimate(row: Row | None, *, difference: bool = False) -> TableCell:
    """Return mean ± sd over seeds, with the interval below and both kinds of interval on hovering.

    A dash if there is no row or no mean; why there is no interval is in its place.
    """
    if row is None or is_missing(row["mean"]):
        return MISSING
    low, high, both = row["low"], row["high"], (row["low_seeds"], row["high_seeds"])
    main = signed(row["mean"]) if difference else spread(row["mean"], row["sd"])
    if is_missing(low):
        return TableCell(main, no_interval(row["reason"]), row["reason"] or "")
    hover = f"over patients: {interval(low, high, difference=difference)}"
    if not is_missing(both[0]):
        hover += f"; over patients and seeds: {interval(*both, difference=difference)}"
    return TableCell(main, interval(*bounds(row), difference=difference), hover)


def with_caveat(title: str, caveat: str) -> TableCell:
    """Return a cell with the first words of a caveat, up to a colon, below its title; all of it on hovering."""
    return TableCell(title, caveat.partition(":")[0], caveat)


def no_interval(reason: str | None) -> str:
    """Return what is in the place of an interval that does not exist: that patients are too few or not known."""
    return next((why for why in (TOO_FEW, NO_IDS) if (reason or "").startswith(why)), "")


def image_count(cell: Cell, noun: str = "images") -> str:
    """Return how many images of how many patients a cell has: ``203 images of 69 patients``."""
    count = cell.patient_count
    return f"{len(cell.images)} {noun} " + ("without patient ids" if count is None else f"of {count} patients")


def spread(mean: Any, sd: Any, *, digits: int = 3) -> str:
    """Return ``mean ± sd``, the mean alone if there is no sd, or a dash."""
    return number(mean, digits=digits) + ("" if is_missing(sd) else f" ± {number(sd, digits=digits)}")


def lookup(rows: Iterable[Row], *names: str) -> dict[tuple[Any, ...], Row]:
    """Return rows by their values in these columns."""
    return {tuple(row[name] for name in names): row for row in rows}


def labels(*names: str) -> tuple[Column, ...]:
    """Return columns that hold text."""
    return tuple(Column(name, number=False) for name in names)


def listed(names: Iterable[str]) -> str:
    """Return ``a, b and c``."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last

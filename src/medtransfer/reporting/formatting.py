"""How names and numbers are written in tables and figures."""

from typing import Any

import pandas as pd

from medtransfer.reporting.content import Text

METRIC_TITLES = {"accuracy": "Accuracy", "f1": "F1", "auroc": "AUROC"}
MISSING = Text("—")
REFERENCE = Text("0", hover="what the other gains are taken against")
NOT_PRINTED = Text("n/a", hover="not available: the paper prints no such number")

GLOSSARY = {
    "ATTN": "self-attention layer of Eq. 1, inserted at the end of residual stages",
    "AUROC": "area under the ROC curve: chance that a positive image scores above a negative one",
    "AUPRC": "area under the precision-recall curve",
    "F1": "harmonic mean of precision and sensitivity for the positive class",
    "STL-N": "supervised pretraining on natural images",
    "STL-M": "supervised pretraining on medical images (chest X-rays)",
    "SSTL-M": "self-supervised pretraining on the training CT slices, without labels, by the paper’s method",
    "MoCo": "momentum contrast of whole images (He et al. 2020)",
    "SimCLR": "contrast within a batch (Chen et al. 2020)",
    "LEEP": "how well a source model's own label probabilities predict the target labels (Nguyen et al. 2020)",
    "NCE": "the same of its likeliest label alone: negative conditional entropy (Tran et al. 2019)",
    "LogME": "how well its features predict the target labels: logarithm of maximum evidence (You et al. 2021)",
    "nats": "unit of entropy from natural logarithms; 1 nat = 1.443 bits",
    "Kendall’s τ-b": "share of pairs in the same order minus share in the opposite order, ties allowed for",
    "Spearman’s ρ": "correlation of ranks",
    "Grad-CAM": "where the last map pushes the output up (Selvaraju et al. 2017)",
    "ru": "right upper lobe, of the patient",
    "rm": "right middle lobe, of the patient",
    "rl": "right lower lobe, of the patient",
    "lu": "left upper lobe, of the patient",
    "ll": "left lower lobe, of the patient",
    "TL": "transfer learning: training starts from pretrained weights",
    "RI": "random initialisation: training starts from random weights",
    "transfusion": "pretrained bottom under a slimmer, random top (Raghu et al. 2019)",
    "CKA": "centred kernel alignment: how alike two networks see the same pictures (Kornblith et al. 2019)",
    "Pareto front": "the arms that no other arm beats in both cost and quality",
    "DeLong": "paired test of two AUROCs on the same images (DeLong et al. 1988)",
    "Holm": "correction of p-values for the number of tests (Holm 1979)",
    "sd": "standard deviation over seeds",
    "attention inactive": "switching the ATTN layers off changes no predicted probability by 0.01",
    "near-duplicate": "two pictures whose perceptual hashes nearly agree and whose pixels correlate",
}
"""Terms that the page explains on hovering."""


def is_missing(value: Any) -> bool:
    """Return whether a number is None or NaN."""
    return value is None or bool(pd.isna(value))


def number(value: Any, *, digits: int = 3) -> str:
    """Return a number with fixed digits, or a dash."""
    return MISSING.main if is_missing(value) else f"{value:.{digits}f}".replace("-", "−")


def signed(value: Any, *, digits: int = 3) -> str:
    """Return a difference with its sign, or a dash; what rounds to zero has none."""
    if is_missing(value):
        return MISSING.main
    text = f"{value:+.{digits}f}".replace("-", "−")
    return text if float(f"{value:.{digits}f}") else text[1:]


def probability(p: Any) -> str:
    """Return a p-value to three digits, ``< 0.001`` below."""
    return number(p) if is_missing(p) or p >= 0.001 else "< 0.001"


def interval(low: Any, high: Any, *, difference: bool = False, digits: int = 3) -> str:
    """Return an interval, or nothing where it does not exist."""
    if is_missing(low) or is_missing(high):
        return ""
    write = signed if difference else number
    return f"[{write(low, digits=digits)}, {write(high, digits=digits)}]"


def bounds(row: Any) -> tuple[Any, Any]:
    """Return the interval of a row that a table shows: seeds × patients from two seeds on, else patients."""
    both = not is_missing(row["low_seeds"])
    return (row["low_seeds"], row["high_seeds"]) if both else (row["low"], row["high"])


def estimate(row: Any, *, difference: bool = False) -> Text:
    """Return mean ± sd over seeds, with the interval below and both kinds of interval on hovering."""
    low, high, both = row["low"], row["high"], (row["low_seeds"], row["high_seeds"])
    main = signed(row["mean"]) if difference else number(row["mean"])
    if not difference and not is_missing(row["sd"]):
        main += f" ± {number(row['sd'])}"
    hover = f"drawing patients: {interval(low, high, difference=difference)}"
    if not is_missing(both[0]):
        hover += f"; drawing seeds and patients: {interval(*both, difference=difference)}"
    return Text(main, interval(*bounds(row), difference=difference), hover)

"""Fig. 2: two classifiers that AUROC hardly distinguishes and AUPRC does, computed from their definition.

Ten positives among 1000 images, all within the first 12 ranks (A) or the first 30 (B). The paper says "uniformly" and
prints one pair of values each, which is one draw; this module gives evenly spaced ranks, the mean over all placements
and the worst placement.
"""

import numpy as np

from medtransfer.evaluation.binary import auprc_trapezoid, auroc, average_precision
from medtransfer.evaluation.checks import Floats
from medtransfer.reporting.content import Column, Figure, Table, TableCell
from medtransfer.reporting.drawing import BLUE, ORANGE
from medtransfer.reporting.formatting import MISSING, NOT_PRINTED, labels, number
from medtransfer.reporting.plots import Curve, operating_curves
from medtransfer.studies.truncated_transfer.paper.values import paper_values

CLASSIFIERS = {"CA": "A", "CB": "B"}


def evenly_spaced(positives: int, top: int) -> list[int]:
    """Return the ranks 1 … top of evenly spaced positives, rounded to whole numbers."""
    return [int(rank) for rank in np.round(np.linspace(1, top, positives))]


def by_ranks(ranks: list[int], total: int) -> tuple[Floats, Floats]:
    """Return targets and scores ``[total]`` of a strict order whose positives have these ranks; 1 is the highest."""
    target = np.zeros(total)
    target[np.array(ranks) - 1] = 1
    return target, np.arange(total, 0, -1.0) / total


def mean_over_placements(positives: int, negatives: int, top: int) -> tuple[float, float]:
    """Return the mean AUROC and average precision over all placements of the positives within the first ranks.

    With ``H`` the harmonic number of ``top`` and ``q = (positives − 1) / (top − 1)``: the precision at a positive of
    rank k is on average ``(1 + (k − 1) q) / k``, so AP averages ``(H (1 − q) + top · q) / top``; on average, half of
    the ``top − positives`` negatives in the first ranks rank before a positive.
    """
    q = (positives - 1) / (top - 1)
    harmonic = sum(1 / rank for rank in range(1, top + 1))
    return 1 - (top - positives) / 2 / negatives, (harmonic * (1 - q) + top * q) / top


def example() -> dict[str, dict[str, tuple[float, float, float | None]]]:
    """Return AUROC, average precision and trapezoid (None: no closed form) by classifier and placement."""
    facts = _facts()
    positives, negatives = int(facts["positives"]), int(facts["negatives"])
    areas: dict[str, dict[str, tuple[float, float, float | None]]] = {}
    for name in CLASSIFIERS:
        top = int(facts[f"{name}_top"])
        worst = list(range(top - positives + 1, top + 1))
        areas[name] = {
            "evenly spaced ranks": _areas(evenly_spaced(positives, top), positives + negatives),
            "mean over all placements": (*mean_over_placements(positives, negatives, top), None),
            "worst placement": _areas(worst, positives + negatives),
        }
    return areas


def example_table() -> Table:
    """Return the example, with the paper's pair on top."""
    facts, rows = _facts(), []
    for name, placements in example().items():
        label = TableCell(f"{CLASSIFIERS[name]}: 10 positives in the first {facts[f'{name}_top']:.0f} of 1000")
        paper = [TableCell(number(facts[f"{name}_{metric}"])) for metric in ("auroc", "auprc")]
        rows.append((label, TableCell("the paper, one draw"), *paper, NOT_PRINTED))
        rows += [
            (label, TableCell(how), *(MISSING if value is None else TableCell(number(value)) for value in areas))
            for how, areas in placements.items()
        ]
    return Table(
        "example",
        "What AUROC does not show (Fig. 2)",
        "Both classifiers have every positive among the first 30 of 1000 images; one of them has twice as many false "
        "alarms as hits there. Computed from this definition.",
        (*labels("Classifier", "Positives"), *map(Column, ("AUROC", "average precision", "trapezoid"))),
        tuple(rows),
        (
            "No mean gives the paper’s pairs: 0.999 and 0.990 belong to the single order with ranks 1 to 9 and 11, "
            "truncated to three digits.",
        ),
    )


def example_figure() -> Figure:
    """Draw ROC and precision–recall curves of both classifiers with evenly spaced positives (Fig. 2)."""
    facts = _facts()
    positives = int(facts["positives"])
    total = positives + int(facts["negatives"])
    styles = ({"color": BLUE, "linestyle": "-"}, {"color": ORANGE, "linestyle": "--"})
    curves = [
        Curve(f"classifier {title}", *by_ranks(evenly_spaced(positives, int(facts[f"{name}_top"])), total), style)
        for (name, title), style in zip(CLASSIFIERS.items(), styles, strict=True)
    ]
    caption = "Ten positives among 1000 images, evenly spaced over the first 12 (A) or 30 (B) ranks; dotted: chance."
    return operating_curves("figure2", "Fig. 2 · Two classifiers that AUROC hardly distinguishes", caption, curves)


def _areas(ranks: list[int], total: int) -> tuple[float, float, float]:
    target, score = by_ranks(ranks, total)
    return auroc(target, score), average_precision(target, score), auprc_trapezoid(target, score)


def _facts() -> dict[str, float]:
    rows = paper_values().query("group == 'example'")
    return dict(zip(rows["item"], rows["value"].astype(float), strict=True))

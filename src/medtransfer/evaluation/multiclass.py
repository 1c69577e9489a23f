"""Metrics of class scores ``[rows, classes]`` against class numbers ``[rows]``; macro averages are one-vs-rest."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.evaluation.binary import BINS, auroc, average_precision, calibration_bin
from medtransfer.evaluation.checks import Bools, Floats, Ints, class_rows, undefined


def macro_auroc(target: ArrayLike, score: ArrayLike) -> float:
    """Mean over classes of the one-vs-rest AUROC; NaN when a class has no row."""
    return _one_vs_rest("macro auroc", auroc, target, score)


def macro_auprc(target: ArrayLike, score: ArrayLike) -> float:
    """Mean over classes of the one-vs-rest average precision; NaN when a class has no row."""
    return _one_vs_rest("macro auprc", average_precision, target, score)


def macro_f1(target: ArrayLike, score: ArrayLike) -> float:
    """Mean over classes of the F1 of the winning class; NaN when a class neither occurs nor wins."""
    truth, scores = class_rows(target, score)
    hits, total = f1_parts(truth, scores)
    below = total.sum(0)
    if (below == 0).any():
        return undefined("macro f1", f"class {int(np.argmin(below))} has no row and is never predicted")
    return float(np.mean(hits.sum(0) / below))


def top_k_accuracy(target: ArrayLike, score: ArrayLike, *, k: int = 1) -> float:
    """Share of the rows whose class is among the ``k`` highest scores; the earlier class wins a tie."""
    truth, scores = class_rows(target, score)
    return float(among_top(truth, scores, k).mean()) if truth.size else undefined("accuracy", "there is no row")


def top_5_accuracy(target: ArrayLike, score: ArrayLike) -> float:
    """Top-k accuracy with k = 5."""
    return top_k_accuracy(target, score, k=5)


def squared_error(target: ArrayLike, score: ArrayLike) -> float:
    """Mean over rows and classes of the squared difference between probability and one-hot label."""
    truth, scores = class_rows(target, score)
    return float(np.mean(row_errors(truth, scores))) if truth.size else undefined("mse", "there is no row")


def confidence_calibration_error(target: ArrayLike, score: ArrayLike, *, bins: int = BINS) -> float:
    """Mean gap between the winner's probability and its accuracy over equal bins (Guo et al. 2017, Eq. 3)."""
    truth, scores = class_rows(target, score)
    if not truth.size:
        return undefined("calibration error", "there is no row")
    gap = among_top(truth, scores, 1) - scores.max(1)
    return float(np.abs(np.bincount(calibration_bin(scores.max(1), bins), weights=gap)).sum()) / truth.size


def f1_parts(target: Ints, score: Floats) -> tuple[Floats, Floats]:
    """Return each row's share of 2 TP and of 2 TP + FP + FN of every class, both ``[rows, classes]``."""
    classes = np.arange(score.shape[1])
    true, won = target[:, None] == classes, score.argmax(1)[:, None] == classes
    return 2.0 * (true & won), true.astype(np.float64) + won


def row_errors(target: Ints, score: Floats) -> Floats:
    """Return each row's squared error against the one-hot label, averaged over classes, ``[rows]``."""
    error: Floats = ((score - np.eye(score.shape[1])[target]) ** 2).mean(1)
    return error


def among_top(target: Ints, score: Floats, k: int) -> Bools:
    """Tell for each row whether fewer than ``k`` classes stand before the true one."""
    own = np.take_along_axis(score, target[:, None], 1)
    earlier = np.arange(score.shape[1]) < target[:, None]
    before: Bools = ((score > own) | ((score == own) & earlier)).sum(1) < k
    return before


def _one_vs_rest(name: str, metric: Callable[[Bools, Floats], float], target: ArrayLike, score: ArrayLike) -> float:
    truth, scores = class_rows(target, score)
    present = np.bincount(truth, minlength=scores.shape[1])
    if not truth.size or (present == 0).any():
        return undefined(name, f"class {int(np.argmin(present))} has no row")
    if (present == truth.size).any():
        return undefined(name, "all rows are of one class")
    return float(np.mean([metric(truth == c, scores[:, c]) for c in range(scores.shape[1])]))

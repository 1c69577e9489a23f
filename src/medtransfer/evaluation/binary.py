"""Metrics of one probability against a two-class label, over full arrays.

Every function takes ``target [rows]`` of 0 and 1 and ``score [rows]``, larger for the positive class, and returns NaN
with an ``UndefinedMetricWarning`` where the quantity does not exist. Rows with equal scores enter every curve together,
so the order of the rows never matters.
"""

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.evaluation.checks import Bools, Floats, Ints, binary_rows, undefined

BINS = 15


def operating_points(target: ArrayLike, score: ArrayLike) -> tuple[Floats, Ints, Ints]:
    """Return every distinct score in falling order with the true and false positives of ``score >= it``.

    Returns:
        thresholds, true positives, false positives; each ``[distinct scores]``.
    """
    truth, scores = binary_rows(target, score)
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(truth[order], dtype=np.int64)
    ends = tie_ends(scores)
    return scores[ends], hits[ends], ends + 1 - hits[ends]


def tie_ends(ordered: Floats) -> Ints:
    """Return the last position of every run of equal values in an ordered vector."""
    if not ordered.size:
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)).astype(np.int64)


def auroc(target: ArrayLike, score: ArrayLike) -> float:
    """Area under the ROC curve: the share of (positive, negative) pairs in the right order, ties counting one half."""
    _, hits, alarms = operating_points(target, score)
    reason = _one_class(hits, alarms)
    if reason:
        return undefined("auroc", reason)
    width, height = np.diff(alarms, prepend=0), hits + np.append(0, hits[:-1])
    return float(width @ height) / (2.0 * float(hits[-1]) * float(alarms[-1]))


def average_precision(target: ArrayLike, score: ArrayLike) -> float:
    """Area under the precision-recall steps: precision at every threshold weighted by the recall gained there."""
    _, hits, alarms = operating_points(target, score)
    if not hits.size or not hits[-1]:
        return undefined("average precision", "there is no positive row")
    return float(np.diff(hits, prepend=0) @ (hits / (hits + alarms))) / float(hits[-1])


def auprc_trapezoid(target: ArrayLike, score: ArrayLike, *, negatives: float | None = None) -> float:
    """Area under the straight-line precision-recall curve from (recall 0, precision 1), as in Peng et al. 2021.

    Straight lines between the points are too optimistic where scores tie; prefer :func:`average_precision`. With
    ``negatives`` precision is that at so many negatives to one positive, by weighting; then both classes need a row.
    """
    _, hits, alarms = operating_points(target, score)
    if not hits.size or not hits[-1]:
        return undefined("auprc", "there is no positive row")
    if negatives is not None and not alarms[-1]:
        return undefined("auprc", "there is no negative row")
    precision = hits / (hits + alarms * (1.0 if negatives is None else negatives * hits[-1] / alarms[-1]))
    height = precision + np.append(1.0, precision[:-1])
    return float(np.diff(hits, prepend=0) @ height) / (2.0 * float(hits[-1]))


def confusion(target: ArrayLike, score: ArrayLike, *, threshold: float = 0.5) -> tuple[int, int, int, int]:
    """Return true positives, false positives, false negatives and true negatives of ``score >= threshold``."""
    truth, scores = binary_rows(target, score)
    called: Bools = scores >= threshold
    hits, alarms = int((called & truth).sum()), int((called & ~truth).sum())
    return hits, alarms, int(truth.sum()) - hits, int((~truth).sum()) - alarms


def sensitivity(target: ArrayLike, score: ArrayLike, *, threshold: float = 0.5) -> float:
    """Share of the positive rows with ``score >= threshold``."""
    tp, _, fn, _ = confusion(target, score, threshold=threshold)
    return tp / (tp + fn) if tp + fn else undefined("sensitivity", "there is no positive row")


def specificity(target: ArrayLike, score: ArrayLike, *, threshold: float = 0.5) -> float:
    """Share of the negative rows with ``score < threshold``."""
    _, fp, _, tn = confusion(target, score, threshold=threshold)
    return tn / (tn + fp) if tn + fp else undefined("specificity", "there is no negative row")


def accuracy(target: ArrayLike, score: ArrayLike, *, threshold: float = 0.5) -> float:
    """Share of the rows on the right side of the threshold."""
    tp, fp, fn, tn = confusion(target, score, threshold=threshold)
    return (tp + tn) / (tp + fp + fn + tn) if tp + fp + fn + tn else undefined("accuracy", "there is no row")


def f1(target: ArrayLike, score: ArrayLike, *, threshold: float = 0.5) -> float:
    """F1 of the positive class, ``2 TP / (2 TP + FP + FN)``; 0 when every positive is missed."""
    tp, fp, fn, _ = confusion(target, score, threshold=threshold)
    return 2 * tp / (2 * tp + fp + fn) if tp + fp + fn else undefined("f1", "no row is positive or called positive")


def f1_negative(target: ArrayLike, score: ArrayLike, *, threshold: float = 0.5) -> float:
    """F1 of the negative class, ``2 TN / (2 TN + FN + FP)``."""
    _, fp, fn, tn = confusion(target, score, threshold=threshold)
    return 2 * tn / (2 * tn + fp + fn) if tn + fp + fn else undefined("f1", "no row is negative or called negative")


def brier(target: ArrayLike, score: ArrayLike) -> float:
    """Mean squared difference between probability and label (Brier 1950, one class)."""
    truth, scores = binary_rows(target, score)
    return float(np.mean((scores - truth) ** 2)) if truth.size else undefined("brier score", "there is no row")


def expected_calibration_error(target: ArrayLike, score: ArrayLike, *, bins: int = BINS) -> float:
    """Mean gap between the probability of the positive class and its frequency over ``bins`` equal bins of (0, 1].

    Guo et al. 2017, Eq. 3, with the positive class's probability in place of the winner's; a bin weighs as many rows
    as it holds.
    """
    truth, scores = binary_rows(target, score)
    if not truth.size:
        return undefined("calibration error", "there is no row")
    gaps = np.bincount(calibration_bin(scores, bins), weights=truth - scores, minlength=bins)
    return float(np.abs(gaps).sum()) / truth.size


def calibration_bin(score: Floats, bins: int = BINS) -> Ints:
    """Return the bin 0 … bins − 1 of each probability; bins are closed on the right, 0 falls into the first."""
    index: Ints = np.clip(np.ceil(score * bins) - 1, 0, bins - 1).astype(np.int64)
    return index


def _one_class(hits: Ints, alarms: Ints) -> str:
    if not hits.size:
        return "there is no row"
    if not hits[-1]:
        return "there is no positive row"
    return "" if alarms[-1] else "there is no negative row"

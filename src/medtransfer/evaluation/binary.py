"""Metrics of one probability against a two-class label; a score is larger for the positive class.

Rows with equal scores enter every curve together, so the order of the rows never matters.
"""

import sys

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.evaluation.checks import Bools, Floats, Ints, binary_rows
from medtransfer.evaluation.weighted import (
    Rows,
    Weighted,
    Weights,
    divide,
    mean,
    metric,
    missing_class,
    ratio,
    running,
)

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


@metric("auroc", binary_rows, lambda rows: missing_class(rows.target))
def auroc(rows: Rows) -> Weighted:
    """Area under the ROC curve: the share of (positive, negative) pairs in the right order, ties counting one half."""
    positive, negative = _by_class(rows, np.argsort(rows.score, kind="stable"))
    below, upto = (np.searchsorted(rows.score[negative], rows.score[positive], side) for side in ("left", "right"))

    def weighted(weights: Weights) -> Floats:
        alarms, weight = running(weights.of(negative)), weights.of(positive)
        pairs = np.einsum("ij,ij->j", weight, alarms[below] + alarms[upto])
        return divide(pairs, 2 * weight.sum(0) * alarms[-1])

    return weighted


@metric("average precision", binary_rows, "there is no positive row")
def average_precision(rows: Rows) -> Weighted:
    """Area under the precision-recall steps: the mean over positives of precision among rows that score as much."""
    positive, negative = _by_class(rows, np.argsort(-rows.score, kind="stable"))
    hits_upto, alarms_upto = (
        np.searchsorted(-rows.score[of], -rows.score[positive], "right") for of in (positive, negative)
    )

    def weighted(weights: Weights) -> Floats:
        weight = weights.of(positive)
        total, alarms = running(weight), running(weights.of(negative))
        hits = total[hits_upto]
        # a positive that was not drawn may rank before every drawn row: it weighs 0, so any denominator will do
        precision = hits / np.maximum(hits + alarms[alarms_upto], sys.float_info.min)
        return divide(np.einsum("ij,ij->j", weight, precision), total[-1])

    return weighted


@metric("auprc", binary_rows, "there is no positive row")
def auprc_trapezoid(rows: Rows) -> Weighted:
    """Area under the straight-line precision-recall curve from (recall 0, precision 1), as in Peng et al. 2021.

    Straight lines between the points are too optimistic where scores are tied; prefer :func:`average_precision`.
    """
    order = np.argsort(-rows.score, kind="stable")
    truth, ends = rows.target[order, None], np.append(0, tie_ends(rows.score[order]) + 1)

    def weighted(weights: Weights) -> Floats:
        weight = weights.of(order)
        hits, called = running(weight * truth)[ends], running(weight)[ends]
        precision = np.where(called == 0, 1.0, hits / np.maximum(called, sys.float_info.min))
        area = np.einsum("ij,ij->j", np.diff(hits, axis=0), precision[1:] + precision[:-1])
        return divide(area, 2 * hits[-1])

    return weighted


@metric("sensitivity", binary_rows, "there is no positive row")
def sensitivity(rows: Rows) -> Weighted:
    """Share of the positive rows with ``score >= threshold``."""
    return ratio(rows.called & rows.target, rows.target)


@metric("specificity", binary_rows, "there is no negative row")
def specificity(rows: Rows) -> Weighted:
    """Share of the negative rows with ``score < threshold``."""
    return ratio(~rows.called & ~rows.target, ~rows.target)


@metric("accuracy", binary_rows, "there is no row")
def accuracy(rows: Rows) -> Weighted:
    """Share of the rows on the right side of the threshold."""
    return mean(rows.called == rows.target)


@metric("f1", binary_rows, "no row is positive or called positive")
def f1(rows: Rows) -> Weighted:
    """F1 of the positive class, ``2 TP / (2 TP + FP + FN)``; 0 when every positive is missed."""
    return f1_of(rows.called, rows.target)


@metric("f1", binary_rows, "no row is negative or called negative")
def f1_negative(rows: Rows) -> Weighted:
    """F1 of the negative class, ``2 TN / (2 TN + FN + FP)``."""
    return f1_of(~rows.called, ~rows.target)


@metric("brier score", binary_rows, "there is no row")
def brier(rows: Rows) -> Weighted:
    """Mean squared difference between probability and label (Brier 1950, one class)."""
    return mean((rows.score - rows.target) ** 2)


@metric("calibration error", binary_rows, "there is no row")
def expected_calibration_error(rows: Rows) -> Weighted:
    """Mean gap between the probability of the positive class and its frequency over 15 equal bins of (0, 1].

    Guo et al. 2017, Eq. 3, with the probability of the positive class instead of the predicted class; every bin is
    weighted by its number of rows.
    """
    return binned_gap(rows.score, rows.target - rows.score)


def f1_of(called: Bools, target: Bools) -> Weighted:
    """Return 2 TP over the rows called plus the rows true, which is 2 TP + FP + FN."""
    return ratio(np.where(called & target, 2.0, 0.0), np.add(called, target, dtype=np.float64))


def binned_gap(score: Floats, gap: Floats) -> Weighted:
    """Return the mean over rows of the absolute ``gap`` of their bins; bins are closed on the right, 0 is in the first.

    Args:
        score: probability ``[rows]`` that chooses the bin.
        gap: ``[rows]``; every bin takes the mean of its rows.
    """
    bins = np.clip(np.ceil(score * BINS) - 1, 0, BINS - 1)
    columns = [np.where(bins == index, gap, 0.0) for index in range(BINS)]

    def weighted(weights: Weights) -> Floats:
        *gaps, total = weights.sums(*columns, np.ones(len(gap)))
        return divide(np.abs(gaps).sum(0), total)

    return weighted


def _by_class(rows: Rows, order: Ints) -> tuple[Ints, Ints]:
    """Return the positive and the negative rows, both in the given order."""
    return order[rows.target[order]], order[~rows.target[order]]

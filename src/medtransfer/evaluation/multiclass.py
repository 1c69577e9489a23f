"""Metrics of class scores ``[rows, classes]`` against class numbers ``[rows]``; macro averages are one-vs-rest."""

import numpy as np

from medtransfer.evaluation.binary import auroc, average_precision, binned_gap, f1_of
from medtransfer.evaluation.checks import Bools, class_rows
from medtransfer.evaluation.weighted import Metric, Rows, Weighted, mean, metric


def _absent(rows: Rows) -> str:
    return f"class {int(np.argmin(np.bincount(rows.target, minlength=rows.score.shape[1])))} has no row"


def _absent_everywhere(rows: Rows) -> str:
    both = np.append(rows.target, rows.score.argmax(1))
    return f"class {int(np.argmin(np.bincount(both, minlength=rows.score.shape[1])))} has no row and is never predicted"


@metric("macro auroc", class_rows, _absent)
def macro_auroc(rows: Rows) -> Weighted:
    """Mean over classes of the one-vs-rest AUROC; NaN when a class has no row."""
    return _one_vs_rest(auroc, rows)


@metric("macro auprc", class_rows, _absent)
def macro_auprc(rows: Rows) -> Weighted:
    """Mean over classes of the one-vs-rest average precision; NaN when a class has no row."""
    return _one_vs_rest(average_precision, rows)


@metric("macro f1", class_rows, _absent_everywhere)
def macro_f1(rows: Rows) -> Weighted:
    """Mean over classes of the F1 of the predicted class; NaN when a class neither occurs nor is predicted."""
    classes = range(rows.score.shape[1])
    predicted = rows.score.argmax(1)
    return _mean_over_classes([f1_of(predicted == c, rows.target == c) for c in classes])


@metric("accuracy", class_rows, "there is no row")
def top_1_accuracy(rows: Rows) -> Weighted:
    """Share of the rows whose class has the highest score; the earlier class wins a tie."""
    return mean(_among_top(rows, 1))


@metric("accuracy", class_rows, "there is no row")
def top_5_accuracy(rows: Rows) -> Weighted:
    """Share of the rows whose class is among the five highest scores; the earlier class wins a tie."""
    return mean(_among_top(rows, 5))


@metric("mse", class_rows, "there is no row")
def squared_error(rows: Rows) -> Weighted:
    """Mean over rows and classes of the squared difference between probability and one-hot label."""
    return mean(((rows.score - np.eye(rows.score.shape[1])[rows.target]) ** 2).mean(1))


@metric("calibration error", class_rows, "there is no row")
def confidence_calibration_error(rows: Rows) -> Weighted:
    """Mean gap between the predicted class's probability and accuracy over 15 equal bins (Guo et al. 2017, Eq. 3)."""
    confidence = rows.score.max(1)
    return binned_gap(confidence, _among_top(rows, 1) - confidence)


def _among_top(rows: Rows, k: int) -> Bools:
    """Return for each row whether fewer than ``k`` classes rank before the true one."""
    own = np.take_along_axis(rows.score, rows.target[:, None], 1)
    earlier = np.arange(rows.score.shape[1]) < rows.target[:, None]
    top: Bools = ((rows.score > own) | ((rows.score == own) & earlier)).sum(1) < k
    return top


def _one_vs_rest(of: Metric, rows: Rows) -> Weighted:
    classes = range(rows.score.shape[1])
    return _mean_over_classes([of.weighted(Rows(rows.target == c, rows.score[:, c])) for c in classes])


def _mean_over_classes(parts: list[Weighted]) -> Weighted:
    return lambda weights: np.mean([part(weights) for part in parts], axis=0)

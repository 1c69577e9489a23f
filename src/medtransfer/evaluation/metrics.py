"""Every metric by name, and the metrics of values (severity scores); a new metric is a function and a line here."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.evaluation.binary import (
    accuracy,
    auprc_trapezoid,
    auroc,
    average_precision,
    brier,
    confusion,
    expected_calibration_error,
    f1,
    f1_negative,
    operating_points,
    sensitivity,
    specificity,
)
from medtransfer.evaluation.checks import UndefinedMetricWarning, undefined, value_rows
from medtransfer.evaluation.multiclass import (
    confidence_calibration_error,
    macro_auprc,
    macro_auroc,
    macro_f1,
    squared_error,
    top_5_accuracy,
    top_k_accuracy,
)

__all__ = [
    "HIGHER_IS_BETTER",
    "METRICS",
    "UndefinedMetricWarning",
    "accuracy",
    "auprc_trapezoid",
    "auroc",
    "average_precision",
    "brier",
    "confidence_calibration_error",
    "confusion",
    "expected_calibration_error",
    "f1",
    "f1_negative",
    "macro_auprc",
    "macro_auroc",
    "macro_f1",
    "mean_absolute_error",
    "mean_squared_error",
    "operating_points",
    "pearson",
    "r_squared",
    "sensitivity",
    "specificity",
    "squared_error",
    "top_5_accuracy",
    "top_k_accuracy",
]


def mean_squared_error(target: ArrayLike, score: ArrayLike) -> float:
    """Mean squared difference, in squared units of the target."""
    truth, value = value_rows(target, score)
    return float(np.mean((value - truth) ** 2)) if truth.size else undefined("mse", "there is no row")


def mean_absolute_error(target: ArrayLike, score: ArrayLike) -> float:
    """Mean absolute difference, in units of the target."""
    truth, value = value_rows(target, score)
    return float(np.mean(np.abs(value - truth))) if truth.size else undefined("mae", "there is no row")


def pearson(target: ArrayLike, score: ArrayLike) -> float:
    """Pearson correlation of target and prediction."""
    truth, value = value_rows(target, score)
    if truth.size < 2 or np.ptp(truth) == 0 or np.ptp(value) == 0:
        return undefined("correlation", "target or prediction has no spread")
    x, y = truth - truth.mean(), value - value.mean()
    return float(x @ y / np.sqrt((x @ x) * (y @ y)))


def r_squared(target: ArrayLike, score: ArrayLike) -> float:
    """Coefficient of determination ``1 − SSE / SST``; negative when the mean would have predicted better."""
    truth, value = value_rows(target, score)
    if truth.size < 2 or np.ptp(truth) == 0:
        return undefined("r squared", "the target has no spread")
    return float(1 - np.sum((truth - value) ** 2) / np.sum((truth - truth.mean()) ** 2))


METRICS: dict[str, Callable[..., float]] = {
    "auroc": auroc,
    "auprc": average_precision,
    "auprc_trapezoid": auprc_trapezoid,
    "f1": f1,
    "f1_negative": f1_negative,
    "accuracy": accuracy,
    "sensitivity": sensitivity,
    "specificity": specificity,
    "brier": brier,
    "ece": expected_calibration_error,
    "mse": mean_squared_error,
    "mae": mean_absolute_error,
    "pearson": pearson,
    "r2": r_squared,
    "macro_auroc": macro_auroc,
    "macro_auprc": macro_auprc,
    "macro_f1": macro_f1,
    "top_1": top_k_accuracy,
    "top_5": top_5_accuracy,
    "macro_ece": confidence_calibration_error,
    "macro_mse": squared_error,
}
"""Name → function of (target, score); the names are those of tables, trackers and ``selection``."""

HIGHER_IS_BETTER: dict[str, bool] = {
    name: name not in {"brier", "ece", "mse", "mae", "macro_ece", "macro_mse"} for name in METRICS
}

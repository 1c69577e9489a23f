"""Checks of every metric's input, and how a metric reports that it has no value."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtransfer.errors import DataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class UndefinedMetricWarning(RuntimeWarning):
    """A metric has no value on these rows (one class, no row, no spread); it is NaN and the message says why."""


def undefined(name: str, reason: str) -> float:
    """Warn that ``name`` has no value because of ``reason`` and return NaN."""
    warnings.warn(f"{name} is undefined: {reason}", UndefinedMetricWarning, stacklevel=3)
    return math.nan


def attempt(metric: Callable[..., float], *arguments: Any, **options: Any) -> tuple[float, str]:
    """Return the value of a metric and an empty reason, or NaN and the reason why it has none, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UndefinedMetricWarning)
        try:
            return metric(*arguments, **options), ""
        except UndefinedMetricWarning as reason:
            return math.nan, str(reason)


def binary_rows(target: ArrayLike, score: ArrayLike) -> tuple[Bools, Floats]:
    """Return targets ``[rows]`` as booleans and scores ``[rows]`` as float64.

    Raises:
        DataError: the shapes differ, a target is not 0 or 1, or a score is not finite.
    """
    truth, scores = value_rows(target, score)
    wrong = np.flatnonzero((truth != 0) & (truth != 1))
    if wrong.size:
        raise DataError(
            f"target at row {wrong[0]} is {truth[wrong[0]]:g}: a two-class metric expects 0 or 1; "
            "leave out rows whose label is not known"
        )
    return truth == 1, scores


def value_rows(target: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    """Return targets and scores ``[rows]`` as finite float64.

    Raises:
        DataError: the shapes differ or a number is not finite.
    """
    truth, scores = np.asarray(target, np.float64), np.asarray(score, np.float64)
    if truth.ndim != 1 or truth.shape != scores.shape:
        raise DataError(
            f"target has shape {truth.shape} and score {scores.shape}: expected two vectors of one length; "
            "pass one score per row"
        )
    _finite("target", truth)
    _finite("score", scores)
    return truth, scores


def class_rows(target: ArrayLike, score: ArrayLike) -> tuple[Ints, Floats]:
    """Return class numbers ``[rows]`` as int64 and class scores ``[rows, classes]`` as float64.

    Raises:
        DataError: the shapes do not fit, a target is not a class number, or a score is not finite.
    """
    truth, scores = np.asarray(target, np.float64), np.asarray(score, np.float64)
    if scores.ndim != 2 or truth.shape != scores.shape[:1] or scores.shape[1] < 2:
        raise DataError(
            f"target has shape {truth.shape} and score {scores.shape}: expected [rows] and [rows, classes] "
            "with at least two classes; pass one column per class"
        )
    wrong = np.flatnonzero(~np.isin(truth, np.arange(scores.shape[1])))
    if wrong.size:
        raise DataError(
            f"target at row {wrong[0]} is {truth[wrong[0]]:g}: expected a class number from 0 to "
            f"{scores.shape[1] - 1}; leave out rows whose class is not known"
        )
    _finite("score", scores)
    return truth.astype(np.int64), scores


def _finite(name: str, values: Floats) -> None:
    wrong = np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(1)) if values.size else values
    if wrong.size:
        raise DataError(f"{name} at row {int(wrong[0])} is not finite: expected numbers; leave out rows without one")

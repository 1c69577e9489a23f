"""A metric is written once, for weighted rows, and is then computed for many bootstrap draws at once.

Rows are sorted and compared once for all draws. The plain metric is the same function with weights of one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtransfer.evaluation.checks import Bools, Floats, Ints, binary_rows, undefined


@dataclass(frozen=True)
class Weights:
    """Weights of rows in several draws: a row has the weight of its group, ``counts`` ``[groups, draws]``.

    ``group`` ``[rows]`` is the group of each row. Counts are at least 0, whole numbers or not.
    """

    counts: Floats
    group: Ints

    def of(self, rows: Ints) -> Floats:
        """Return the weights of some rows, ``[rows, draws]``."""
        return self.counts[self.group[rows]]

    def sums(self, *columns: Floats | Bools) -> Floats:
        """Return the weighted sum of every column of rows in every draw, ``[columns, draws]``, from group sums."""
        by_group = [np.bincount(self.group, weights=column, minlength=len(self.counts)) for column in columns]
        total: Floats = np.stack(by_group) @ self.counts
        return total


Weighted = Callable[[Weights], Floats]
"""Maps weights to the metric of every draw ``[draws]``, NaN where a draw leaves it undefined."""


@dataclass(frozen=True)
class Rows:
    """Checked rows of one prediction.

    ``target`` ``[rows]`` holds booleans, class numbers or values; ``score`` is ``[rows]`` or ``[rows, classes]``.
    """

    target: NDArray[Any]
    score: Floats
    threshold: float = 0.5

    @property
    def called(self) -> Bools:
        """The rows that are called positive."""
        return self.score >= self.threshold


class Metric:
    """A metric: its name in warnings, a check of its input, its weighted form, and why it may have no value."""

    def __init__(
        self,
        name: str,
        check: Callable[[ArrayLike, ArrayLike], tuple[Any, Floats]],
        reason: str | Callable[[Rows], str],
        weighted: Callable[[Rows], Weighted],
    ) -> None:
        self.name, self.check, self.reason, self.weighted = name, check, reason, weighted
        self.__doc__ = weighted.__doc__

    def __call__(
        self, target: ArrayLike, score: ArrayLike, *, threshold: float = 0.5, negatives: float | None = None
    ) -> float:
        """Return the metric of all rows, NaN with an ``UndefinedMetricWarning`` where it does not exist.

        Args:
            target: ``[rows]`` of 0 and 1, class numbers or values.
            score: ``[rows]``, or ``[rows, classes]`` for class numbers.
            threshold: for the metrics that need one; a row is called positive when ``score >= threshold``.
            negatives: weights the rows of a two-class target as in :func:`class_weights`.

        Raises:
            DataError: shapes or numbers are not as expected.
        """
        rows = Rows(*self.check(target, score), threshold)
        count = len(rows.target)
        weights, reason = Weights(np.ones((count, 1)), np.arange(count)), ""
        if negatives is not None:
            truth = binary_rows(target, score)[0]
            weights, reason = class_weights(weights, truth, negatives=negatives), missing_class(truth)
        value = float(self.weighted(rows)(weights)[0])
        if not np.isnan(value):
            return value
        return undefined(self.name, reason or (self.reason if isinstance(self.reason, str) else self.reason(rows)))

    def prepare(self, target: ArrayLike, score: ArrayLike, *, threshold: float = 0.5) -> Weighted:
        """Return the metric as a function of weights; arguments and errors as those of a call."""
        return self.weighted(Rows(*self.check(target, score), threshold))


def metric(
    name: str, check: Callable[[ArrayLike, ArrayLike], tuple[Any, Floats]], reason: str | Callable[[Rows], str]
) -> Callable[[Callable[[Rows], Weighted]], Metric]:
    """Turn a weighted form into a metric; the weighted form gets rows that passed ``check``."""
    return lambda weighted: Metric(name, check, reason, weighted)


def class_weights(weights: Weights, truth: Bools, *, negatives: float) -> Weights:
    """Return weights with ``negatives`` negatives per positive in every draw; positives keep theirs.

    NaN where a draw has no row of a class.
    """
    positive, negative = weights.sums(truth, ~truth)
    counts = np.repeat(weights.counts, 2, axis=0)
    counts[0::2] *= negatives * divide(positive, negative)
    counts[:, (positive == 0) | (negative == 0)] = np.nan
    return Weights(counts, 2 * weights.group + truth)


def missing_class(truth: Bools) -> str:
    """Say which class has no row; empty when both have."""
    if truth.all():
        return "there is no negative row" if truth.size else "there is no row"
    return "" if truth.any() else "there is no positive row"


def divide(above: Floats, below: Floats) -> Floats:
    """Divide, with NaN where the denominator is not above 0."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def ratio(above: Floats | Bools, below: Floats | Bools) -> Weighted:
    """Divide the weighted sums of two columns of rows."""
    return lambda weights: divide(*weights.sums(above, below))


def mean(values: Floats | Bools) -> Weighted:
    """Return the weighted mean of a column of rows."""
    return ratio(values, np.ones(len(values)))


def running(weight: Floats) -> Floats:
    """Return the summed weight before every row and after the last, ``[rows + 1, draws]``."""
    total = np.zeros((len(weight) + 1, weight.shape[1]))
    np.cumsum(weight, axis=0, out=total[1:])
    return total

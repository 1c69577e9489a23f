"""Metrics of predicted values (severity scores) against values, both ``[rows]`` in units of the target."""

import numpy as np

from medtransfer.evaluation.checks import Floats, value_rows
from medtransfer.evaluation.weighted import Rows, Weighted, Weights, divide, mean, metric


@metric("mse", value_rows, "there is no row")
def mean_squared_error(rows: Rows) -> Weighted:
    """Mean squared difference, in squared units of the target."""
    return mean((rows.score - rows.target) ** 2)


@metric("mae", value_rows, "there is no row")
def mean_absolute_error(rows: Rows) -> Weighted:
    """Mean absolute difference, in units of the target."""
    return mean(np.abs(rows.score - rows.target))


@metric("correlation", value_rows, "target or prediction has no spread")
def pearson(rows: Rows) -> Weighted:
    """Pearson correlation of target and prediction."""
    x, y = _centred(rows.target), _centred(rows.score)

    def weighted(weights: Weights) -> Floats:
        n, sx, sy, xx, yy, xy = weights.sums(np.ones_like(x), x, y, x * x, y * y, x * y)
        return divide(xy - divide(sx * sy, n), np.sqrt(_spread(xx, sx, n) * _spread(yy, sy, n)))

    return weighted


@metric("r squared", value_rows, "the target has no spread")
def r_squared(rows: Rows) -> Weighted:
    """Coefficient of determination ``1 − SSE / SST``; negative when the mean would have predicted better."""
    x, errors = _centred(rows.target), (rows.target - rows.score) ** 2

    def weighted(weights: Weights) -> Floats:
        n, sx, xx, sse = weights.sums(np.ones_like(x), x, x * x, errors)
        return 1 - divide(sse, _spread(xx, sx, n))

    return weighted


def _centred(values: Floats) -> Floats:
    """Return values about their plain mean, so that weighted sums of squares lose no digits."""
    return values - values.mean() if values.size else values


def _spread(squares: Floats, total: Floats, weight: Floats) -> Floats:
    """Return the sum of squares about the weighted mean, exactly 0 where only rounding is left."""
    spread = squares - divide(total**2, weight)
    return np.where(spread > 1e-12 * squares, spread, 0.0)

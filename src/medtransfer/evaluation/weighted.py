"""Metrics under row weights, for many resamples at once: what a bootstrap needs.

Each function prepares one metric and returns a :data:`Resampled`: it takes how often every group was drawn,
``counts [groups, draws]``, and gives the metric of every draw, ``[draws]``, NaN where a draw leaves it undefined.
A row weighs as much as its group. Sorting and comparing happen once, not once a draw.
"""

from collections.abc import Callable, Sequence

import numpy as np

from medtransfer.evaluation.binary import BINS, calibration_bin
from medtransfer.evaluation.checks import Bools, Floats, Ints
from medtransfer.evaluation.multiclass import among_top, f1_parts, row_errors

Resampled = Callable[[Floats], Floats]


def auroc(truth: Floats, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted share of (positive, negative) pairs in the right order; weights are exact, so ties cost nothing."""
    del threshold
    positive, negative = _split(truth, score, group, np.argsort(score, kind="stable"))
    below = np.searchsorted(score[negative], score[positive], "left")
    upto = np.searchsorted(score[negative], score[positive], "right")

    def draws(counts: Floats) -> Floats:
        alarms = _running(counts[group[negative]])
        weight = counts[group[positive]]
        pairs = np.einsum("ij,ij->j", weight, alarms[below] + alarms[upto])
        return _divide(pairs, 2 * weight.sum(0) * alarms[-1])

    return draws


def average_precision(truth: Floats, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted average precision: at every positive the precision among the rows that score at least as much."""
    del threshold
    positive, negative = _split(truth, score, group, np.argsort(-score, kind="stable"))
    hits_upto = np.searchsorted(-score[positive], -score[positive], "right")
    alarms_upto = np.searchsorted(-score[negative], -score[positive], "right")

    def draws(counts: Floats) -> Floats:
        weight = counts[group[positive]]
        running, alarms = _running(weight), _running(counts[group[negative]])
        hits = running[hits_upto]
        # a positive that was not drawn may stand above every drawn row: it weighs 0, so any denominator will do
        precision = hits / np.maximum(hits + alarms[alarms_upto], 1)
        return _divide(np.einsum("ij,ij->j", weight, precision), running[-1])

    return draws


def sensitivity(truth: Floats, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted sensitivity."""
    return _ratio((score >= threshold) * truth, truth, group)


def specificity(truth: Floats, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted specificity."""
    return _ratio((score < threshold) * (1 - truth), 1 - truth, group)


def accuracy(truth: Floats, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted accuracy."""
    return _ratio((score >= threshold) == truth, np.ones_like(truth), group)


def f1(truth: Floats, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted F1 of the positive class; its denominator 2 TP + FP + FN is rows positive plus rows called so."""
    called = score >= threshold
    return _ratio(2.0 * called * truth, called + truth, group)


def f1_negative(truth: Floats, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted F1 of the negative class."""
    called = score < threshold
    return _ratio(2.0 * called * (1 - truth), called + (1 - truth), group)


def squared(truth: Floats, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted mean squared error, which of a probability is its Brier score."""
    del threshold
    return _ratio((score - truth) ** 2, np.ones_like(truth), group)


def absolute(truth: Floats, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted mean absolute error."""
    del threshold
    return _ratio(np.abs(score - truth), np.ones_like(truth), group)


def calibration(truth: Floats, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted expected calibration error."""
    del threshold
    return _binned(calibration_bin(score), truth - score, group)


def r_squared(truth: Floats, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted coefficient of determination."""
    del threshold
    centred, errors = truth - truth.mean(), (truth - score) ** 2

    def draws(counts: Floats) -> Floats:
        n, s, ss, sse = _sums([np.ones_like(truth), centred, centred**2, errors], group, counts)
        return 1 - _divide(sse, _spread(ss, s, n))

    return draws


def pearson(truth: Floats, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted Pearson correlation."""
    del threshold
    x, y = truth - truth.mean(), score - score.mean()

    def draws(counts: Floats) -> Floats:
        n, sx, sy, xx, yy, xy = _sums([np.ones_like(x), x, y, x * x, y * y, x * y], group, counts)
        spread = np.sqrt(_spread(xx, sx, n) * _spread(yy, sy, n))
        return _divide(xy - _divide(sx * sy, n), spread)

    return draws


def macro_auroc(truth: Ints, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted mean of the one-vs-rest AUROCs."""
    return _macro(auroc, truth, score, group, threshold)


def macro_auprc(truth: Ints, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted mean of the one-vs-rest average precisions."""
    return _macro(average_precision, truth, score, group, threshold)


def macro_f1(truth: Ints, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted mean of the F1 of every class."""
    del threshold
    hits, total = f1_parts(truth, score)
    return _mean([_ratio(hits[:, c], total[:, c], group) for c in range(score.shape[1])])


def top_1(truth: Ints, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted accuracy of the winning class."""
    del threshold
    return _ratio(among_top(truth, score, 1), np.ones(truth.size), group)


def macro_squared(truth: Ints, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted squared error against the one-hot label, averaged over classes."""
    del threshold
    return _ratio(row_errors(truth, score), np.ones(truth.size), group)


def macro_calibration(truth: Ints, score: Floats, group: Ints, threshold: float) -> Resampled:
    """Weighted calibration error of the winner's probability."""
    del threshold
    return _binned(calibration_bin(score.max(1)), among_top(truth, score, 1) - score.max(1), group)


WEIGHTED: dict[str, Callable[..., Resampled]] = {
    "auroc": auroc,
    "auprc": average_precision,
    "f1": f1,
    "f1_negative": f1_negative,
    "accuracy": accuracy,
    "sensitivity": sensitivity,
    "specificity": specificity,
    "brier": squared,
    "ece": calibration,
    "mse": squared,
    "mae": absolute,
    "pearson": pearson,
    "r2": r_squared,
    "macro_auroc": macro_auroc,
    "macro_auprc": macro_auprc,
    "macro_f1": macro_f1,
    "top_1": top_1,
    "macro_ece": macro_calibration,
    "macro_mse": macro_squared,
}
"""The names of ``metrics.METRICS`` that have a bootstrap interval."""


def class_weights(counts: Floats, group: Ints, truth: Bools, *, negatives: float) -> Floats:
    """Return counts by group and class, ``[2 · groups, draws]``, with ``negatives`` negatives to each positive drawn.

    Entry ``2 · group`` weighs a group's negatives, the next its positives, which keep their counts: weights of
    positives are whole numbers, as average precision expects. NaN where a draw has no row of a class.
    """
    positive, negative = (np.bincount(group[rows], minlength=len(counts)) @ counts for rows in (truth, ~truth))
    weights = np.repeat(counts, 2, axis=0)
    weights[0::2] *= negatives * _divide(positive, negative)
    weights[:, (positive == 0) | (negative == 0)] = np.nan
    return weights


def _split(truth: Floats, score: Floats, group: Ints, order: Ints) -> tuple[Ints, Ints]:
    return order[truth[order] == 1], order[truth[order] == 0]


def _running(weight: Floats) -> Floats:
    """Return the weight before every row and after the last, ``[rows + 1, draws]``."""
    total = np.zeros((len(weight) + 1, weight.shape[1]))
    np.cumsum(weight, axis=0, out=total[1:])
    return total


def _divide(above: Floats, below: Floats) -> Floats:
    """Divide, with NaN where the denominator is 0."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _sums(columns: Sequence[Floats | Bools], group: Ints, counts: Floats) -> Floats:
    """Return the weighted sum of every column of rows in every draw, ``[columns, draws]``, by way of group sums."""
    by_group = np.stack([np.bincount(group, weights=column, minlength=len(counts)) for column in columns])
    total: Floats = by_group @ counts
    return total


def _ratio(above: Floats | Bools, below: Floats | Bools, group: Ints) -> Resampled:
    return lambda counts: _divide(*_sums([above, below], group, counts))


def _binned(bins: Ints, gap: Floats, group: Ints) -> Resampled:
    columns = [np.where(bins == index, gap, 0.0) for index in range(BINS)]

    def draws(counts: Floats) -> Floats:
        *gaps, rows = _sums([*columns, np.ones_like(gap)], group, counts)
        return _divide(np.abs(gaps).sum(0), rows)

    return draws


def _spread(squares: Floats, total: Floats, rows: Floats) -> Floats:
    """Return the sum of squares about the mean, exactly 0 where only rounding is left."""
    spread = squares - _divide(total**2, rows)
    return np.where(spread > 1e-12 * squares, spread, 0.0)


def _macro(metric: Callable[..., Resampled], truth: Ints, score: Floats, group: Ints, threshold: float) -> Resampled:
    columns = range(score.shape[1])
    return _mean([metric((truth == c).astype(np.float64), score[:, c], group, threshold) for c in columns])


def _mean(parts: list[Resampled]) -> Resampled:
    return lambda counts: np.mean([part(counts) for part in parts], axis=0)

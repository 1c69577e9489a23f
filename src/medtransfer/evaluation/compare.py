"""Paired comparisons of two predictors: DeLong's test, a t-test on errors, Holm's correction for many tests.

DeLong et al. 1988 (Biometrics 44) through the midranks of Sun & Xu 2014 (IEEE SPL 21): n log n instead of all pairs.
Rows are taken as independent unless ``groups`` names the patient of each: the variance is then that of clustered data
(Obuchowski 1997, Biometrics 53), which is DeLong's where every patient has one row.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtransfer.errors import DataError
from medtransfer.evaluation.binary import tie_ends
from medtransfer.evaluation.checks import Bools, Floats, binary_rows, undefined, value_rows
from medtransfer.evaluation.intervals import Interval


@dataclass(frozen=True)
class DelongTest:
    """Paired comparison of two AUROCs on the same rows: A − B, its variance, z and the two-sided p."""

    auroc_a: float
    auroc_b: float
    difference: float
    variance: float
    z: float
    p: float


@dataclass(frozen=True)
class PairedTest:
    """Mean paired difference A − B, t, its degrees of freedom, two-sided p."""

    difference: float
    statistic: float
    freedom: int
    p: float


def delong_covariance(target: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Return the AUROCs ``[predictors]`` of scores ``[predictors, rows]`` and their covariance (DeLong 1988, Eq. 4–6).

    Both are NaN with a warning where a class has no row; the covariance also where a class has a single row.
    """
    above, below = _placements(target, np.atleast_2d(np.asarray(scores, np.float64)))
    auroc, count = _auroc(above, below), len(above)
    covariance = [[_covariance(above[i], below[i], above[j], below[j]) for j in range(count)] for i in range(count)]
    return auroc, np.array(covariance)


def delong_interval(target: ArrayLike, score: ArrayLike, *, level: float = 0.95) -> Interval:
    """Normal interval of the AUROC from DeLong's variance, clipped to [0, 1]; a perfect order gives [1, 1]."""
    auroc, covariance = delong_covariance(target, score)
    half = _normal_quantile((1 + level) / 2) * math.sqrt(covariance[0, 0])
    low, high = np.clip([auroc[0] - half, auroc[0] + half], 0, 1)
    return Interval(float(auroc[0]), float(low), float(high), level, "delong", 0)


def delong_test(
    target: ArrayLike, score_a: ArrayLike, score_b: ArrayLike, groups: ArrayLike | None = None
) -> DelongTest:
    """Test whether two predictors have the same AUROC on the same rows; ``groups`` ``[rows]`` is the patient of each.

    Without any variance the test is decided by the difference: p = 1 when it is 0; otherwise z and p do not exist
    and are NaN with a warning.

    Example:
        test = delong_test(target, score_a, score_b, groups=patients)
        test.difference, test.p
    """
    auroc, variance = _difference(target, score_a, score_b, groups)
    difference = float(auroc[0] - auroc[1])
    if variance > 0:
        z = difference / math.sqrt(variance)
        p = math.erfc(abs(z) / math.sqrt(2))
    elif variance == 0 and difference == 0:
        z, p = 0.0, 1.0
    else:
        z = p = undefined("DeLong's test", "the difference has no variance")
    return DelongTest(float(auroc[0]), float(auroc[1]), difference, variance, z, p)


def smallest_detectable_difference(
    target: ArrayLike,
    score_a: ArrayLike,
    score_b: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float:
    """Smallest true difference in AUROC that the paired test would detect with probability ``power`` on such rows.

    ``(z_{1−α/2} + z_{power}) · sqrt(Var(AUROC_A − AUROC_B))`` with DeLong's variance: the usual normal sample-size
    formula (Obuchowski 1998) solved for the difference. ``groups`` as in :func:`delong_test`.
    """
    _, variance = _difference(target, score_a, score_b, groups)
    return (_normal_quantile(1 - alpha / 2) + _normal_quantile(power)) * math.sqrt(variance)


def paired_t_test(a: ArrayLike, b: ArrayLike) -> PairedTest:
    """Two-sided paired t-test on values ``[rows]``, such as squared errors; p = 1 when no pair differs."""
    from scipy.special import stdtr

    difference = np.subtract(*value_rows(a, b))
    if difference.size < 2:
        missing = undefined("paired t-test", "there are fewer than two pairs")
        return PairedTest(float(difference.mean()) if difference.size else missing, missing, 0, missing)
    mean, freedom = float(difference.mean()), difference.size - 1
    if np.ptp(difference) == 0 and mean == 0:
        return PairedTest(0.0, 0.0, freedom, 1.0)
    if np.ptp(difference) == 0:
        missing = undefined("paired t-test", "all differences are equal")
        return PairedTest(mean, missing, freedom, missing)
    t = mean / float(difference.std(ddof=1) / math.sqrt(difference.size))
    return PairedTest(mean, t, freedom, float(2 * stdtr(freedom, -abs(t))))


def holm(pvalues: ArrayLike) -> Floats:
    """Holm's adjusted p-values ``[tests]`` (family-wise error); NaN stays NaN and does not count as a test.

    Raises:
        DataError: a number is not between 0 and 1.
    """
    values = np.asarray(pvalues, np.float64)
    wrong = values[(values < 0) | (values > 1)]
    if wrong.size:
        raise DataError(f"p-value {wrong[0]:g} expected between 0 and 1: pass p-values")
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    adjusted = np.full(values.shape, np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(order.size, 0, -1)), 1)
    return adjusted


def _difference(
    target: ArrayLike, score_a: ArrayLike, score_b: ArrayLike, groups: ArrayLike | None
) -> tuple[Floats, float]:
    """Return both AUROCs and the variance of their difference: Var(A) + Var(B) − 2 Cov, from A's minus B's placements.

    Placements are exact multiples of one half, so predictors that order the rows alike give exactly 0.
    """
    above, below = _placements(target, np.stack([np.asarray(score_a, np.float64), np.asarray(score_b, np.float64)]))
    upper, lower = above[0] - above[1], below[0] - below[1]
    if groups is None:
        return _auroc(above, below), _covariance(upper, lower, upper, lower)
    return _auroc(above, below), _clustered_variance(upper, lower, np.asarray(target) == 1, np.asarray(groups))


def _placements(target: ArrayLike, scores: Floats) -> tuple[Floats, Floats]:
    """Count the negatives below every positive and the positives above every negative; ties count one half.

    Returns ``[predictors, positives]`` and ``[predictors, negatives]``, rows in their given order.
    """
    truth = binary_rows(target, scores[0])[0]
    for score in scores[1:]:
        value_rows(truth, score)
    positive, negative = np.flatnonzero(truth), np.flatnonzero(~truth)
    above, below = np.empty((len(scores), positive.size)), np.empty((len(scores), negative.size))
    for index, score in enumerate(scores):
        order = np.argsort(score)
        ends = np.append(0, tie_ends(score[order]) + 1)
        hits = np.append(0, np.cumsum(truth[order]))[ends]
        alarms, sizes = ends - hits, ends[1:] - ends[:-1]
        tie = np.empty(score.size, np.int64)
        tie[order] = np.repeat(np.arange(sizes.size), sizes)
        above[index] = ((alarms[1:] + alarms[:-1]) / 2)[tie[positive]]
        below[index] = (positive.size - (hits[1:] + hits[:-1]) / 2)[tie[negative]]
    return above, below


def _auroc(above: Floats, below: Floats) -> Floats:
    pairs = above.shape[1] * below.shape[1]
    return above.sum(1) / pairs if pairs else np.full(len(above), undefined("auroc", "the rows hold a single class"))


def _covariance(above_a: Floats, below_a: Floats, above_b: Floats, below_b: Floats) -> float:
    positives, negatives = above_a.size, below_a.size
    if positives < 2 or negatives < 2:
        return undefined("variance of auroc", "a class has fewer than two rows")
    upper = (above_a - above_a.mean()) @ (above_b - above_b.mean()) / (positives - 1)
    lower = (below_a - below_a.mean()) @ (below_b - below_b.mean()) / (negatives - 1)
    return float(upper / (positives * negatives**2) + lower / (negatives * positives**2))


def _clustered_variance(upper: Floats, lower: Floats, positive: Bools, groups: NDArray[Any]) -> float:
    """Variance of an AUROC, or of a difference of two, when the rows of a patient belong together.

    Obuchowski 1997, Eq. 3 to 6: the deviations of a patient's placements are summed before they are squared, and
    patients with rows of both classes add a covariance.
    """
    if groups.shape != positive.shape:
        raise DataError(f"groups has shape {groups.shape}, expected {positive.shape}: pass one patient per row")
    _, patient = np.unique(groups, return_inverse=True)
    count = patient.max(initial=-1) + 1
    own = [np.bincount(patient[rows], minlength=count) for rows in (positive, ~positive)]
    ill, well = (int((rows > 0).sum()) for rows in own)
    if ill < 2 or well < 2:
        return undefined("variance of auroc", "a class has fewer than two patients")
    a, b = (
        np.bincount(patient[rows], weights=values - values.mean(), minlength=count)
        for rows, values in ((positive, upper), (~positive, lower))
    )
    total = ill / (ill - 1) * (a @ a) + well / (well - 1) * (b @ b) + 2 * count / (count - 1) * (a @ b)
    variance = float(total) / (upper.size * lower.size) ** 2
    return variance if variance >= 0 else undefined("variance of auroc", "its clustered estimate is negative")


def _normal_quantile(probability: float) -> float:
    from statistics import NormalDist

    return NormalDist().inv_cdf(probability)

"""Resamples of patients, and intervals: bootstrap of patients, Wilson, Student.

Images of one patient are correlated, so whole patients are drawn with replacement (cluster bootstrap, Davison &
Hinkley 1997, §3.8); the interval is given by percentiles of the resampled metric. Draws that leave a metric undefined
(no positive patient) do not count; ``Interval.draws`` is the number that did.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.checks import Floats, attempt, binary_rows, undefined
from medtransfer.evaluation.metrics import METRICS
from medtransfer.evaluation.weighted import Weights, class_weights

_CELLS = 1 << 16
"""Groups × draws computed at once: small enough for a CPU's second-level cache."""


@dataclass(frozen=True)
class Interval:
    """A value, its bounds, their level, the method, and the number of valid draws (0 = the method needs none)."""

    value: float
    low: float
    high: float
    level: float
    method: str
    draws: int


def bootstrap_interval(
    metric: str,
    target: ArrayLike,
    score: ArrayLike,
    groups: ArrayLike,
    *,
    draws: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    threshold: float = 0.5,
) -> Interval:
    """Percentile interval of a metric under resampling of patients.

    Args:
        metric: a name in ``metrics.METRICS``.
        target: ``[rows]`` labels, class numbers or values.
        score: ``[rows]``, or ``[rows, classes]`` for the metrics named ``macro_…`` and ``top_…``.
        groups: ``[rows]`` patient of each row.
        draws: resamples.
        seed: of the resampling; the same patients, draws and seed give the same resamples for every metric and score.
        level: coverage.
        threshold: for the metrics that need one.

    Example:
        auroc = bootstrap_interval("auroc", target, score, patients)
        auroc.value, auroc.low, auroc.high

    Raises:
        ConfigError: there is no such metric. DataError: shapes or numbers are not as expected.
    """
    one_seed = np.asarray(score, np.float64)[None]
    values = resample([metric], target, one_seed, groups, draws=draws, seed=seed, thresholds=[threshold])[metric]
    return percentile_interval(
        evaluate(metric, target, one_seed[0], threshold), values[0], level=level, method="bootstrap of patients"
    )


def resample(
    metrics: Sequence[str],
    target: ArrayLike,
    scores: Floats,
    groups: ArrayLike,
    *,
    draws: int,
    seed: int,
    thresholds: Sequence[float],
    population: ArrayLike | None = None,
    negatives: float | None = None,
) -> dict[str, Floats]:
    """Return every metric ``[seeds, draws]`` of scores ``[seeds, rows]`` under one set of patient resamples.

    ``thresholds`` has one number per seed. ``population`` names all patients that can be drawn where some have no row
    here, so that outputs with different missing labels share their resamples. With ``negatives`` the rows of a
    two-class target are weighted in every draw as in :func:`at_balance`.
    """
    if draws < 1:
        raise ConfigError(f"draws is {draws}: expected at least 1 resample; 1000 are usual")
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise ConfigError(f"{unknown[0]}: there is no such metric; expected one of {', '.join(METRICS)}")
    rows = np.asarray(groups)
    if rows.shape != np.shape(target):
        raise DataError(f"groups has shape {rows.shape}, expected {np.shape(target)}: pass one patient per row")
    if not rows.size:
        return {name: np.full((len(scores), draws), math.nan) for name in metrics}
    patients = np.unique(rows if population is None else np.asarray(population))
    group = np.searchsorted(patients, rows)
    truth = None if negatives is None else binary_rows(target, scores[0])[0]
    jobs = [
        METRICS[name].prepare(target, one, threshold=threshold)
        for name in metrics
        for one, threshold in zip(scores, thresholds, strict=True)
    ]
    parts = []
    for counts in patient_counts(len(patients), draws=draws, seed=seed):
        weights = Weights(counts, group)
        if truth is not None and negatives is not None:
            weights = class_weights(weights, truth, negatives=negatives)
        parts.append(np.stack([job(weights) for job in jobs]))
    values = np.concatenate(parts, axis=1).reshape(len(metrics), len(scores), draws)
    return dict(zip(metrics, values, strict=True))


def at_balance(
    metrics: Sequence[str], target: ArrayLike, scores: Floats, *, thresholds: Sequence[float], negatives: float
) -> dict[str, Floats]:
    """Return every metric ``[seeds]`` as it would be with ``negatives`` negatives per positive, by weighting rows.

    No row is dropped; rows of one class weigh the same, and the classes weigh 1 to ``negatives``. Where the weights
    amount to repeating every row a whole number of times, the result is the metric of the repeated rows. NaN where a
    class has no row. Sensitivity, specificity and AUROC do not depend on the balance.

    Args:
        metrics: names in ``metrics.METRICS`` of two-class targets.
        target: ``[rows]`` of 0 and 1.
        scores: ``[seeds, rows]``.
        thresholds: one number per seed.
        negatives: negatives per positive.
    """
    return {
        name: np.array(
            [
                attempt(METRICS[name], target, one, threshold=threshold, negatives=negatives)[0]
                for one, threshold in zip(scores, thresholds, strict=True)
            ]
        )
        for name in metrics
    }


def patient_counts(size: int, *, draws: int, seed: int) -> Iterator[Floats]:
    """Yield how often each of ``size`` patients was drawn, ``[size, draws of the chunk]``, chunk by chunk.

    The draws depend on the size and the seed alone, not on the chunks.
    """
    generator, step = np.random.default_rng([seed, size]), max(1, _CELLS // size)
    for start in range(0, draws, step):
        width = min(step, draws - start)
        patients = generator.integers(0, size, (width, size))
        flat = (patients * width + np.arange(width)[:, None]).ravel()
        yield np.bincount(flat, minlength=size * width).reshape(size, width).astype(np.float64)


def percentile_interval(value: float, values: Floats, *, level: float, method: str) -> Interval:
    """Return the percentile interval of resampled values; NaN bounds with a warning when no draw is valid.

    The lower bound is exactly minus the upper bound of the negated values: a difference and its mirror image have
    mirrored intervals, even if a draw on the border is itself the bound.
    """
    valid = values[~np.isnan(values)]
    if not valid.size:
        low = high = undefined("interval", "no resample leaves the metric defined")
    else:
        low, high = -np.quantile(-valid, (1 + level) / 2), np.quantile(valid, (1 + level) / 2)
    return Interval(value, float(low), float(high), level, method, int(valid.size))


def wilson(successes: int, rows: int, *, level: float = 0.95) -> Interval:
    """Wilson score interval of a proportion of independent rows (Wilson 1927)."""
    if not 0 <= successes <= rows:
        raise DataError(f"{successes} successes among {rows} rows: expected 0 … {rows}; count the successes again")
    if not rows:
        missing = undefined("proportion", "there is no row")
        return Interval(missing, missing, missing, level, "wilson", 0)
    z, share = NormalDist().inv_cdf((1 + level) / 2), successes / rows
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + (z / (2 * rows)) ** 2)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), level, "wilson", 0)


def t_interval(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """Student's t-interval of the mean of independent values, such as squared errors or the metric of several seeds."""
    from scipy.special import stdtrit

    sample = np.asarray(values, np.float64)
    mean = float(sample.mean()) if sample.size else undefined("mean", "there is no value")
    if sample.size < 2:
        missing = undefined("t-interval", "there are fewer than two values")
        return Interval(mean, missing, missing, level, "t", 0)
    half = float(stdtrit(sample.size - 1, (1 + level) / 2) * sample.std(ddof=1) / math.sqrt(sample.size))
    return Interval(mean, mean - half, mean + half, level, "t", 0)


def evaluate(name: str, target: ArrayLike, score: Floats, threshold: float) -> float:
    """Return the value of a metric by name; ``threshold`` is for the metrics that need one."""
    return METRICS[name](target, score, threshold=threshold)

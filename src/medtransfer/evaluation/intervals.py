"""Resamples of patients, and intervals in closed form: Wilson, Student.

Images of one patient are correlated, so whole patients are drawn with replacement (cluster bootstrap, Davison &
Hinkley 1997, §3.8). Draws that leave a metric undefined (no positive patient) do not count.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.checks import Floats, Ints, attempt, binary_rows, undefined
from medtransfer.evaluation.metrics import METRICS
from medtransfer.evaluation.weighted import Weights, class_weights

_CELLS = 1 << 16
"""Groups × draws computed at once: small enough for a CPU's second-level cache."""


@dataclass(frozen=True)
class Interval:
    """A value, its bounds, their level, the method, and the number of valid draws (0 = the method needs none).

    ``reason`` says why value or bounds are NaN; empty where they are not.
    """

    value: float
    low: float
    high: float
    level: float
    method: str
    draws: int
    reason: str = ""


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
    stratified: bool = False,
) -> dict[str, Floats]:
    """Return every metric ``[seeds, draws]`` of scores ``[seeds, rows]`` under one set of patient resamples.

    ``thresholds`` has one number per seed. ``population`` names all patients that can be drawn where some have no row
    here, so that outputs with different missing labels share their resamples. With ``negatives`` the rows of a
    two-class target are weighted in every draw as in :func:`at_balance`. ``stratified`` draws the patients of each
    class apart: how many there are is given by the test set, and no draw lacks a class.
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
    strata = patient_strata(target if stratified else np.zeros(rows.shape), rows, patients)
    for counts in patient_counts(strata, draws=draws, seed=seed):
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


def patient_strata(target: ArrayLike, groups: ArrayLike, patients: ArrayLike) -> Ints:
    """Return the class of each of ``patients``, that of most of its rows; 0 where all rows are of one class.

    Args:
        target: ``[rows]`` class numbers.
        groups: ``[rows]`` patient of each row.
        patients: sorted names; a patient without a row belongs to the first class.
    """
    names, classes = np.asarray(patients), np.unique(np.asarray(target), return_inverse=True)[1]
    counts = np.zeros((len(names), int(classes.max(initial=0)) + 1), np.int64)
    np.add.at(counts, (np.searchsorted(names, np.asarray(groups)), classes), 1)
    strata: Ints = counts.argmax(1)
    return strata


def patient_counts(strata: Ints, *, draws: int, seed: int) -> Iterator[Floats]:
    """Yield how often each patient was drawn, ``[patients, draws of the chunk]``, chunk by chunk.

    As many patients of each stratum are drawn as there are. The draws depend on strata and seed alone, not on the
    chunks.
    """
    members = [np.flatnonzero(strata == one) for one in np.unique(strata)]
    generators = [np.random.default_rng([seed, len(own), place]) for place, own in enumerate(members)]
    step = max(1, _CELLS // len(strata))
    for start in range(0, draws, step):
        width = min(step, draws - start)
        counts = np.empty((len(strata), width))
        for own, generator in zip(members, generators, strict=True):
            patients = generator.integers(0, len(own), (width, len(own)))
            flat = (patients * width + np.arange(width)[:, None]).ravel()
            counts[own] = np.bincount(flat, minlength=len(own) * width).reshape(len(own), width)
        yield counts


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

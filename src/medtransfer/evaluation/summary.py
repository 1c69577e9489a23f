"""One metric over several seeds: its points, its resamples, and their summary as JSON."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.evaluation.checks import Floats, attempt
from medtransfer.evaluation.intervals import at_balance, evaluate, mean_of_drawn_seeds, percentile_interval, resample

LEVEL = 0.95
"""Coverage of every interval in metric files and reports; a constant because captions state it."""


@dataclass(frozen=True)
class Sample:
    """One metric: points ``[seeds]``, patient resamples ``[seeds, draws]``, and why a point is NaN."""

    points: Floats
    values: Floats
    reason: str


def sample(
    metrics: Sequence[str],
    target: ArrayLike,
    scores: Floats,
    groups: ArrayLike,
    *,
    thresholds: Sequence[float],
    population: ArrayLike,
    draws: int,
    seed: int,
    neg_pos_ratio: float | None = None,
) -> dict[str, Sample]:
    """Return every metric of scores ``[seeds, rows]`` or ``[seeds, rows, classes]``; arguments as for ``resample``."""
    options: dict[str, Any] = {"thresholds": thresholds, "negatives": neg_pos_ratio}
    values = resample(metrics, target, scores, groups, draws=draws, seed=seed, population=population, **options)
    if neg_pos_ratio is not None:
        balanced = at_balance(metrics, target, scores, **options)
        reason = "" if len(np.unique(target)) == 2 else "another balance is undefined: the rows hold a single class"
        return {name: Sample(balanced[name], values[name], reason) for name in metrics}
    samples = {}
    for name in metrics:
        tries = [attempt(evaluate, name, target, s, t) for s, t in zip(scores, thresholds, strict=True)]
        points = np.array([point for point, _ in tries])
        samples[name] = Sample(points, values[name], next((reason for _, reason in tries if reason), ""))
    return samples


def average(samples: Sequence[Sample]) -> Sample:
    """Return the mean of one metric over outputs that share their resamples; outputs without a value are left out.

    The reason says how many outputs count. Draws that leave one of these undefined do not count, so that all draws are
    of the same mean. NaN when no output has a value.
    """
    defined = [one for one in samples if not np.isnan(one.points).any()]
    reason = next((one.reason for one in samples if one.reason), "")
    if defined and len(defined) < len(samples):
        reason = f"the mean over {len(defined)} of {len(samples)} outputs; of the others one says: {reason}"
    points, values = (np.mean([getattr(one, n) for one in defined or samples], axis=0) for n in ("points", "values"))
    return Sample(points, values, reason)


def drawn_means(one: Sample, *, seed: int) -> Floats:
    """Return resampled means over seeds ``[draws]``: seeds and patients are drawn, with one seed patients alone."""
    return mean_of_drawn_seeds(one.values, seed=seed) if len(one.points) > 1 else one.values[0]


def summarise(one: Sample, *, level: float, seed: int) -> dict[str, Any]:
    """Return a metric for JSON: value per seed, mean, sd, interval over patients and over seeds × patients.

    For ``low`` and ``high`` seeds are fixed and patients drawn; for ``low_seeds`` and ``high_seeds``, which exist from
    two seeds on, both are drawn. NaN becomes null, with a ``reason``.
    """
    mean, count = float(one.points.mean()), len(one.points)
    patients, why = _bounds(mean, one.values.mean(0), level)
    result = {
        "per_seed": [_null(float(point)) for point in one.points],
        "mean": _null(mean),
        "sd": float(one.points.std(ddof=1)) if count > 1 and not math.isnan(mean) else None,
        "low": patients[0],
        "high": patients[1],
        "draws": int((~np.isnan(one.values.mean(0))).sum()),
    }
    if count > 1:
        both, _ = _bounds(mean, mean_of_drawn_seeds(one.values, seed=seed), level)
        result |= {"low_seeds": both[0], "high_seeds": both[1]}
    return result | ({"reason": one.reason or why} if one.reason or why else {})


def brief(one: Sample, *, seed: int) -> dict[str, Any]:
    """Return ``mean, sd, low, high, low_seeds, high_seeds`` of :func:`summarise`; None for those that do not exist."""
    values = summarise(one, level=LEVEL, seed=seed)
    return {name: values.get(name) for name in ("mean", "sd", "low", "high", "low_seeds", "high_seeds")}


def _bounds(mean: float, values: Floats, level: float) -> tuple[tuple[float | None, float | None], str]:
    """Return percentile bounds, null when the mean or every draw is undefined, and the reason."""
    if math.isnan(mean):
        return (None, None), ""
    if np.isnan(values).all():
        return (None, None), "no resample leaves the metric defined"
    interval = percentile_interval(mean, values, level=level, method="bootstrap")
    return (interval.low, interval.high), ""


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value

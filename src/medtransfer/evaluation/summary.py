"""One metric over several seeds: its points, its resamples, and their summary as JSON."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.evaluation.chance import (
    CORRELATION,
    DIFFERENCE,
    POSITIVE,
    SHARE,
    Chance,
    Scale,
    chance,
    patients_by_class,
)
from medtransfer.evaluation.checks import Floats, attempt, value_rows
from medtransfer.evaluation.intervals import at_balance, evaluate, resample
from medtransfer.evaluation.metrics import METRICS

LEVEL = 0.95
"""Coverage of every interval in metric files and reports; a constant because captions state it."""


SCALES = {"mse": POSITIVE, "macro_mse": POSITIVE, "mae": POSITIVE, "pearson": CORRELATION, "r2": DIFFERENCE}
"""On which scale a metric's interval is symmetric; all others are shares."""


@dataclass(frozen=True)
class Sample:
    """One metric, or a difference of metrics.

    Attributes:
        points: ``[seeds]``.
        values: patient resamples ``[seeds, draws]``.
        reason: why a point is NaN; else empty.
        patients: number by class, of several outputs those of the one with the smallest class.
        scale: on which its intervals are symmetric.
    """

    points: Floats
    values: Floats
    reason: str
    patients: tuple[int, ...]
    scale: Scale = DIFFERENCE

    def chance(self, *, training: bool = True) -> Chance:
        """Return the chance in the mean over seeds; without ``training`` that of other patients alone."""
        return chance(self.points, self.values, patients=self.patients, training=training)


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
    by_class, alike = patients_by_class(target, groups), patients_by_class(np.zeros_like(target), groups)
    shape = {
        name: (alike if METRICS[name].check is value_rows else by_class, SCALES.get(name, SHARE)) for name in metrics
    }
    if neg_pos_ratio is not None:
        balanced = at_balance(metrics, target, scores, **options)
        reason = "" if len(np.unique(target)) == 2 else "another balance is undefined: the rows hold a single class"
        return {name: Sample(balanced[name], values[name], reason, *shape[name]) for name in metrics}
    samples = {}
    for name in metrics:
        tries = [attempt(evaluate, name, target, s, t) for s, t in zip(scores, thresholds, strict=True)]
        points, reason = np.array([point for point, _ in tries]), next((why for _, why in tries if why), "")
        samples[name] = Sample(points, values[name], reason, *shape[name])
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
    kept = defined or samples
    points, values = (np.mean([getattr(one, name) for one in kept], axis=0) for name in ("points", "values"))
    return Sample(points, values, reason, min((one.patients for one in kept), key=min), kept[0].scale)


def summarise(one: Sample, *, level: float) -> dict[str, Any]:
    """Return a metric for JSON: value per seed, mean, sd, interval over patients and over patients and seeds.

    ``low`` and ``high`` hold chance in patients alone; ``low_seeds`` and ``high_seeds``, which exist from two seeds on,
    chance in training too (:mod:`.chance`). NaN becomes null, with a ``reason``.
    """
    mean, count = float(one.points.mean()), len(one.points)
    draws = int((~np.isnan(one.values.mean(0))).sum())
    patients, why = _bounds(one, mean, draws, level, training=False)
    result = {
        "per_seed": [_null(float(point)) for point in one.points],
        "mean": _null(mean),
        "sd": float(one.points.std(ddof=1)) if count > 1 and not math.isnan(mean) else None,
        "low": patients[0],
        "high": patients[1],
        "draws": draws,
    }
    if count > 1:
        both, _ = _bounds(one, mean, draws, level, training=True)
        result |= {"low_seeds": both[0], "high_seeds": both[1]}
    return result | ({"reason": one.reason or why} if one.reason or why else {})


def brief(one: Sample) -> dict[str, Any]:
    """Return ``mean, sd, low, high, low_seeds, high_seeds`` of :func:`summarise`; None for those that do not exist."""
    values = summarise(one, level=LEVEL)
    return {name: values.get(name) for name in ("mean", "sd", "low", "high", "low_seeds", "high_seeds")}


def _bounds(
    one: Sample, mean: float, draws: int, level: float, *, training: bool
) -> tuple[tuple[float | None, float | None], str]:
    """Return an interval, null with the reason where there is none."""
    if math.isnan(mean):
        return (None, None), ""
    if draws < 2:
        return (None, None), "no resample leaves the metric defined"
    low, high = one.chance(training=training).bounds(mean, level=level, scale=one.scale)
    if math.isnan(low) or math.isnan(high):
        return (None, None), "the metric has its extreme value, around which there is no interval"
    return (low, high), ""


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value

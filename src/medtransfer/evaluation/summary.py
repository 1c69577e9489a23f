"""One metric over several seeds: its points, its resamples, and their summary as JSON."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.evaluation.chance import (
    CORRELATION,
    DIFFERENCE,
    POSITIVE,
    SHARE,
    Chance,
    Rule,
    chance,
    patients_by_class,
)
from medtransfer.evaluation.checks import Floats, attempt, value_rows
from medtransfer.evaluation.intervals import Interval, at_balance, evaluate, resample
from medtransfer.evaluation.metrics import METRICS

TOO_FEW = "too few patients"
NO_IDS = "no patient ids"
LEVEL = 0.95
"""Coverage of every interval in metric files and reports; a constant because captions state it."""


class Rules(NamedTuple):
    """The rules of a metric's own interval and of that of a difference."""

    alone: Rule = Rule()
    difference: Rule = Rule(DIFFERENCE)


USUAL = Rules()
AUROC = Rules(Rule(lost=4), Rule(DIFFERENCE, lost=4))
AUPRC = Rules(Rule(lost=4), Rule(DIFFERENCE, lost=5, percentiles=True))
AUPRC_AT_BALANCE = Rules(Rule(lost=4, fewest=800), Rule(DIFFERENCE, lost=5, percentiles=True, fewest=400))
RULES = {
    "auroc": AUROC,
    "macro_auroc": AUROC,
    "auprc": AUPRC,
    "auprc_trapezoid": AUPRC,
    "macro_auprc": AUPRC,
    "mse": Rules(Rule(POSITIVE)),
    "macro_mse": Rules(Rule(POSITIVE)),
    "mae": Rules(Rule(POSITIVE)),
    "pearson": Rules(Rule(CORRELATION)),
    "r2": Rules(Rule(DIFFERENCE)),
}
"""Of all others ``USUAL``. The numbers are those of ``benchmarks/results/coverage.md``."""
AT_BALANCE = {**RULES, "auprc": AUPRC_AT_BALANCE, "auprc_trapezoid": AUPRC_AT_BALANCE}
"""Where rows are weighted to a balance of classes."""


@dataclass(frozen=True)
class Sample:
    """One metric, or a difference of metrics.

    Attributes:
        points: ``[seeds]``.
        values: patient resamples ``[seeds, draws]``.
        reason: why a point is NaN; else empty.
        patients: number by class, of several outputs those of the one with the smallest class.
        rules: of its intervals.
        contrast: whether it is a difference of metrics.
        patients_known: whether every row's patient is; what images of unknown patients vary by cannot be told.
    """

    points: Floats
    values: Floats
    reason: str
    patients: tuple[int, ...]
    rules: Rules = USUAL
    contrast: bool = False
    patients_known: bool = True

    @property
    def rule(self) -> Rule:
        """The rule of its own interval."""
        return self.rules.difference if self.contrast else self.rules.alone

    @property
    def no_interval(self) -> str:
        """Why there is no interval, whatever the resamples: patients are not known or too few; else empty."""
        if not self.patients_known:
            return f"{NO_IDS}: which images are of one patient is not known"
        needed, have = self.rule.fewest, min(self.patients)
        return "" if have >= needed else f"{TOO_FEW}: {have} in the smallest class, {needed} are needed"

    def chance(self, *, training: bool = True) -> Chance:
        """Return the chance in the mean over seeds; without ``training`` that of other patients alone."""
        return chance(self.points, self.values, patients=self.patients, rule=self.rule, training=training)

    def bounds(self, *, level: float, training: bool = True) -> tuple[float, float]:
        """Return the interval of the mean over seeds, however few patients there are; NaN where there is none.

        Where a share is 0 or 1 in all resamples, it is that of as many patients as the smallest class has, of whom none
        or all are right (Clopper & Pearson 1934).
        """
        mean, own = float(self.points.mean()), self.chance(training=training)
        if self.rule.scale is SHARE and mean in (0, 1) and own == replace(own, below=0.0, above=0.0, training=0.0):
            far = ((1 - level) / 2) ** (1 / max(min(self.patients), 1))
            return (far, 1.0) if mean else (0.0, 1 - far)
        return own.bounds(mean, level=level, scale=self.rule.scale)


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
    stratified: bool = False,
) -> dict[str, Sample]:
    """Return every metric of scores ``[seeds, rows]`` or ``[seeds, rows, classes]``; arguments as for ``resample``.

    Where a patient's name is empty, patients are not known, and no metric has an interval.
    """
    options: dict[str, Any] = {"thresholds": thresholds, "negatives": neg_pos_ratio}
    drawn: dict[str, Any] = {"draws": draws, "seed": seed, "population": population, "stratified": stratified}
    known = "" not in np.asarray(groups).tolist()
    values = resample(metrics, target, scores, groups, **drawn, **options)
    by_class, alike = patients_by_class(target, groups), patients_by_class(np.zeros_like(target), groups)
    rules = RULES if neg_pos_ratio is None else AT_BALANCE
    shape = {
        name: (alike if METRICS[name].check is value_rows else by_class, rules.get(name, USUAL)) for name in metrics
    }
    if neg_pos_ratio is not None:
        balanced = at_balance(metrics, target, scores, **options)
        reason = "" if len(np.unique(target)) == 2 else "another balance is undefined: the rows hold a single class"
        return {
            name: Sample(balanced[name], values[name], reason, *shape[name], patients_known=known) for name in metrics
        }
    samples = {}
    for name in metrics:
        tries = [attempt(evaluate, name, target, s, t) for s, t in zip(scores, thresholds, strict=True)]
        points, reason = np.array([point for point, _ in tries]), next((why for _, why in tries if why), "")
        samples[name] = Sample(points, values[name], reason, *shape[name], patients_known=known)
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
    patients = min((one.patients for one in kept), key=min)
    return replace(kept[0], points=points, values=values, reason=reason, patients=patients)


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
    reason = "; ".join(part for part in (why, one.reason) if part)
    return result | ({"reason": reason} if reason else {})


def patient_interval(
    metric: str,
    target: ArrayLike,
    score: ArrayLike,
    groups: ArrayLike,
    *,
    draws: int = 1000,
    seed: int = 0,
    level: float = LEVEL,
    threshold: float = 0.5,
) -> Interval:
    """Return a metric of one fit with its interval over patients; NaN with the reason where there is none.

    Args:
        metric: a name in ``metrics.METRICS``.
        target: ``[rows]`` labels, class numbers or values.
        score: ``[rows]``, or ``[rows, classes]`` for the metrics named ``macro_…`` and ``top_…``.
        groups: ``[rows]`` patient of each row; an empty name is a patient who is not known.
        draws: resamples.
        seed: of the resampling; the same patients, draws and seed give the same resamples for every metric and score.
        level: coverage.
        threshold: for the metrics that need one.

    Example:
        auroc = patient_interval("auroc", target, score, patients)
        auroc.value, auroc.low, auroc.high

    Raises:
        ConfigError: there is no such metric. DataError: shapes or numbers are not as expected.
    """
    one = sample(
        [metric],
        target,
        np.asarray(score, np.float64)[None],
        groups,
        thresholds=[threshold],
        population=groups,
        draws=draws,
        seed=seed,
        stratified=metric in METRICS and METRICS[metric].check is not value_rows,
    )[metric]
    return single_interval(one, level)


def single_interval(one: Sample, level: float) -> Interval:
    """Return a metric of one seed with its interval over patients; NaN with the reason where there is none."""
    found = summarise(one, level=level)
    value, low, high = (math.nan if found[key] is None else found[key] for key in ("mean", "low", "high"))
    return Interval(value, low, high, level, "variance over patients", found["draws"], found.get("reason", ""))


def brief(one: Sample) -> dict[str, Any]:
    """Return ``mean, sd, low, high, low_seeds, high_seeds, reason`` of :func:`summarise`; None if not there."""
    values = summarise(one, level=LEVEL)
    return {name: values.get(name) for name in ("mean", "sd", "low", "high", "low_seeds", "high_seeds", "reason")}


def _bounds(
    one: Sample, mean: float, draws: int, level: float, *, training: bool
) -> tuple[tuple[float | None, float | None], str]:
    """Return an interval, null with the reason where there is none."""
    if math.isnan(mean):
        return (None, None), ""
    if draws < 2:
        return (None, None), "no resample leaves the metric defined"
    if one.no_interval:
        return (None, None), one.no_interval
    low, high = one.bounds(level=level, training=training)
    if math.isnan(low) or math.isnan(high):
        return (None, None), "the metric has its extreme value, around which there is no interval"
    return (low, high), ""


def _null(value: float) -> float | None:
    return None if math.isnan(value) else value

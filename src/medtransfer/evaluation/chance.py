"""Chance in a mean over seeds: other patients and another training; intervals and p-values that hold both.

All seeds predict the same images: the design is crossed. Resampling patients shows how the mean over seeds would change
with other patients. The spread between the seeds' points shows what another training would change: what patients do to
all seeds cancels in it, and only what they do to single seeds is in both terms, which errs on the safe side. With two
to five seeds the second term has one to four degrees of freedom. ``benchmarks/simulate_seeds.py`` measures how often
these intervals are wrong and the power that remains.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medtransfer.evaluation.checks import Floats

SMALLEST_P = 1e-9
OUTER = 0.975
OUTER_Z = 1.959963984540054
"""A percentile of resamples and its normal quantile: their ratio is a standard deviation for intervals of any level."""


@dataclass(frozen=True)
class Scale:
    """Where an interval is symmetric: a function, its inverse, and its slope."""

    to: Callable[[Floats], Floats]
    back: Callable[[Floats], Floats]
    slope: Callable[[Floats], Floats]


DIFFERENCE = Scale(lambda x: x, lambda x: x, np.ones_like)
SHARE = Scale(lambda x: np.log(x / (1 - x)), lambda x: 1 / (1 + np.exp(-x)), lambda x: 1 / (x * (1 - x)))
"""Logit: the bounds of what is between 0 and 1 stay there."""
POSITIVE = Scale(np.log, np.exp, lambda x: 1 / x)
CORRELATION = Scale(np.arctanh, np.tanh, lambda x: 1 / (1 - x * x))


@dataclass(frozen=True)
class Rule:
    """How an interval is made; which rule a metric has was chosen by simulation (``benchmarks/simulate_coverage.py``).

    Attributes:
        scale: on which it is symmetric, unless it is made of percentiles.
        lost: what a class of ``m`` patients loses: its resampled variance counts ``m ÷ (m − lost)`` times. 1 is what
            resampling loses; what ranks few patients varies more than their resamples show.
        percentiles: whether the distances to the outer percentiles of the resamples are the two standard deviations,
            one to each side, instead of the one standard deviation of all resamples.
        fewest: patients of the smallest class below which there is no interval.
    """

    scale: Scale = SHARE
    lost: int = 1
    percentiles: bool = False
    fewest: int = 20


PLAIN = Rule()


@dataclass(frozen=True)
class Chance:
    """Variance of a mean over seeds.

    Attributes:
        below: what other patients would change downwards, the seeds fixed.
        above: the same upwards.
        freedom: degrees of freedom of both.
        training: what another training would change: variance between the seeds' points ÷ number of seeds.
        seeds: their number; with one, ``training`` is not known and left out.
    """

    below: float
    above: float
    freedom: float
    training: float = 0.0
    seeds: int = 1

    def reach(self, p: float, *, up: bool = False) -> float:
        """Return how far below (or above) the mean a value is whose two-sided p is this.

        Each part of the variance has its own Student quantile, and the quantile of their sum is the mean of both,
        weighted by the parts (Cochran 1964, Biometrics 20). Satterthwaite's degrees of freedom decide more often,
        but are wrong too often with two seeds.
        """
        from scipy.special import stdtrit

        parts = np.array([self.above if up else self.below, self.training])
        if not parts.sum() > 0:
            return 0.0
        quantile = -stdtrit(np.array([self.freedom, max(self.seeds - 1, 1)]), p / 2)
        return float(quantile @ parts / np.sqrt(parts.sum()))

    def bounds(self, mean: float, *, level: float, scale: Scale = DIFFERENCE) -> tuple[float, float]:
        """Return the interval around a mean, made on a scale; NaN where the scale has no such point."""
        with np.errstate(divide="ignore", invalid="ignore"):
            at = np.array(mean, np.float64)
            middle, slope = scale.to(at), scale.slope(at)
            low, high = middle - slope * self.reach(1 - level), middle + slope * self.reach(1 - level, up=True)
            return float(scale.back(low)), float(scale.back(high))

    def p(self, mean: float) -> float:
        """Return the two-sided p of a difference against zero: where the interval begins to hold zero.

        Not below ``SMALLEST_P``; 1 without a difference, NaN where a difference has no variance.
        """
        from scipy.optimize import brentq

        if mean == 0:
            return 1.0
        if not (self.above if mean < 0 else self.below) + self.training > 0:
            return float("nan")
        if self.reach(SMALLEST_P, up=mean < 0) <= abs(mean):
            return SMALLEST_P
        return float(brentq(lambda p: self.reach(p, up=mean < 0) - abs(mean), SMALLEST_P, 1.0))


def chance(
    points: Floats, values: Floats, *, patients: tuple[int, ...], rule: Rule = PLAIN, training: bool = True
) -> Chance:
    """Return the chance in the mean of points ``[seeds]`` from patient resamples of them ``[seeds, draws]``.

    Args:
        points: one per seed.
        values: resamples; draws that leave one of them undefined do not count.
        patients: number by class. Every class counts with a variance in proportion to 1 ÷ its patients, which gives
            the degrees of freedom.
        rule: of the interval.
        training: whether the spread of the seeds counts.
    """
    means = values.mean(0)
    means = means[~np.isnan(means)]
    share = 1 / np.maximum(np.array(patients, np.float64), 2)
    freedom, few = float(share.sum() ** 2 / (share**3 / (1 - share)).sum()), max(min(patients), rule.lost + 1)
    sides = _deviations(float(points.mean()), means, rule) if means.size > 1 else (0.0, 0.0)
    below, above = (side**2 * few / (few - rule.lost) for side in sides)
    if not training or len(points) == 1:
        return Chance(below, above, freedom)
    return Chance(below, above, freedom, float(points.var(ddof=1)) / len(points), len(points))


def _deviations(mean: float, values: Floats, rule: Rule) -> tuple[float, float]:
    """Return the standard deviation of resamples below and above the mean.

    The lower percentile is minus the upper one of the negated values, bit by bit: a difference and its mirror image
    have mirrored intervals.
    """
    if not rule.percentiles:
        return (float(values.std(ddof=1)),) * 2
    low, high = -np.quantile(-values, OUTER), np.quantile(values, OUTER)
    return max(float(mean - low), 0.0) / OUTER_Z, max(float(high - mean), 0.0) / OUTER_Z


def patients_by_class(target: ArrayLike, groups: ArrayLike) -> tuple[int, ...]:
    """Return how many patients have a row of each class that occurs, of targets and patients ``[rows]``."""
    classes, names = np.asarray(target), np.asarray(groups)
    return tuple(_distinct(names[classes == one]) for one in np.unique(classes)) or (0,)


def _distinct(names: NDArray[Any]) -> int:
    return len(np.unique(names))

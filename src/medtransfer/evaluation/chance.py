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
class Chance:
    """Variance of a mean over seeds.

    Attributes:
        patients: what other patients would change, the seeds fixed.
        freedom: its degrees of freedom.
        training: what another training would change: variance between the seeds' points ÷ number of seeds.
        seeds: their number; with one, ``training`` is not known and left out.
    """

    patients: float
    freedom: float
    training: float = 0.0
    seeds: int = 1

    @property
    def variance(self) -> float:
        """Both parts together."""
        return self.patients + self.training

    def reach(self, p: float) -> float:
        """Return how far from the mean a value is whose two-sided p is this.

        Each part of the variance has its own Student quantile, and the quantile of their sum is the mean of both,
        weighted by the parts (Cochran 1964, Biometrics 20). Satterthwaite's degrees of freedom decide more often,
        but are wrong too often with two seeds.
        """
        from scipy.special import stdtrit

        if not self.variance > 0:
            return 0.0
        quantile = -stdtrit(np.array([self.freedom, max(self.seeds - 1, 1)]), p / 2)
        return float(quantile @ [self.patients, self.training] / np.sqrt(self.variance))

    def bounds(self, mean: float, *, level: float, scale: Scale = DIFFERENCE) -> tuple[float, float]:
        """Return the interval around a mean, symmetric on a scale; NaN where the scale has no such point."""
        with np.errstate(divide="ignore", invalid="ignore"):
            at = np.array(mean, np.float64)
            middle, half = scale.to(at), scale.slope(at) * self.reach(1 - level)
            return float(scale.back(middle - half)), float(scale.back(middle + half))

    def p(self, mean: float) -> float:
        """Return the two-sided p of a difference against zero: where the interval begins to hold zero.

        Not below ``SMALLEST_P``; 1 without a difference, NaN where a difference has no variance.
        """
        from scipy.optimize import brentq

        if mean == 0:
            return 1.0
        if not self.variance > 0:
            return float("nan")
        if self.reach(SMALLEST_P) <= abs(mean):
            return SMALLEST_P
        return float(brentq(lambda p: self.reach(p) - abs(mean), SMALLEST_P, 1.0))


def chance(points: Floats, values: Floats, *, patients: tuple[int, ...], training: bool = True) -> Chance:
    """Return the chance in the mean of points ``[seeds]`` from patient resamples of them ``[seeds, draws]``.

    Args:
        points: one per seed.
        values: resamples; draws that leave one of them undefined do not count.
        patients: number by class. Every class counts with a variance in proportion to 1 ÷ its patients, which gives
            the degrees of freedom; resampling ``m`` patients shows ``(m − 1) ÷ m`` of their variance.
        training: whether the spread of the seeds counts.
    """
    means, few = values.mean(0), max(min(patients), 2)
    share = 1 / np.maximum(np.array(patients, np.float64), 2)
    freedom = float(share.sum() ** 2 / (share**3 / (1 - share)).sum())
    variance = float(np.nanvar(means, ddof=1)) * few / (few - 1) if (~np.isnan(means)).sum() > 1 else 0.0
    if not training or len(points) == 1:
        return Chance(variance, freedom)
    return Chance(variance, freedom, float(points.var(ddof=1)) / len(points), len(points))


def patients_by_class(target: ArrayLike, groups: ArrayLike) -> tuple[int, ...]:
    """Return how many patients have a row of each class that occurs, of targets and patients ``[rows]``."""
    classes, names = np.asarray(target), np.asarray(groups)
    return tuple(_distinct(names[classes == one]) for one in np.unique(classes)) or (0,)


def _distinct(names: NDArray[Any]) -> int:
    return len(np.unique(names))

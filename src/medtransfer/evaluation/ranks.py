"""Rank correlations of two lists of numbers, with permutation p-values."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.evaluation.checks import Floats, undefined, value_rows

_ENUMERATED = 7
"""Up to this many pairs all orders are tried (5,040); with more pairs ``_DRAWS`` random ones."""
_DRAWS = 1999


@dataclass(frozen=True)
class RankCorrelation:
    """A rank correlation, its number of pairs, and its two-sided permutation p; NaN where it has no value."""

    value: float
    pairs: int
    p: float


def rank_correlation(
    score: ArrayLike, gain: ArrayLike, *, kind: Literal["kendall", "spearman"] = "kendall"
) -> RankCorrelation:
    """Rank correlation of a score with the gain from fine-tuning: Kendall's τ-b or Spearman's ρ.

    p is the share of orders whose coefficient is at least as far from 0: of all orders up to seven pairs, else of
    random ones (Phipson & Smyth 2010); pairs are taken as exchangeable. With fewer than four pairs, or no spread, there
    is no value: NaN with a warning.

    Args:
        score: ``[pairs]``.
        gain: ``[pairs]``.
        kind: which coefficient.

    Raises:
        DataError: shapes differ or a number is not finite.
    """
    from scipy.stats import kendalltau, permutation_test, spearmanr

    a, b = value_rows(gain, score)
    if a.size < 4 or np.ptp(a) == 0 or np.ptp(b) == 0:
        few = f"there are {a.size} pairs, fewer than four"
        missing = undefined("rank correlation", few if a.size < 4 else "all scores or all gains are equal")
        return RankCorrelation(missing, a.size, missing)

    def coefficient(order: Floats) -> float:
        return float(kendalltau(order, b, method="asymptotic")[0] if kind == "kendall" else spearmanr(order, b)[0])

    test = permutation_test(
        (a,),
        lambda order: abs(coefficient(order)),
        permutation_type="pairings",
        alternative="greater",
        n_resamples=math.factorial(a.size) if a.size <= _ENUMERATED else _DRAWS,
        vectorized=False,
        rng=np.random.default_rng([0, a.size]),
    )
    return RankCorrelation(coefficient(a), a.size, float(test.pvalue))

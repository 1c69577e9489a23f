"""Do two lists of numbers rank alike? Rank correlations with permutation p-values."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.evaluation.checks import Floats, Ints, undefined, value_rows

_ENUMERATED = 7
"""Up to this many pairs all orders are tried (5,040); above, ``_DRAWS`` random ones."""
_DRAWS = 1999


@dataclass(frozen=True)
class RankCorrelation:
    """A rank correlation, the pairs it rests on, and its two-sided permutation p; NaN where it has no value."""

    value: float
    pairs: int
    p: float


def rank_correlation(
    score: ArrayLike, gain: ArrayLike, *, kind: Literal["kendall", "spearman"] = "kendall", seed: int = 0
) -> RankCorrelation:
    """Rank correlation of a score with the gain that fine-tuning brought: Kendall's τ-b or Spearman's ρ.

    p comes from all orders of the gains up to seven pairs, else from random ones (Phipson & Smyth 2010); pairs are
    taken as exchangeable. Below four pairs, or without any spread, there is no value: NaN with a warning.

    Args:
        score: ``[pairs]``.
        gain: ``[pairs]``.
        kind: which coefficient.
        seed: of the random orders.

    Raises:
        DataError: shapes differ or a number is not finite.
    """
    a, b = value_rows(gain, score)
    count = a.size
    if count < 4:
        missing = undefined("rank correlation", f"there are {count} pairs, fewer than four")
        return RankCorrelation(missing, count, missing)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        missing = undefined("rank correlation", "all scores or all gains are equal")
        return RankCorrelation(missing, count, missing)
    coefficient = _kendall(a, b) if kind == "kendall" else _spearman(a, b)
    value = coefficient(np.arange(count))
    exact = count <= _ENUMERATED
    orders = itertools.permutations(range(count)) if exact else _random_orders(count, seed)
    values = np.array([coefficient(np.asarray(order)) for order in orders])
    extreme = int((np.abs(values) >= abs(value) - 1e-12).sum())
    p = extreme / len(values) if exact else (1 + extreme) / (1 + len(values))
    return RankCorrelation(value, count, p)


def _kendall(a: Floats, b: Floats) -> Callable[[Ints], float]:
    """Return τ-b of ``a`` with ``b`` in any order."""
    left, right = (np.sign(values[:, None] - values) for values in (a, b))
    scale = math.sqrt((left**2).sum() * (right**2).sum())
    return lambda order: float((left * right[np.ix_(order, order)]).sum() / scale)


def _spearman(a: Floats, b: Floats) -> Callable[[Ints], float]:
    """Return ρ of ``a`` with ``b`` in any order: Pearson's correlation of midranks."""
    from scipy.stats import rankdata

    left, right = (rankdata(values) - (len(values) + 1) / 2 for values in (a, b))
    scale = math.sqrt((left**2).sum() * (right**2).sum())
    return lambda order: float(left @ right[order] / scale)


def _random_orders(count: int, seed: int) -> Iterator[Ints]:
    generator = np.random.default_rng([seed, count])
    return (generator.permutation(count) for _ in range(_DRAWS))

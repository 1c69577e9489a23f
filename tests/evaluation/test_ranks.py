"""Rank correlations: SciPy's coefficients, p-values of all orders counted by hand, and lists without a value."""

import itertools
import math

import numpy as np
import pytest
from scipy.stats import kendalltau, spearmanr

from medtransfer.evaluation.checks import UndefinedMetricWarning
from medtransfer.evaluation.ranks import rank_correlation


@pytest.mark.parametrize(("kind", "oracle"), [("kendall", kendalltau), ("spearman", spearmanr)])
@pytest.mark.parametrize("ties", [False, True])
def test_random_orders_come_close_to_the_asymptotic_p(kind, oracle, ties):
    rng = np.random.default_rng(5)
    score = rng.normal(size=40).round(0 if ties else 9)
    gain = (score + 2 * rng.normal(size=40)).round(0 if ties else 9)
    correlation, expected = rank_correlation(score, gain, kind=kind), oracle(score, gain)
    assert correlation.pairs == 40
    assert correlation.value == pytest.approx(expected.statistic, abs=1e-12)
    assert correlation.p == pytest.approx(expected.pvalue, abs=0.03)
    assert rank_correlation(score, gain, kind=kind) == correlation


def test_p_of_few_pairs_is_exact():
    score, gain = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [0.1, 0.3, 0.2, 0.5, 0.4, 0.9]
    correlation = rank_correlation(score, gain)
    assert correlation.p == pytest.approx(kendalltau(score, gain, method="exact").pvalue, abs=1e-12)
    assert rank_correlation([1, 2, 3, 4], [1, 2, 3, 4]).p == pytest.approx(2 / 24)


def test_p_of_tied_pairs_counts_the_orders_that_are_at_least_as_far_from_zero():
    score, gain = [1, 1, 2, 3, 5], [2, 1, 4, 4, 4]
    values = [spearmanr(score, order).statistic for order in itertools.permutations(gain)]
    correlation = rank_correlation(score, gain, kind="spearman")
    assert correlation.p == pytest.approx(np.mean(np.abs(values) >= abs(correlation.value) - 1e-9))
    assert 0.05 < correlation.p < 0.5


def test_a_rank_correlation_without_a_value_says_so():
    with pytest.warns(UndefinedMetricWarning, match="3 pairs, fewer than four"):
        correlation = rank_correlation([1, 2, 3], [1, 2, 3])
    assert math.isnan(correlation.value)
    assert math.isnan(correlation.p)
    assert correlation.pairs == 3
    with pytest.warns(UndefinedMetricWarning, match="all scores or all gains are equal"):
        assert math.isnan(rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]).value)

"""Metrics of values against R's numbers, scikit-learn and SciPy, with and without weights, and undefined cases."""

import math

import numpy as np
import pytest
import sklearn.metrics as oracle
from scipy.stats import pearsonr

from medtransfer.evaluation import values
from medtransfer.evaluation.checks import UndefinedMetricWarning


def weighted_correlation(target, score, weight):
    covariance = np.cov(target, score, aweights=weight)
    return covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])


@pytest.mark.parametrize("network", ["a", "b"])
def test_severity_metrics_equal_the_golden_numbers(golden, network):
    numbers = golden("severity_stats")
    pair = numbers["truth"], numbers[f"pred_{network}"]
    assert values.mean_squared_error(*pair) == pytest.approx(numbers[f"mse_{network}"], abs=1e-10)
    assert values.mean_absolute_error(*pair) == pytest.approx(numbers[f"mae_{network}"], abs=1e-10)
    assert values.pearson(*pair) == pytest.approx(numbers[f"cc_{network}"], abs=1e-10)
    assert values.r_squared(*pair) == pytest.approx(numbers[f"r2_{network}"], abs=1e-10)


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_metrics_of_values_equal_scikit_learn_and_scipy(weighted, offset):
    rng = np.random.default_rng(0)
    target, weight = rng.normal(size=50) + offset, rng.gamma(0.5, size=50)
    score = target + rng.normal(size=50)
    close = {"rel": 1e-9, "abs": 1e-9}
    for own, theirs in (
        (values.mean_squared_error, oracle.mean_squared_error),
        (values.mean_absolute_error, oracle.mean_absolute_error),
        (values.r_squared, oracle.r2_score),
    ):
        assert own(target, score) == pytest.approx(theirs(target, score), **close)
        expected = theirs(target, score, sample_weight=weight)
        assert weighted(own, target, score, weight) == pytest.approx(expected, **close)
        assert own(target, score) != pytest.approx(expected, abs=1e-6)
    assert values.pearson(target, score) == pytest.approx(pearsonr(target, score).statistic, **close)
    expected = weighted_correlation(target, score, weight)
    assert weighted(values.pearson, target, score, weight) == pytest.approx(expected, **close)
    assert values.pearson(target, score) != pytest.approx(expected, abs=1e-6)


def test_r_squared_is_not_the_squared_correlation(golden):
    numbers = golden("severity_stats")
    pair = numbers["truth"], numbers["pred_a"]
    assert values.pearson(*pair) ** 2 == pytest.approx(numbers["r2_a_as_squared_cc"], abs=1e-10)
    assert values.pearson(*pair) ** 2 > values.r_squared(*pair) + 0.02


@pytest.mark.parametrize(
    ("metric", "target", "score", "reason"),
    [
        (values.pearson, [1, 2], [3, 3], "correlation is undefined: target or prediction has no spread"),
        (values.pearson, [0.1, 0.1, 0.1], [1, 2, 3], "has no spread"),
        (values.pearson, [], [], "has no spread"),
        (values.r_squared, [1, 1], [1, 2], "r squared is undefined: the target has no spread"),
        (values.r_squared, [0.1, 0.1, 0.1], [1, 2, 3], "the target has no spread"),
        (values.r_squared, [3], [1], "the target has no spread"),
        (values.mean_squared_error, [], [], "mse is undefined: there is no row"),
        (values.mean_absolute_error, [], [], "mae is undefined: there is no row"),
    ],
)
def test_an_undefined_metric_is_nan_and_says_why(metric, target, score, reason):
    with pytest.warns(UndefinedMetricWarning, match=reason):
        assert math.isnan(metric(target, score))


@pytest.mark.parametrize("copies", range(2, 12))
def test_rounding_is_no_spread_where_all_rows_that_weigh_are_equal(weighted, copies):
    target, score = np.append(np.full(copies, 0.1), [0.7, 1.9]), np.arange(copies + 2.0)
    weight = np.append(np.ones(copies), [0, 0])
    assert math.isnan(weighted(values.r_squared, target, score, weight))
    assert math.isnan(weighted(values.pearson, target, score, weight))

"""Value metrics against R's numbers, and the table of names."""

import math

import numpy as np
import pytest

from medtransfer.evaluation import metrics
from medtransfer.evaluation.checks import UndefinedMetricWarning


@pytest.mark.parametrize("network", ["a", "b"])
def test_severity_metrics_equal_the_golden_numbers(golden, network):
    numbers = golden("severity_stats")
    pair = numbers["truth"], numbers[f"pred_{network}"]
    assert metrics.mean_squared_error(*pair) == pytest.approx(numbers[f"mse_{network}"], abs=1e-10)
    assert metrics.mean_absolute_error(*pair) == pytest.approx(numbers[f"mae_{network}"], abs=1e-10)
    assert metrics.pearson(*pair) == pytest.approx(numbers[f"cc_{network}"], abs=1e-10)
    assert metrics.r_squared(*pair) == pytest.approx(numbers[f"r2_{network}"], abs=1e-10)


def test_r_squared_is_not_the_squared_correlation(golden):
    numbers = golden("severity_stats")
    pair = numbers["truth"], numbers["pred_a"]
    assert metrics.pearson(*pair) ** 2 == pytest.approx(numbers["r2_a_as_squared_cc"], abs=1e-10)
    assert metrics.pearson(*pair) ** 2 > metrics.r_squared(*pair) + 0.02


@pytest.mark.parametrize(
    ("metric", "target", "score", "reason"),
    [
        (metrics.pearson, [1, 2], [3, 3], "has no spread"),
        (metrics.r_squared, [1, 1], [1, 2], "the target has no spread"),
        (metrics.mean_squared_error, [], [], "there is no row"),
        (metrics.mean_absolute_error, [], [], "there is no row"),
    ],
)
def test_an_undefined_metric_is_nan_and_says_why(metric, target, score, reason):
    with pytest.warns(UndefinedMetricWarning, match=reason):
        assert math.isnan(metric(target, score))


def test_every_name_gives_the_better_value_to_the_better_prediction():
    rng = np.random.default_rng(0)
    for name, metric in metrics.METRICS.items():
        classes = 8 if name.startswith(("macro", "top")) else 2
        target = np.arange(160) % classes
        one_hot = np.eye(classes)[target]
        noise = rng.dirichlet(np.ones(classes), 160)
        good, bad = 0.9 * one_hot + 0.1 * noise, noise
        if classes == 2:
            good, bad = good[:, 1], bad[:, 1]
        better, worse = metric(target, good), metric(target, bad)
        assert (better > worse) is metrics.HIGHER_IS_BETTER[name], name

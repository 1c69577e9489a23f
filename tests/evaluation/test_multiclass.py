"""Class metrics against scikit-learn and their undefined cases."""

import math
from functools import partial

import numpy as np
import pytest
import sklearn.metrics as oracle

from medtransfer.errors import DataError
from medtransfer.evaluation import multiclass
from medtransfer.evaluation.checks import UndefinedMetricWarning


def class_rows(seed, rows=80, classes=4, digits=1):
    rng = np.random.default_rng(seed)
    target = np.append(np.arange(classes), rng.integers(0, classes, rows - classes))
    return target, np.round(rng.dirichlet(np.ones(classes), rows) + 0.3 * np.eye(classes)[target], digits)


@pytest.mark.parametrize("seed", range(5))
def test_macro_metrics_equal_scikit_learn_on_tied_scores(seed):
    target, score = class_rows(seed)
    one_hot, won = np.eye(4)[target], score.argmax(1)
    assert multiclass.macro_auroc(target, score) == pytest.approx(oracle.roc_auc_score(one_hot, score, average="macro"))
    assert multiclass.macro_auprc(target, score) == pytest.approx(oracle.average_precision_score(one_hot, score))
    assert multiclass.macro_f1(target, score) == pytest.approx(oracle.f1_score(target, won, average="macro"))
    assert multiclass.top_1_accuracy(target, score) == pytest.approx(oracle.accuracy_score(target, won))
    assert multiclass.squared_error(target, score) == pytest.approx(oracle.mean_squared_error(one_hot, score))


@pytest.mark.parametrize("seed", range(3))
def test_weighted_macro_metrics_equal_scikit_learn(weighted, seed):
    target, score = class_rows(seed)
    one_hot, won, weight = np.eye(4)[target], score.argmax(1), np.random.default_rng(seed).gamma(0.3, size=80)
    for own, theirs, arguments in (
        (multiclass.macro_auroc, oracle.roc_auc_score, (one_hot, score)),
        (multiclass.macro_auprc, oracle.average_precision_score, (one_hot, score)),
        (multiclass.macro_f1, partial(oracle.f1_score, average="macro"), (target, won)),
        (multiclass.top_1_accuracy, oracle.accuracy_score, (target, won)),
        (multiclass.squared_error, oracle.mean_squared_error, (one_hot, score)),
    ):
        expected = theirs(*arguments, sample_weight=weight)
        assert weighted(own, target, score, weight) == pytest.approx(expected, abs=1e-12)
        assert own(target, score) != pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("metric", "k"), [(multiclass.top_1_accuracy, 1), (multiclass.top_5_accuracy, 5)])
def test_top_k_accuracy_equals_a_sort_with_the_earlier_class_first(metric, k):
    target, score = np.arange(80) % 8, np.round(np.random.default_rng(4).random((80, 8)), 1)
    order = np.argsort(-score, axis=1, kind="stable")[:, :k]
    assert metric(target, score) == np.mean([t in row for t, row in zip(target, order, strict=True)])
    assert metric(target, score) < 1


def test_confidence_calibration_error_equals_a_loop_over_its_bins():
    target, score = class_rows(1, digits=3)
    score = score / score.sum(1, keepdims=True)
    confidence, right = score.max(1), score.argmax(1) == target
    total = 0.0
    for index in range(15):
        inside = (confidence > index / 15) & (confidence <= (index + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert multiclass.confidence_calibration_error(target, score) == pytest.approx(total, abs=1e-12)


def test_metrics_do_not_depend_on_row_order_or_class_names():
    target, score = class_rows(3, digits=6)
    rows, classes = np.random.default_rng(0).permutation(80), np.array([2, 0, 3, 1])
    for metric in (multiclass.macro_auroc, multiclass.macro_auprc, multiclass.macro_f1, multiclass.top_1_accuracy):
        renamed = metric(np.argsort(classes)[target][rows], score[:, classes][rows])
        assert renamed == pytest.approx(metric(target, score), abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "target", "score", "reason"),
    [
        (multiclass.macro_auroc, [0, 1], np.eye(3)[[0, 1]], "class 2 has no row"),
        (multiclass.macro_auprc, [], np.zeros((0, 3)), "class 0 has no row"),
        (multiclass.macro_f1, [0, 1], np.eye(3)[[0, 1]], "class 2 has no row and is never predicted"),
        (multiclass.top_1_accuracy, [], np.zeros((0, 3)), "there is no row"),
        (multiclass.squared_error, [], np.zeros((0, 3)), "there is no row"),
        (multiclass.confidence_calibration_error, [], np.zeros((0, 3)), "there is no row"),
    ],
)
def test_an_undefined_metric_is_nan_and_says_why(metric, target, score, reason):
    with pytest.warns(UndefinedMetricWarning, match=reason):
        assert math.isnan(metric(target, score))


@pytest.mark.parametrize(
    ("target", "score", "message"),
    [
        ([0, 3], np.zeros((2, 3)), "target at row 1 is 3: expected a class number from 0 to 2"),
        ([0, 0.5], np.zeros((2, 3)), "target at row 1 is 0.5"),
        ([0, 1], np.zeros((2, 1)), "at least two classes"),
        ([0], np.zeros((2, 3)), r"target has shape \(1,\) and score \(2, 3\)"),
        ([0, 1], [[0, 1], [np.inf, 0]], "score at row 1 is not finite"),
    ],
)
def test_wrong_rows_are_named(target, score, message):
    with pytest.raises(DataError, match=message):
        multiclass.macro_auroc(target, score)

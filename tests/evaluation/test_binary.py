"""Two-class metrics against scikit-learn, golden numbers, invariances and undefined cases."""

import itertools
import math

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medtransfer.errors import DataError
from medtransfer.evaluation import binary
from medtransfer.evaluation.checks import UndefinedMetricWarning


def tied_rows(seed, rows=60, levels=7):
    rng = np.random.default_rng(seed)
    target = np.append([0, 1], rng.integers(0, 2, rows - 2))
    return target, rng.integers(0, levels, rows) / levels


def trapezoid(target, score, **options):
    precision, recall, _ = oracle.precision_recall_curve(target, score, **options)
    return oracle.auc(recall, precision)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("levels", [2, 7, 100_000])
@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        (binary.auroc, oracle.roc_auc_score),
        (binary.average_precision, oracle.average_precision_score),
        (binary.auprc_trapezoid, trapezoid),
        (binary.brier, oracle.brier_score_loss),
    ],
)
def test_ranking_metrics_equal_scikit_learn_with_and_without_ties(seed, levels, own, theirs):
    target, score = tied_rows(seed, levels=levels)
    assert own(target, score) == pytest.approx(theirs(target, score), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("threshold", [1 / 7, 0.5, 5 / 7])
def test_threshold_metrics_equal_scikit_learn(seed, threshold):
    target, score = tied_rows(seed)
    called = (score >= threshold).astype(int)
    at = {"threshold": threshold}
    assert binary.f1(target, score, **at) == pytest.approx(oracle.f1_score(target, called))
    assert binary.f1_negative(target, score, **at) == pytest.approx(oracle.f1_score(target, called, pos_label=0))
    assert binary.accuracy(target, score, **at) == pytest.approx(oracle.accuracy_score(target, called))
    assert binary.sensitivity(target, score, **at) == pytest.approx(oracle.recall_score(target, called))
    assert binary.specificity(target, score, **at) == pytest.approx(oracle.recall_score(target, called, pos_label=0))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("levels", [2, 7, 100_000])
def test_weighted_ranking_metrics_equal_scikit_learn(weighted, seed, levels):
    target, score = tied_rows(seed, levels=levels)
    weight = np.random.default_rng(seed).gamma(0.3, size=60) * np.append([1, 1], np.arange(58) % 5 > 0)
    for own, theirs in (
        (binary.auroc, oracle.roc_auc_score),
        (binary.average_precision, oracle.average_precision_score),
        (binary.auprc_trapezoid, trapezoid),
        (binary.brier, oracle.brier_score_loss),
    ):
        expected = theirs(target, score, sample_weight=weight)
        assert weighted(own, target, score, weight) == pytest.approx(expected, abs=1e-12)
        assert own(target, score) != pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_weighted_threshold_metrics_equal_scikit_learn(weighted, seed):
    target, score = tied_rows(seed)
    weight, called = np.random.default_rng(seed).gamma(0.3, size=60), (score >= 0.5).astype(int)
    for own, theirs, label in (
        (binary.f1, oracle.f1_score, {"pos_label": 1}),
        (binary.f1_negative, oracle.f1_score, {"pos_label": 0}),
        (binary.accuracy, oracle.accuracy_score, {}),
        (binary.sensitivity, oracle.recall_score, {"pos_label": 1}),
        (binary.specificity, oracle.recall_score, {"pos_label": 0}),
    ):
        expected = theirs(target, called, sample_weight=weight, **label)
        assert weighted(own, target, score, weight) == pytest.approx(expected, abs=1e-12)
        assert own(target, score) != pytest.approx(expected, abs=1e-6)


def test_a_ratio_of_classes_weighs_the_negatives():
    target, score = tied_rows(0)
    weight = np.where(target == 1, 1.0, 16 * (target == 1).sum() / (target == 0).sum())
    area = binary.auprc_trapezoid(target, score, negatives=16)
    assert area == pytest.approx(trapezoid(target, score, sample_weight=weight), abs=1e-12)
    for one_class, reason in (([1, 1], "there is no negative row"), ([0, 0], "there is no positive row")):
        with pytest.warns(UndefinedMetricWarning, match=reason):
            assert math.isnan(binary.auprc_trapezoid(one_class, [0.1, 0.2], negatives=16))


def test_auroc_equals_the_share_of_ordered_pairs():
    target, score = tied_rows(3)
    pairs = list(itertools.product(score[target == 1], score[target == 0]))
    assert binary.auroc(target, score) == pytest.approx(np.mean([(p > n) + 0.5 * (p == n) for p, n in pairs]))


def test_calibration_error_equals_a_loop_over_its_bins():
    target, score = tied_rows(1, rows=90, levels=40)
    score[:3] = [0.0, 1.0, 2 / 15]
    total = 0.0
    for index in range(15):
        low, high = index / 15, (index + 1) / 15
        inside = [i for i, s in enumerate(score) if low < s <= high or (index == 0 and s == 0)]
        if inside:
            total += len(inside) / 90 * abs(np.mean(target[inside]) - np.mean(score[inside]))
    assert binary.expected_calibration_error(target, score) == pytest.approx(total, abs=1e-12)


def ranked(ranks):
    target = np.zeros(1000, int)
    target[np.array(ranks) - 1] = 1
    return target, np.arange(1000, 0, -1.0)


def three_areas(target, score):
    return [f(target, score) for f in (binary.auroc, binary.average_precision, binary.auprc_trapezoid)]


@pytest.mark.parametrize("case", ["CA", "CB"])
def test_average_precision_and_trapezoid_differ_as_in_the_example_of_peng(golden, case):
    expected = golden("auprc_example")[case]
    top = expected["top"]
    tied = np.zeros(1000)
    tied[:top] = 1
    assert three_areas(*ranked(expected["evenly_spaced_ranks"])) == pytest.approx(expected["evenly_spaced"], abs=1e-9)
    assert three_areas(*ranked(range(top - 9, top + 1))) == pytest.approx(expected["worst_placement"], abs=1e-9)
    assert three_areas(ranked(range(1, 11))[0], tied) == pytest.approx(expected["all_tied_inside_top"], abs=1e-9)


def test_all_placements_of_the_example_have_the_golden_mean_and_extremes(golden):
    expected = golden("auprc_example")["CA"]
    placements = list(itertools.combinations(range(1, 13), 10))
    areas = np.array([three_areas(*ranked(ranks)) for ranks in placements])
    assert len(areas) == expected["placements"]
    assert areas.mean(0) == pytest.approx(expected["all_placements"]["mean"], abs=1e-9)
    assert areas.min(0) == pytest.approx(expected["all_placements"]["min"], abs=1e-9)
    assert areas.max(0) == pytest.approx(expected["all_placements"]["max"], abs=1e-9)


rows = st.integers(2, 30).flatmap(
    lambda n: st.tuples(
        hnp.arrays(np.int64, n, elements=st.integers(0, 1)).filter(lambda t: 0 < t.sum() < t.size),
        hnp.arrays(np.int64, n, elements=st.integers(-8, 8)),
        st.permutations(range(n)),
    )
)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_areas_ignore_monotone_rescaling_and_row_order(drawn):
    target, score, order = drawn
    order = list(order)
    for area in (binary.auroc, binary.average_precision, binary.auprc_trapezoid):
        value = area(target, score)
        assert area(target, np.exp(score / 3.0)) == value
        assert area(target[order], score[order]) == value
        assert 0 <= value <= 1


@settings(max_examples=60, deadline=None)
@given(rows)
def test_turning_scores_or_labels_around_turns_auroc_around(drawn):
    target, score, _ = drawn
    value = binary.auroc(target, score)
    assert binary.auroc(target, -score) == pytest.approx(1 - value, abs=1e-12)
    assert binary.auroc(1 - target, score) == pytest.approx(1 - value, abs=1e-12)


@pytest.mark.parametrize(
    ("metric", "target", "reason"),
    [
        (binary.auroc, [1, 1], "auroc is undefined: there is no negative row"),
        (binary.auroc, [0, 0], "auroc is undefined: there is no positive row"),
        (binary.auroc, [], "auroc is undefined: there is no row"),
        (binary.average_precision, [0, 0], "average precision is undefined: there is no positive row"),
        (binary.auprc_trapezoid, [], "auprc is undefined: there is no positive row"),
        (binary.sensitivity, [0, 0], "sensitivity is undefined: there is no positive row"),
        (binary.specificity, [1, 1], "specificity is undefined: there is no negative row"),
        (binary.accuracy, [], "accuracy is undefined: there is no row"),
        (binary.brier, [], "brier score is undefined: there is no row"),
        (binary.expected_calibration_error, [], "calibration error is undefined: there is no row"),
        (binary.f1, [0, 0], "f1 is undefined: no row is positive or called positive"),
        (binary.f1_negative, [], "f1 is undefined: no row is negative or called negative"),
    ],
)
def test_an_undefined_metric_is_nan_and_says_why(metric, target, reason):
    with pytest.warns(UndefinedMetricWarning, match=reason):
        assert math.isnan(metric(target, [0.2] * len(target)))


def test_missing_every_positive_is_an_f1_of_zero_and_not_undefined():
    assert binary.f1([1, 0], [0.1, 0.2]) == 0


@pytest.mark.parametrize(
    ("target", "score", "message"),
    [
        ([0, 2], [0.1, 0.2], "target at row 1 is 2: a two-class metric expects 0 or 1"),
        ([0, np.nan], [0.1, 0.2], "target at row 1 is not finite"),
        ([0, 1], [0.1, np.nan], "score at row 1 is not finite"),
        ([0, 1], [0.1], r"target has shape \(2,\) and score \(1,\)"),
        ([[0, 1]], [[0.1, 0.2]], "expected two vectors of one length"),
    ],
)
def test_wrong_rows_are_named(target, score, message):
    with pytest.raises(DataError, match=message):
        binary.auroc(target, score)

"""DeLong against pROC and pair loops, the t-test against R, Holm's correction against its definition."""

import math
from statistics import NormalDist

import numpy as np
import pytest

from medtransfer.errors import DataError
from medtransfer.evaluation import compare
from medtransfer.evaluation.binary import auroc
from medtransfer.evaluation.checks import UndefinedMetricWarning


@pytest.mark.parametrize("case", ["A", "B", "C"])
def test_delong_equals_proc(golden, case):
    gold = golden("delong")["cases"][case]
    label, a, b = gold["label"], gold["score_a"], gold["score_b"]
    areas, covariance = compare.delong_covariance(label, [a, b])
    assert areas == pytest.approx([gold["auc_a"], gold["auc_b"]], abs=1e-10)
    expected = [[gold["var_a"], gold["cov_ab"]], [gold["cov_ab"], gold["var_b"]]]
    assert covariance == pytest.approx(np.array(expected), abs=1e-10)
    for score, bounds in ((a, gold["ci95_a"]), (b, gold["ci95_b"])):
        interval = compare.delong_interval(label, score)
        assert (interval.low, interval.high) == pytest.approx(bounds, abs=1e-10)
    test = compare.delong_test(label, a, b)
    assert (test.z, test.p) == pytest.approx((gold["paired_z"], gold["paired_p"]), abs=1e-10)


def pairwise(label, score):
    """Structural components by explicit loops over pairs (DeLong 1988, Eq. 3)."""
    positives = [s for t, s in zip(label, score, strict=True) if t]
    negatives = [s for t, s in zip(label, score, strict=True) if not t]
    kernel = [[1.0 if p > n else 0.5 if p == n else 0.0 for n in negatives] for p in positives]
    return np.mean(kernel, axis=1), np.mean(kernel, axis=0)


@pytest.mark.parametrize("seed", range(5))
def test_sorting_equals_the_loop_over_pairs(seed):
    rng = np.random.default_rng(seed)
    label = np.append([0, 0, 1, 1], rng.integers(0, 2, 40))
    scores = np.round(rng.normal(size=(3, 44)) + label, seed % 3)
    uppers, lowers = zip(*(pairwise(label, score) for score in scores), strict=True)
    expected = np.cov(uppers) / label.sum() + np.cov(lowers) / (1 - label).sum()
    areas, covariance = compare.delong_covariance(label, scores)
    assert covariance == pytest.approx(expected, abs=1e-14)
    assert areas == pytest.approx([auroc(label, score) for score in scores], abs=1e-14)


def clustered(label, a, b, groups):
    """Obuchowski 1997, Eq. 3 to 6, written out for the difference of two predictors."""
    upper, lower = (np.subtract(*pair) for pair in zip(pairwise(label, a), pairwise(label, b), strict=True))
    patients, area = sorted(set(groups)), upper.mean()
    of = {1: groups[label == 1], 0: groups[label == 0]}
    ill, well = len(set(of[1])), len(set(of[0]))
    sums = [(sum(upper[of[1] == p] - area), sum(lower[of[0] == p] - area)) for p in patients]
    s10 = ill / ((ill - 1) * len(upper)) * sum(x**2 for x, _ in sums)
    s01 = well / ((well - 1) * len(lower)) * sum(y**2 for _, y in sums)
    s11 = len(patients) / (len(patients) - 1) * sum(x * y for x, y in sums)
    return s10 / len(upper) + s01 / len(lower) + 2 * s11 / (len(upper) * len(lower))


@pytest.mark.parametrize("seed", range(4))
def test_the_variance_over_patients_equals_its_formula_written_out(seed):
    rng = np.random.default_rng(seed)
    groups, label = rng.integers(0, 15, 60), rng.integers(0, 2, 60)
    a, b = np.round(rng.normal(size=(2, 60)) + label, 1)
    assert compare.delong_test(label, a, b, groups).variance == pytest.approx(clustered(label, a, b, groups), rel=1e-12)


def test_one_row_per_patient_is_delongs_test(golden):
    gold = golden("delong")["cases"]["B"]
    rows = gold["label"], gold["score_a"], gold["score_b"]
    alone = compare.delong_test(*rows, groups=np.arange(len(gold["label"])))
    assert alone.p == pytest.approx(compare.delong_test(*rows).p, rel=1e-12)


def test_copies_of_a_patients_rows_are_no_new_evidence(golden):
    gold = golden("delong")["cases"]["B"]
    rows = [np.tile(gold[name], 3) for name in ("label", "score_a", "score_b")]
    patients = np.tile(np.arange(len(gold["label"])), 3)
    once = compare.delong_test(gold["label"], gold["score_a"], gold["score_b"])
    assert compare.delong_test(*rows, patients).variance == pytest.approx(once.variance, rel=1e-12)
    assert compare.delong_test(*rows).variance < 0.4 * once.variance


def test_patients_of_the_wrong_length_are_refused():
    with pytest.raises(DataError, match=r"groups has shape \(3,\), expected \(4,\): pass one patient per row"):
        compare.delong_test([0, 0, 1, 1], [1, 2, 3, 4], [1, 3, 2, 4], groups=[0, 1, 2])


@pytest.mark.filterwarnings("ignore:DeLong's test is undefined")
def test_a_class_of_one_patient_has_no_variance():
    with pytest.warns(UndefinedMetricWarning, match="a class has fewer than two patients"):
        test = compare.delong_test([0, 0, 1, 1], [1, 4, 3, 5], [1, 2, 3, 4], groups=["a", "b", "c", "c"])
    assert math.isnan(test.p)


def test_the_test_turns_its_sign_when_the_predictors_change_places(golden):
    gold = golden("delong")["cases"]["A"]
    forth = compare.delong_test(gold["label"], gold["score_a"], gold["score_b"])
    back = compare.delong_test(gold["label"], gold["score_b"], gold["score_a"])
    assert forth.z > 0
    assert (back.z, back.p, back.difference) == (-forth.z, forth.p, -forth.difference)


def test_a_predictor_against_a_rescaling_of_itself_has_p_one():
    label, score = [0, 0, 1, 1, 0, 1], np.array([0.1, 0.4, 0.3, 0.8, 0.2, 0.9])
    test = compare.delong_test(label, score, np.exp(score))
    assert (test.difference, test.variance, test.z, test.p) == (0, 0, 0, 1)


def test_two_perfect_predictors_have_p_one_and_an_interval_at_one():
    label, score = [0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9]
    assert compare.delong_test(label, score, [0.2, 0.1, 0.7, 0.9]).p == 1
    interval = compare.delong_interval(label, score)
    assert (interval.value, interval.low, interval.high) == (1, 1, 1)


def test_a_difference_without_variance_has_no_p_and_says_why():
    with pytest.warns(UndefinedMetricWarning, match="the difference has no variance"):
        test = compare.delong_test([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], [0.9, 0.8, 0.2, 0.1])
    assert test.difference == 1
    assert math.isnan(test.p)


@pytest.mark.filterwarnings("ignore:DeLong's test")
def test_one_row_of_a_class_has_an_auroc_but_no_variance():
    with pytest.warns(UndefinedMetricWarning, match="a class has fewer than two rows"):
        test = compare.delong_test([1, 0, 0], [0.9, 0.1, 0.2], [0.1, 0.9, 0.2])
    assert (test.auroc_a, test.auroc_b) == (1, 0)
    assert math.isnan(test.p)


@pytest.mark.filterwarnings("ignore:variance of auroc")
def test_one_class_alone_has_no_auroc():
    with pytest.warns(UndefinedMetricWarning, match="auroc is undefined: the rows hold a single class"):
        interval = compare.delong_interval([1, 1], [0.1, 0.2])
    assert math.isnan(interval.value)
    assert math.isnan(interval.low)


@pytest.mark.parametrize("case", ["A", "C"])
def test_smallest_detectable_difference_is_found_with_the_promised_power(golden, case):
    gold = golden("delong")["cases"][case]
    smallest = compare.smallest_detectable_difference(gold["label"], gold["score_a"], gold["score_b"], power=0.7)
    error = math.sqrt(gold["var_a"] + gold["var_b"] - 2 * gold["cov_ab"])
    critical = NormalDist().inv_cdf(0.975)
    assert 1 - NormalDist(smallest / error).cdf(critical) == pytest.approx(0.7, abs=1e-9)


def test_paired_t_test_on_squared_errors_equals_r(golden):
    numbers = golden("severity_stats")
    errors = [np.subtract(numbers[f"pred_{network}"], numbers["truth"]) ** 2 for network in "ab"]
    test = compare.paired_t_test(*errors)
    assert test.freedom == numbers["paired_df"]
    assert (test.statistic, test.p) == pytest.approx((numbers["paired_t"], numbers["paired_p"]), abs=1e-10)
    assert test.difference == pytest.approx(numbers["mse_a"] - numbers["mse_b"], abs=1e-10)


def test_paired_t_test_without_spread_is_decided_by_the_difference():
    assert compare.paired_t_test([1, 2], [1, 2]).p == 1
    with pytest.warns(UndefinedMetricWarning, match="all differences are equal"):
        assert math.isnan(compare.paired_t_test([2, 3], [1, 2]).p)
    with pytest.warns(UndefinedMetricWarning, match="fewer than two pairs"):
        assert math.isnan(compare.paired_t_test([2], [1]).p)


def test_holm_equals_an_example_worked_by_hand():
    assert compare.holm([0.01, 0.04, 0.03, 0.005, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.5])


def test_holm_equals_its_definition():
    p = np.round(np.random.default_rng(0).random(12) ** 3, 3)
    ordered = sorted(p)
    holm = {q: max(min(1, (12 - j) * ordered[j]) for j in range(ordered.index(q) + 1)) for q in ordered}
    assert compare.holm(p) == pytest.approx([holm[q] for q in p])


def test_an_undefined_p_value_stays_undefined_and_is_no_test():
    adjusted = compare.holm([0.02, np.nan, 0.03])
    assert np.isnan(adjusted[1])
    assert adjusted[[0, 2]] == pytest.approx(compare.holm([0.02, 0.03]))


def test_a_p_value_outside_zero_and_one_is_refused():
    with pytest.raises(DataError, match=r"p-value 1\.2 expected between 0 and 1"):
        compare.holm([0.1, 1.2])

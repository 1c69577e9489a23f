"""Bootstrap against its slow twin, patients as clusters, seeds × patients, closed-form intervals."""

import math

import numpy as np
import pytest
from scipy.stats import t

from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation import intervals
from medtransfer.evaluation.chance import chance, patients_by_class
from medtransfer.evaluation.checks import UndefinedMetricWarning
from medtransfer.evaluation.metrics import METRICS
from medtransfer.evaluation.summary import AUROC, patient_interval

BINARY = [
    *("auroc", "auprc", "auprc_trapezoid", "brier", "ece"),
    *("f1", "f1_negative", "accuracy", "sensitivity", "specificity"),
]
VALUES = ["mse", "mae", "pearson", "r2"]
CLASSES = ["macro_auroc", "macro_auprc", "macro_f1", "top_1", "top_5", "macro_ece", "macro_mse"]


def rows(name, seed=0, count=70):
    """Tied scores, images in mixed order, one to four a patient."""
    rng = np.random.default_rng(seed)
    groups = np.array([f"p{i}" for i in rng.integers(0, 30, count)])
    if name in CLASSES:
        target = np.append(np.arange(3), rng.integers(0, 3, count - 3))
        return target, np.round(rng.dirichlet(np.ones(3), count) * 0.7 + 0.3 * np.eye(3)[target], 2), groups
    if name in VALUES:
        target = rng.integers(0, 7, count).astype(float)
        return target, target + rng.normal(0, 1, count), groups
    target = np.append([0, 1], rng.integers(0, 2, count - 2))
    return target, np.round(rng.random(count) * 0.7 + 0.3 * target, 1), groups


def counts_of(strata):
    return np.concatenate(list(intervals.patient_counts(strata, draws=40, seed=3)), axis=1).astype(int)


@pytest.mark.filterwarnings("ignore::medtransfer.evaluation.checks.UndefinedMetricWarning")
@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("count", [6, 70])
def test_every_resampled_metric_equals_its_slow_twin_with_the_same_draws(name, count):
    target, score, groups = rows(name, count=count)
    fast = intervals.resample([name], target, score[None], groups, draws=40, seed=3, thresholds=[0.5])[name][0]
    names, position = np.unique(groups, return_inverse=True)
    counts = counts_of(np.zeros(len(names), int))
    for draw in range(40):
        again = np.repeat(np.arange(count), counts[position, draw])
        slow = intervals.evaluate(name, target[again], score[again], 0.5)
        assert fast[draw] == pytest.approx(slow, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", [*BINARY, "mse"])
def test_weighting_by_a_whole_factor_equals_repeating_rows(name):
    target = np.repeat([1.0, 0.0], [12, 18])
    score = np.round(np.random.default_rng(0).random(30) * 0.7 + 0.3 * target, 1)
    balanced = intervals.at_balance([name], target, np.stack([score, 1 - score]), thresholds=[0.5, 0.4], negatives=6)[
        name
    ]
    again = np.repeat(np.arange(30), np.where(target == 1, 1, 4))
    assert (target[again] == 0).sum() == 6 * (target[again] == 1).sum()
    slow = [intervals.evaluate(name, target[again], s[again], t) for s, t in ((score, 0.5), (1 - score, 0.4))]
    assert balanced == pytest.approx(slow, abs=1e-12)


@pytest.mark.parametrize("name", BINARY)
def test_every_draw_is_weighted_to_the_balance(name):
    target, score, groups = rows(name, count=40)
    options = {"thresholds": [0.5], "negatives": 16.0}
    fast = intervals.resample([name], target, score[None], groups, draws=40, seed=3, **options)[name][0]
    names, position = np.unique(groups, return_inverse=True)
    counts = counts_of(np.zeros(len(names), int))
    for draw in range(40):
        again = np.repeat(np.arange(40), counts[position, draw])
        slow = intervals.at_balance([name], target[again], score[again][None], **options)[name][0]
        assert fast[draw] == pytest.approx(slow, abs=1e-12, nan_ok=True)


def test_average_precision_at_a_balance_is_that_of_weighted_rows():
    from sklearn.metrics import average_precision_score

    target, score, _ = rows("auprc")
    weight = np.where(target == 1, 1.0, 16 * (target == 1).sum() / (target == 0).sum())
    balanced = intervals.at_balance(["auprc", "auroc"], target, score[None], thresholds=[0.5], negatives=16)
    assert balanced["auprc"][0] == pytest.approx(average_precision_score(target, score, sample_weight=weight))
    assert balanced["auroc"][0] == pytest.approx(intervals.evaluate("auroc", target, score, 0.5))


def test_a_balance_needs_both_classes():
    for target in ([1, 1], [0, 0], []):
        scores = np.full((1, len(target)), 0.3)
        balanced = intervals.at_balance(["auprc", "accuracy"], target, scores, thresholds=[0.5], negatives=16)
        assert np.isnan([*balanced["auprc"], *balanced["accuracy"]]).all()


def test_the_small_sample_above_really_meets_undefined_draws():
    target, score, groups = rows("auroc", count=6)
    values = intervals.resample(["auroc"], target, score[None], groups, draws=40, seed=3, thresholds=[0.5])["auroc"]
    assert np.isnan(values).any()
    assert not np.isnan(values).all()


def test_the_table_of_metrics_is_covered():
    assert set(BINARY) | set(VALUES) | set(CLASSES) == set(METRICS)


def test_draws_take_as_many_patients_as_there_are_and_do_not_depend_on_the_pieces(monkeypatch):
    counts = np.concatenate(list(intervals.patient_counts(np.zeros(50, int), draws=200, seed=1)), axis=1)
    monkeypatch.setattr(intervals, "_CELLS", 350)
    pieces = list(intervals.patient_counts(np.zeros(50, int), draws=200, seed=1))
    assert len(pieces) > 1
    assert np.array_equal(np.concatenate(pieces, axis=1), counts)
    assert (counts.sum(0) == 50).all()
    assert counts.mean(1) == pytest.approx(np.ones(50), abs=0.3)


def test_patients_of_each_class_are_drawn_apart_and_no_draw_lacks_a_class():
    target, score, groups = [0, 0, 0, 0, 1, 1, 0], np.linspace(0, 1, 7), ["a", "a", "b", "c", "d", "e", "e"]
    strata = intervals.patient_strata(target, groups, ["a", "b", "c", "d", "e", "unseen"])
    assert list(strata) == [0, 0, 0, 1, 0, 0]
    counts = counts_of(np.array([0, 0, 0, 1, 1]))
    assert (counts[:3].sum(0) == 3).all()
    assert (counts[3:].sum(0) == 2).all()
    assert not np.array_equal(counts_of(np.repeat([0, 1], 20))[:20], counts_of(np.repeat([0, 1], 20))[20:])
    drawn = {"draws": 200, "seed": 0, "thresholds": [0.5]}
    apart, together = (
        intervals.resample(["auroc"], target, score[None], groups, stratified=how, **drawn)["auroc"]
        for how in (True, False)
    )
    assert not np.isnan(apart).any()
    assert np.isnan(together).any()


def test_bounds_are_of_the_variance_of_the_draws_on_the_logit_scale():
    target, score, groups = rows("auroc", count=200)
    interval = patient_interval("auroc", target, score, groups, draws=500, seed=4, level=0.9)
    drawn = {"draws": 500, "seed": 4, "thresholds": [0.5], "stratified": True}
    values = intervals.resample(["auroc"], target, score[None], groups, **drawn)["auroc"]
    spread = chance(np.array([interval.value]), values, patients=patients_by_class(target, groups), rule=AUROC.alone)
    half = t.ppf(0.95, spread.freedom) * math.sqrt(spread.below) / (interval.value * (1 - interval.value))
    middle = math.log(interval.value / (1 - interval.value))
    expected = [1 / (1 + math.exp(-bound)) for bound in (middle - half, middle + half)]
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert interval.low < interval.value < interval.high
    assert (interval.draws, interval.level) == (500, 0.9)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another():
    target, score, groups = rows("auroc")
    first, again, other = (patient_interval("auroc", target, score, groups, draws=100, seed=s) for s in (0, 0, 1))
    assert first == again
    assert first != other


def test_the_order_of_the_rows_does_not_change_the_interval():
    target, score, groups = rows("auprc")
    order = np.random.default_rng(0).permutation(len(target))
    straight = patient_interval("auprc", target, score, groups, draws=100)
    mixed = patient_interval("auprc", target[order], score[order], groups[order], draws=100)
    assert (mixed.low, mixed.high) == pytest.approx((straight.low, straight.high), abs=1e-12)


def test_copies_of_a_patients_image_do_not_make_the_interval_narrower():
    rng = np.random.default_rng(0)
    target = np.arange(60) % 2
    score = rng.random(60) + 0.4 * target
    once = patient_interval("auroc", target, score, range(60), draws=400)
    copied = [np.repeat(values, 9) for values in (target, score, np.arange(60))]
    assert patient_interval("auroc", *copied, draws=400) == once
    blind = patient_interval("auroc", copied[0], copied[1], range(540), draws=400)
    assert blind.high - blind.low < 0.6 * (once.high - once.low)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth, hits = 0.7602499389065233, 0  # Φ(1 / √2): two normals one standard deviation apart
    for trial in range(200):
        target = np.repeat([0, 1], 60)
        score = rng.normal(size=120) + target
        interval = patient_interval("auroc", target, score, range(120), draws=200, seed=trial)
        hits += interval.low <= truth <= interval.high
    assert 0.89 <= hits / 200 <= 0.99


def test_below_twenty_patients_of_a_class_there_is_no_interval_and_it_says_why():
    target, score = np.repeat([0, 1], [40, 19]), np.random.default_rng(0).random(59)
    interval = patient_interval("auroc", target, score, range(59), draws=50)
    assert np.isnan([interval.low, interval.high]).all()
    assert interval.reason == "too few patients: 19 in the smallest class, 20 are needed"
    enough = patient_interval("auroc", [*target, 1], [*score, 0.5], range(60), draws=50)
    assert enough.low < enough.value < enough.high
    assert enough.reason == ""


def test_images_of_few_patients_are_few_patients():
    interval = patient_interval("auroc", [0, 1] * 100, np.linspace(0, 1, 200), [0, 1] * 100, draws=50)
    assert interval.reason.startswith("too few patients: 1 in the smallest class")


def test_one_class_has_neither_value_nor_interval_but_a_reason():
    interval = patient_interval("auroc", np.ones(60), np.linspace(0, 1, 60), range(60), draws=50)
    assert np.isnan([interval.value, interval.low, interval.high]).all()
    assert interval.reason == "auroc is undefined: there is no negative row"


def test_a_perfect_order_is_bounded_by_its_number_of_patients():
    interval = patient_interval("auroc", np.repeat([0, 1], 25), np.arange(50), range(50), draws=50)
    assert (interval.value, interval.high) == (1, 1)
    assert interval.low == pytest.approx(0.025 ** (1 / 25))


def test_wrong_arguments_are_named():
    target, score, groups = rows("auroc")
    with pytest.raises(ConfigError, match="kappa: there is no such metric; expected one of auroc"):
        patient_interval("kappa", target, score, groups)
    with pytest.raises(DataError, match=r"groups has shape \(5,\), expected \(70,\)"):
        patient_interval("auroc", target, score, groups[:5])
    with pytest.raises(ConfigError, match="draws is 0: expected at least 1"):
        patient_interval("auroc", target, score, groups, draws=0)
    with pytest.raises(DataError, match="6 successes among 5 rows"):
        intervals.wilson(6, 5)


def test_wilson_equals_newcombes_example():
    """Newcombe 1998 (Statistics in Medicine 17), Table I, method 3: 81 of 263 and 0 of 20."""
    share = intervals.wilson(81, 263)
    assert (round(share.low, 4), round(share.high, 4)) == (0.2553, 0.3662)
    none = intervals.wilson(0, 20)
    assert (none.low, round(none.high, 4)) == (0, 0.1611)


def test_wilson_bounds_solve_the_score_equation():
    z = 1.959963984540054
    for successes, count in ((1, 9), (30, 40), (39, 40)):
        interval = intervals.wilson(successes, count)
        for bound in (interval.low, interval.high):
            assert (successes / count - bound) ** 2 == pytest.approx(z**2 * bound * (1 - bound) / count)


def test_t_interval_equals_r(golden):
    numbers = golden("severity_stats")
    errors = np.subtract(numbers["pred_a"], numbers["truth"]) ** 2
    interval = intervals.t_interval(errors)
    assert (interval.low, interval.high) == pytest.approx(numbers["mse_a_ci95_t"], abs=1e-10)


def test_too_few_values_have_no_interval():
    with pytest.warns(UndefinedMetricWarning, match="fewer than two values"):
        assert math.isnan(intervals.t_interval([0.3]).low)
    with pytest.warns(UndefinedMetricWarning, match="there is no row"):
        assert math.isnan(intervals.wilson(0, 0).value)

"""Chance in patients and in training: against closed forms, limits, and a simulation of verdicts."""

import importlib
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from medtransfer.evaluation.chance import (
    CORRELATION,
    DIFFERENCE,
    POSITIVE,
    SHARE,
    Chance,
    Rule,
    chance,
    patients_by_class,
)

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ANY = st.floats(1e-6, 1.0)


def test_one_seed_has_students_interval_of_the_resampled_sd():
    values = np.random.default_rng(0).normal(0.1, 0.03, (1, 400))
    low, high = chance(np.array([0.1]), values, patients=(30, 30)).bounds(0.1, level=0.95)
    half = t.ppf(0.975, 58) * values.std(ddof=1) * math.sqrt(30 / 29)
    assert (low, high) == pytest.approx((0.1 - half, 0.1 + half))


def test_a_class_of_few_patients_loses_more_than_resampling_does():
    values = np.random.default_rng(0).normal(0.1, 0.03, (1, 400))
    one = chance(np.array([0.1]), values, patients=(20, 90), rule=Rule(lost=4))
    assert (one.below, one.above) == pytest.approx((values.var(ddof=1) * 20 / 16,) * 2)


def test_percentiles_make_each_side_of_its_own_resamples():
    values = np.random.default_rng(0).exponential(1.0, (1, 4000))
    one = chance(np.array([1.0]), values, patients=(10**6,), rule=Rule(DIFFERENCE, percentiles=True))
    assert one.bounds(1.0, level=0.95) == pytest.approx(tuple(np.quantile(values, [0.025, 0.975])), abs=1e-5)
    assert one.above > 4 * one.below
    assert one.p(-1.0) > one.p(1.0)


def test_without_chance_in_patients_it_is_students_interval_over_seeds():
    points = np.array([0.1, 0.14, 0.12])
    low, high = chance(points, np.tile(points[:, None], 100), patients=(30, 30)).bounds(0.12, level=0.95)
    assert (low, high) == pytest.approx(t.interval(0.95, 2, 0.12, 0.02 / math.sqrt(3)))


def test_what_patients_do_to_all_seeds_alike_is_no_chance_in_training():
    points = np.array([0.1, 0.14, 0.12])
    assert chance(points + 0.3, np.zeros((3, 9)), patients=(9, 9)).training == pytest.approx(0.0004 / 3)
    assert chance(points, np.zeros((3, 9)), patients=(9, 9), training=False).training == 0


@settings(max_examples=60, deadline=None)
@given(ANY, ANY, st.integers(2, 6), st.floats(1e-8, 0.5))
def test_the_reach_is_between_those_of_its_two_quantiles_and_p_inverts_it(patients, training, seeds, p):
    one = Chance(patients, patients, 40.0, training, seeds)
    least, most = (-t.ppf(p / 2, freedom) * math.sqrt(patients + training) for freedom in (40, seeds - 1))
    reach = one.reach(p)
    assert min(least, most) * (1 - 1e-9) <= reach <= max(least, most) * (1 + 1e-9)
    assert one.p(reach) == pytest.approx(p, rel=1e-6)
    assert one.p(-reach) == one.p(reach)


def test_p_has_limits():
    assert Chance(0.01, 0.01, 40.0).p(0.0) == 1
    assert math.isnan(Chance(0.0, 0.0, 40.0).p(0.1))
    assert Chance(1e-12, 1e-12, 40.0).p(0.5) == 1e-9


@pytest.mark.parametrize(
    ("patients", "freedom"), [((30, 30), 58), ((1000, 20), 19.77), ((41,), 40), ((20, 20, 20), 57)]
)
def test_degrees_of_freedom_are_those_of_the_patients_by_class(patients, freedom):
    one = chance(np.zeros(1), np.zeros((1, 3)), patients=patients)
    assert one.freedom == pytest.approx(freedom, abs=0.01)


@pytest.mark.parametrize(
    ("scale", "mean", "least", "most"), [(SHARE, 0.95, 0, 1), (POSITIVE, 0.1, 0, 9), (CORRELATION, -0.9, -1, 1)]
)
def test_an_interval_stays_where_its_metric_can_be(scale, mean, least, most):
    low, high = Chance(0.04, 0.04, 40.0).bounds(mean, level=0.95, scale=scale)
    assert least < low < mean < high < most


def test_an_extreme_value_has_no_interval():
    assert np.isnan(Chance(0.0, 0.0, 40.0).bounds(1.0, level=0.95, scale=SHARE)).all()


def test_patients_are_counted_once_per_class():
    assert patients_by_class([0, 0, 1, 1, 1], ["a", "a", "b", "c", "a"]) == (1, 3)
    assert patients_by_class([], []) == (0,)


@pytest.mark.slow
@pytest.mark.parametrize(("sd", "seeds"), [(0.0, 2), (0.07, 2), (0.07, 3), (0.07, 5)])
def test_verdicts_without_a_true_difference_are_rare_whatever_the_chance_in_training(monkeypatch, sd, seeds):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    row = next(r for r in importlib.import_module("simulate_seeds").simulate(sd, 0.0, 600) if r["seeds"] == seeds)
    assert row["Cochran"] <= 0.06
    if sd:
        assert row["patients alone"] > 0.1


@pytest.mark.slow
def test_half_of_the_studies_of_three_seeds_decide_a_large_difference(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    rows = importlib.import_module("simulate_seeds").simulate(0.02, 0.15, 600)
    assert next(row for row in rows if row["seeds"] == 3)["Cochran"] >= 0.5

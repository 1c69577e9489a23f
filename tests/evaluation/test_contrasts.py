import numpy as np
import pytest

from medtransfer.evaluation.contrasts import combine, difference, judge, mean_contrast
from medtransfer.evaluation.summary import Sample


def flat(level, wobble=0.0, seed=0):
    """Two seeds with 200 resamples around a level."""
    noise = np.random.default_rng(seed).normal(size=(2, 200)) * wobble
    return Sample(np.full(2, level), level + noise, "")


GAIN = {"new": 1.0, "old": -1.0}


@pytest.mark.parametrize(
    ("gain", "margin", "verdict"),
    [
        (0.05, 0.0, "holds"),
        (-0.05, 0.0, "does not hold"),
        (-0.01, 0.02, "holds"),
        (-0.01, 0.0, "does not hold"),
        (-0.05, 0.02, "does not hold"),
    ],
)
def test_the_side_of_the_margin_on_which_the_whole_interval_lies_decides(gain, margin, verdict):
    samples = {"new": flat(0.7 + gain), "old": flat(0.7)}
    found = judge(GAIN, samples, margin=margin, level=0.95)
    assert found.verdict == verdict
    assert found.estimate == pytest.approx(gain)


@pytest.mark.parametrize(("margin", "reason"), [(0.0, "the interval holds zero"), (0.02, "the interval holds −0.02")])
def test_an_interval_across_the_margin_decides_nothing(margin, reason):
    found = judge(GAIN, {"new": flat(0.7, 0.1, 1), "old": flat(0.7)}, margin=margin, level=0.95)
    assert found.low < -margin < found.high
    assert (found.verdict, found.reason) == ("not decidable", reason)


def test_a_higher_level_never_decides_more():
    samples = {"new": flat(0.72, 0.008, 1), "old": flat(0.7)}
    assert judge(GAIN, samples, level=0.95).verdict == "holds"
    assert judge(GAIN, samples, level=0.9999).low < judge(GAIN, samples, level=0.95).low


def test_cells_that_were_not_run_are_named_and_nothing_to_compare_is_said():
    assert judge(GAIN, {"new": flat(0.7)}, level=0.95).reason == "not run: old"
    assert judge({}, {}, level=0.95).reason == "nothing to compare was run"


def test_an_undefined_metric_decides_nothing():
    missing = Sample(np.full(2, np.nan), np.full((2, 200), np.nan), "there is no positive row")
    found = judge(GAIN, {"new": missing, "old": flat(0.7)}, level=0.95)
    assert (found.verdict, found.reason, found.estimate) == ("not decidable", "there is no positive row", None)


def test_contrasts_are_taken_seed_by_seed_and_draw_by_draw():
    a, b = flat(0.7, 0.1, 1), flat(0.6, 0.2, 2)
    found = combine(GAIN, {"new": a, "old": b})
    np.testing.assert_allclose(found.values, a.values - b.values)
    np.testing.assert_allclose(found.points, [0.1, 0.1])


def test_differences_and_means_add_up_the_weights_of_shared_cells():
    assert difference({"a": 1.0, "b": -1.0}, {"b": -1.0, "c": 1.0}) == {"a": 1.0, "b": 0.0, "c": -1.0}
    assert mean_contrast([{"a": 1.0, "b": -1.0}, {"a": 1.0, "c": -1.0}]) == {"a": 1.0, "b": -0.5, "c": -0.5}

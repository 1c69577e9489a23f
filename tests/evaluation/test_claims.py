import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medtransfer.errors import DataError
from medtransfer.evaluation.checks import UndefinedMetricWarning
from medtransfer.evaluation.claims import Claim, combine, difference, judge, mean_contrast
from medtransfer.evaluation.summary import Sample

NEW, OLD = ("new", "c"), ("old", "c")
GAIN = {NEW: 1.0, OLD: -1.0}


def claim(contrast, margin=0.0):
    return Claim(
        key="k", statement="It is better.", source="Table 1", how="new − old", contrast=contrast, margin=margin
    )


def decide(cells, *, margin=0.0, **options):
    return judge(claim(GAIN, margin), cells, "auroc", **options)


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
def test_the_side_of_the_margin_on_which_the_whole_interval_lies_decides(flat_cell, gain, margin, verdict):
    judgement = decide({NEW: flat_cell(0.7 + gain, seed=1), OLD: flat_cell(0.7)}, margin=margin)
    assert judgement.verdict == verdict
    assert judgement.estimate == pytest.approx(gain)


def drawn(flat_cell, points, values):
    """A cell beside one whose metric is zero, so that the contrast of both is this sample."""
    points, values = np.asarray(points, float), np.asarray(values, float)
    nothing = Sample(np.zeros_like(points), np.zeros_like(values), "", (60, 60))
    return {NEW: flat_cell(0, sample=Sample(points, values, "", (60, 60))), OLD: flat_cell(0, sample=nothing)}


@pytest.mark.parametrize("sign", [1, -1])
def test_an_interval_that_ends_on_the_border_decides_nothing_in_either_direction(flat_cell, sign):
    """Values that are exact in binary, with a margin that is the bound itself."""
    cells = drawn(flat_cell, [0.0, 0.0], np.tile([-0.25, 0.25], (2, 100)))
    bound = decide(cells).high
    found = decide(drawn(flat_cell, [sign * bound] * 2, np.tile([-0.25, 0.25], (2, 100))))
    assert 0.0 in (found.low, found.high)
    assert found.verdict == "not decidable"
    assert decide(cells, margin=bound).verdict == "not decidable"


def test_one_seed_decides_nothing_about_networks(flat_cell):
    for values in (np.linspace(0.1, 0.2, 200), np.zeros(200)):
        judgement = decide(drawn(flat_cell, [values.mean()], values[None]))
        assert (judgement.verdict, judgement.reason) == ("not decidable", "one seed")
        assert judgement.low <= judgement.estimate <= judgement.high


@pytest.mark.parametrize("gain", [0.0, 0.2])
def test_without_patient_ids_nothing_is_decided_not_even_equality(flat_cell, flat_sample, gain):
    """Equal metrics of other predictions have equal resamples there, because all images are drawn together."""
    cells = {
        key: flat_cell(0.5, sample=replace(flat_sample(0.5 + rise, 0.0), patients_known=False))
        for key, rise in ((NEW, gain), (OLD, 0.0))
    }
    judgement = decide(cells)
    assert judgement.verdict == "not decidable"
    assert judgement.reason.startswith("no patient ids")
    assert (judgement.low, judgement.high) == (None, None)
    assert judgement.estimate == pytest.approx(gain)


def test_seeds_that_disagree_decide_nothing(flat_cell):
    """Both seeds gain, and patients say so clearly; another training may well not gain."""
    values = np.array([[0.02], [0.12]]) + np.random.default_rng(0).normal(0, 0.01, 200)
    judgement = decide(drawn(flat_cell, [0.02, 0.12], values))
    assert values.min() > -0.02
    assert (judgement.verdict, judgement.reason) == ("not decidable", "the interval includes zero")


def test_equal_predictions_are_no_difference_whatever_the_margin(flat_cell):
    same = {NEW: flat_cell(0.7, 0.1, 3), OLD: flat_cell(0.7, 0.1, 3)}
    for margin in (0.0, 0.02):
        assert decide(same, margin=margin).verdict == "no difference"


def test_equal_predictions_stay_equal_through_rounding_and_undefined_draws(flat_cell):
    contrast = mean_contrast(
        [{NEW: 1.0, OLD: -1.0}, {("third", "c"): 1.0, ("fourth", "c"): -1.0}, {NEW: 0.1, OLD: -0.1}]
    )
    values = 0.7 + 0.1 * np.random.default_rng(0).normal(size=(2, 200))
    values[:, :9] = np.nan
    cells = dict.fromkeys(contrast, flat_cell(0.7, sample=Sample(np.full(2, 0.7), values, "", (60, 60))))
    assert judge(claim(contrast), cells, "auroc").verdict == "no difference"


def test_an_interval_without_width_and_one_of_few_draws_decide_nothing(flat_cell):
    for points in ([0.1, 0.1], [0.1, 0.12]):
        flat = decide(drawn(flat_cell, points, np.tile(points, (200, 1)).T))
        assert (flat.verdict, flat.reason) == ("not decidable", "the interval has no width")
    values = np.full((2, 200), np.nan)
    values[:, :39] = np.linspace(0.14, 0.16, 39)
    few = decide(drawn(flat_cell, [0.15, 0.15], values))
    assert (few.verdict, few.reason) == ("not decidable", "39 resamples have a value, the interval needs 40")
    values[:, 39] = 0.15
    assert decide(drawn(flat_cell, [0.15, 0.15], values)).verdict == "holds"


@st.composite
def contrasts(draw):
    """Points and resamples of one to three seeds on a grid with many ties at zero, some draws undefined."""
    seeds, draws = draw(st.integers(1, 4)), draw(st.sampled_from([41, 200, 201, 1000]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    centre, spread = draw(st.sampled_from([-3, -1, 0, 0, 1, 3])), draw(st.sampled_from([0, 0, 1, 2]))
    values = rng.integers(centre - spread, centre + spread + 1, (seeds, draws)) / 10
    if draw(st.booleans()):
        values = np.where(rng.random(draws) < 0.05, np.nan, values)
    cut = draw(st.sampled_from([None, 0.02, 0.024, 0.025, 0.026, 0.03]))
    if cut is not None:  # all but this share of the draws are on one side of zero, the rest is zero
        values = np.where(np.argsort(rng.random(draws)) < round(cut * draws), 0.0, np.abs(values) + 0.1)
        values = values * draw(st.sampled_from([-1, 1]))
    return rng.integers(centre - spread, centre + spread + 1, seeds) / 10, values


@settings(max_examples=300, deadline=None)
@given(contrasts(), st.sampled_from([0.9, 0.95, 0.99]))
def test_a_comparison_and_its_mirror_image_agree(flat_cell, sample, level):
    points, values = sample
    mirror = {"holds": "does not hold", "does not hold": "holds"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)
        one = decide(drawn(flat_cell, points, values), level=level)
        other = decide(drawn(flat_cell, -points, -values), level=level)
    assert other.verdict == mirror.get(one.verdict, one.verdict)
    if one.low is not None:
        assert (one.low, one.high) == (-other.high, -other.low)
    equal = len(points) > 1 and not points.any() and not np.nan_to_num(values).any()
    assert (one.verdict == "no difference") == equal


@pytest.mark.parametrize(
    ("margin", "reason"), [(0.0, "the interval includes zero"), (0.02, "the interval includes −0.02")]
)
def test_an_interval_across_the_margin_decides_nothing(flat_cell, margin, reason):
    judgement = decide({NEW: flat_cell(0.7, 0.1, 1), OLD: flat_cell(0.7)}, margin=margin)
    assert judgement.low < -margin < judgement.high
    assert (judgement.verdict, judgement.reason) == ("not decidable", reason)


def test_a_higher_level_never_decides_more(flat_cell):
    cells = {NEW: flat_cell(0.72, 0.008, 1), OLD: flat_cell(0.7)}
    assert decide(cells).verdict == "holds"
    assert decide(cells, level=0.9999).low < decide(cells).low


def test_the_reason_names_cells_that_were_not_run(flat_cell):
    assert decide({NEW: flat_cell(0.7)}).reason == "not run: old c"
    assert decide({}, title=lambda key: key[1].upper()).reason == "not run: C"
    assert judge(claim({}), {}, "auroc").reason == "nothing to compare was run"


def test_an_excluded_cell_keeps_the_estimate_but_decides_nothing(flat_cell):
    cells = {NEW: flat_cell(0.8), OLD: flat_cell(0.7)}
    judgement = decide(cells, excluded={NEW: "new is idle", ("other", "c"): "never asked"})
    assert (judgement.verdict, judgement.reason, judgement.excluded) == ("not decidable", "new is idle", (NEW,))
    assert judgement.estimate == pytest.approx(0.1)


def test_the_papers_value_is_the_same_contrast_where_all_of_it_is_printed(flat_cell):
    cells = {NEW: flat_cell(0.8), OLD: flat_cell(0.7)}
    assert decide(cells, paper={NEW: 0.9, OLD: 0.85}).paper == pytest.approx(0.05)
    assert decide(cells, paper={NEW: 0.9}).paper is None
    assert decide({}, paper={NEW: 0.9, OLD: 0.85}).paper == pytest.approx(0.05)


def test_an_undefined_metric_decides_nothing(flat_cell):
    missing = Sample(np.full(2, np.nan), np.full((2, 200), np.nan), "there is no positive row", (60, 60))
    judgement = decide({NEW: flat_cell(0.7, sample=missing), OLD: flat_cell(0.7)})
    assert (judgement.verdict, judgement.reason, judgement.estimate) == (
        "not decidable",
        "there is no positive row",
        None,
    )


def test_contrasts_are_taken_seed_by_seed_and_draw_by_draw(flat_cell):
    a, b = flat_cell(0.7, 0.1, 1), flat_cell(0.6, 0.2, 2)
    contrast = combine(GAIN, {NEW: a, OLD: b}, "auroc")
    np.testing.assert_allclose(contrast.values, a.samples["auroc"].values - b.samples["auroc"].values)
    np.testing.assert_allclose(contrast.points, [0.1, 0.1])


@pytest.mark.parametrize(
    ("other", "column"), [({"images": np.array(["i/0", "i/2"], object)}, "image_id"), ({"seeds": (0, 2)}, "seed")]
)
def test_cells_of_other_images_or_seeds_are_not_subtracted(flat_cell, other, column):
    cells = {NEW: flat_cell(0.7, variant="new"), OLD: flat_cell(0.7, variant="old", **other)}
    message = rf"old c has other {column} values on toy than new c, expected the same in both; predict the missing ones"
    with pytest.raises(DataError, match=message):
        combine(GAIN, cells, "auroc")


def test_differences_and_means_add_up_the_weights_of_shared_cells():
    a, b, c = ("a", "x"), ("b", "x"), ("c", "x")
    assert difference({a: 1.0, b: -1.0}, {b: -1.0, c: 1.0}) == {a: 1.0, b: 0.0, c: -1.0}
    assert mean_contrast([{a: 1.0, b: -1.0}, {a: 1.0, c: -1.0}]) == {a: 1.0, b: -0.5, c: -0.5}
    assert mean_contrast([]) == {}

import numpy as np
import pytest

from medtransfer.errors import DataError
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
def test_the_side_of_the_margin_that_holds_the_whole_interval_decides(flat_cell, gain, margin, verdict):
    judgement = decide({NEW: flat_cell(0.7 + gain), OLD: flat_cell(0.7)}, margin=margin)
    assert judgement.verdict == verdict
    assert judgement.estimate == pytest.approx(gain)


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
    missing = Sample(np.full(2, np.nan), np.full((2, 200), np.nan), "there is no positive row")
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

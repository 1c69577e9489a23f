"""Who becomes the champion of a contest: the best fit by validation, whatever it does on test images."""

import pytest

from medtransfer.errors import DataError
from medtransfer.evaluation.scorecard import best_fit
from medtransfer.params import load_params
from medtransfer.studies import STUDIES, module

FITS = (("a", "none"), ("b", "none"))


def card(values, *, split="val", seeds=(0, 1)):
    """An entry per variant with the metric of each of its seeds."""
    return {
        f"{variant}/none/ct/{split}": {"seeds": list(seeds), "probability": {"metrics": {"auroc": {"per_seed": each}}}}
        for variant, each in values.items()
    }


def best(known):
    return best_fit(known, FITS, dataset="ct", metric="auroc")


def test_the_best_seed_by_validation_wins_and_test_rows_are_not_looked_at():
    known = card({"a": [0.6, 0.8], "b": [0.7, None]}) | card({"a": [0.1, 0.1], "b": [0.9, 0.9]}, split="test")
    expected = {"variant": "a", "condition": "none", "seed": 1, "metric": "auroc", "value": 0.8}
    assert best(known) == expected


def test_of_equal_fits_the_first_wins():
    assert best(card({"a": [0.5, 0.7], "b": [0.7, 0.7]}))["variant"] == "a"


def test_a_fit_that_does_not_compete_cannot_win():
    assert best(card({"a": [0.5, 0.6], "b": [0.4, 0.4], "c": [0.9, 0.9]}))["variant"] == "a"


def test_without_any_value_on_validation_rows_there_is_no_champion():
    with pytest.raises(DataError, match="ct: no fit has a value of auroc on validation rows; check that the val split"):
        best(card({"a": [None, None], "b": [None, None]}))


@pytest.mark.parametrize("study", STUDIES)
def test_every_competitor_of_a_contest_is_a_model_that_the_study_predicts(checkout, study):
    params = load_params(checkout / "params.yaml")
    predictions, config = module(study, "predictions"), params.study(study)
    fitted = {(model.variant, model.condition, model.dataset) for model in predictions.fitted(config)}
    contests = predictions.contests(config)
    assert contests
    for contest in contests:
        assert {(*fit, contest.dataset) for fit in contest.fits} <= fitted

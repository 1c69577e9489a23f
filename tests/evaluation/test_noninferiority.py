"""The registry's comparison of two fixed models: worse, not worse, not shown, and what cannot be compared."""

import numpy as np
import pandas as pd
import pytest

from medtransfer.evaluation.noninferiority import anonymous, compare_models
from medtransfer.evaluation.predictions import prediction_rows


def predictions(noise, *, patients=300, seed=0, split="val"):
    """A network's rows: scores that are the label plus noise; the same patients and labels for every noise."""
    target = np.random.default_rng(1).integers(0, 2, patients)
    score = 1 / (1 + np.exp(-(2 * target - 1 + noise * np.random.default_rng(seed).normal(size=patients))))
    names = [f"ct/{number}" for number in range(patients)]
    images = pd.DataFrame({"dataset": "ct", "split": split, "image_id": names, "patient_id": names, "source": "a"})
    images = images.assign(view="", date=pd.NaT)
    shape = {"outputs": ["covid"], "kind": "probability", "study": "s", "variant": "v", "condition": "c", "seed": 3}
    return anonymous(prediction_rows(images, score[:, None], target[:, None].astype(float), **shape))


def test_a_worse_model_closes_the_gate():
    state, reason = compare_models(predictions(3.0, seed=2), predictions(0.3), "auroc")
    assert state == "closed"
    assert reason.startswith("worse: auroc -0.")


def test_a_model_that_is_certainly_not_worse_opens_it():
    state, reason = compare_models(predictions(0.3), predictions(3.0, seed=2), "auroc")
    assert state == "open"
    assert reason.startswith("not worse: auroc +0.")
    assert "on 300 validation patients" in reason


def test_a_difference_that_chance_hides_is_not_shown():
    assert compare_models(predictions(1.0, seed=2), predictions(1.0, seed=3), "auroc")[0] == "not shown"


def test_too_few_patients_show_nothing():
    state, reason = compare_models(predictions(0.3, patients=24), predictions(3.0, patients=24, seed=2), "auroc")
    assert (state, reason[:16]) == ("not shown", "too few patients")


def test_equal_predictions_open_it_even_with_few_patients():
    assert compare_models(predictions(1.0, patients=24), predictions(1.0, patients=24), "auroc")[0] == "open"


@pytest.mark.parametrize("metric", ["auroc", "auprc"])
def test_the_interval_is_that_of_two_fixed_models_on_the_same_patients(metric):
    """Paired: the interval of two nearly equal networks is much narrower than their own intervals."""
    first = predictions(1.0)
    second = first.assign(score=(first["score"] + 0.001 * predictions(1.0, seed=5)["score"]).clip(0, 1))
    assert compare_models(second, first, metric)[0] == "open"


def test_other_rows_and_an_unknown_metric_are_not_shown():
    state, reason = compare_models(predictions(0.3, patients=200), predictions(3.0), "auroc")
    assert (state, reason[:43]) == ("not shown", "the two were validated on different rows (2")
    state, reason = compare_models(predictions(0.3), predictions(3.0), "top_1")
    assert (state, reason) == ("not shown", "top_1 cannot be computed from the validation predictions")


def test_images_and_patients_have_no_names():
    rows = predictions(1.0)
    assert not rows["image_id"].str.contains("ct/").any()
    assert not rows["patient_id"].str.contains("ct/").any()
    assert rows["patient_id"].nunique() == 300

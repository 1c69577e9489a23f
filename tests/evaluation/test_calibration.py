"""Reliability points against loops, and a temperature that undoes a known one."""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit, softmax

from medtransfer.errors import DataError
from medtransfer.evaluation.binary import expected_calibration_error
from medtransfer.evaluation.calibration import (
    at_temperature,
    fit_temperature,
    reliability_curve,
    temperature_from_validation,
)
from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.tracking.columns import at_temperature as served

DRAW = np.random.default_rng(0)
TRUE = DRAW.uniform(0.02, 0.98, 4000)
TARGET = (DRAW.random(4000) < TRUE).astype(int)


def images(count, split="test"):
    """Manifest rows of images, each of a patient of its own."""
    names = [f"ct/{split}{number}" for number in range(count)]
    columns = {"image_id": names, "patient_id": names, "dataset": "ct", "split": split, "source": "", "view": ""}
    return pd.DataFrame(columns).assign(date=pd.NaT)


def log_loss(target, score):
    return -np.mean(target * np.log(score) + (1 - target) * np.log(1 - score))


def test_points_hold_all_rows_and_their_gap_is_the_calibration_error():
    score = TRUE**2
    points = reliability_curve(TARGET, score)
    assert sum(point.rows for point in points) == 4000
    gap = sum(point.rows * abs(point.probability - point.frequency) for point in points) / 4000
    assert gap == pytest.approx(expected_calibration_error(TARGET, score))
    for point in points:
        assert point.low <= point.frequency <= point.high
    assert [point.probability for point in points] == sorted(point.probability for point in points)


def test_bins_without_rows_have_no_point_and_borders_belong_to_the_left_bin():
    points = reliability_curve([0, 1, 1, 0], [0.0, 0.5, 1.0, 0.25], bins=4)
    assert [(point.rows, point.probability, point.frequency) for point in points] == [
        (2, 0.125, 0.0),
        (1, 0.5, 1.0),
        (1, 1.0, 1.0),
    ]


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_a_temperature_is_found_again(temperature):
    score = expit(logit(TRUE) * temperature)
    found = fit_temperature(TARGET, score)
    assert found == pytest.approx(temperature, rel=0.08)
    best = minimize_scalar(lambda t: log_loss(TARGET, at_temperature(score, t)), bounds=(0.05, 20), method="bounded")
    assert found == pytest.approx(best.x, rel=1e-3)
    calibrated = at_temperature(score, found)
    assert np.array_equal(np.argsort(calibrated, kind="stable"), np.argsort(score, kind="stable"))
    assert expected_calibration_error(TARGET, calibrated) < 0.03


def test_several_classes_share_one_temperature():
    logits = DRAW.normal(size=(4000, 3))
    target = [DRAW.choice(3, p=row) for row in softmax(logits, axis=1)]
    score = softmax(2 * logits, axis=1)
    found = fit_temperature(target, score)
    assert found == pytest.approx(2, rel=0.1)
    np.testing.assert_allclose(at_temperature(score, 2.0), softmax(logits, axis=1), atol=1e-12)


def test_certain_predictions_stay_finite():
    assert at_temperature([0.0, 1.0, 0.5], 2.0).tolist() == pytest.approx([0, 1, 0.5], abs=1e-100)
    assert np.isfinite(fit_temperature([0, 1, 0, 1], [0.0, 1.0, 1.0, 0.6]))


def test_it_is_fitted_on_validation_rows_alone():
    def rows(split):
        known = np.where(np.arange(40) % 10 == 9, np.nan, TARGET[:40])
        fit = {"study": "s", "variant": "v", "condition": "c", "seed": 0}
        return prediction_rows(
            images(40, split), TRUE[:40, None], known[:, None], outputs=("covid",), kind="probability", **fit
        )

    kept = np.arange(40) % 10 != 9
    assert temperature_from_validation(rows("val")) == pytest.approx(
        fit_temperature(TARGET[:40][kept], TRUE[:40][kept])
    )
    with pytest.raises(DataError, match="temperature: got rows of split test, expected validation rows alone"):
        temperature_from_validation(rows("test"))


def test_what_is_no_probability_is_refused():
    for call in (lambda: fit_temperature([0, 1], [0.5, 1.5]), lambda: reliability_curve([0], [-0.1])):
        with pytest.raises(DataError, match="is no probability, expected 0 to 1"):
            call()
    with pytest.raises(DataError, match="no validation row of class 1"):
        fit_temperature([0, 0], [0.2, 0.3])
    with pytest.raises(DataError, match="temperature 0: expected a number above 0"):
        at_temperature([0.5], 0)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_a_registered_model_s_own_formula_agrees(temperature):
    score = np.array([0.0, 1e-9, 0.2, 0.5, 0.9, 1 - 1e-9, 1.0])
    np.testing.assert_allclose(served(score, temperature), at_temperature(score, temperature), rtol=1e-9, atol=1e-12)

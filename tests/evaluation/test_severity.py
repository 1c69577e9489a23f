"""Scores from zones, and errors and readers' disagreement against R's numbers."""

import numpy as np
import pandas as pd
import pytest

from medtransfer.errors import DataError
from medtransfer.evaluation.predictions import prediction_rows, validate_predictions
from medtransfer.evaluation.severity import score_rows, severity_card, severity_score

FIT = {"study": "s", "variant": "v", "condition": "c", "seed": 0}
ZONES = tuple(f"zone_{number}" for number in range(6))


def images(count, split="test"):
    """Manifest rows of images, each of a patient of its own."""
    names = [f"ct/{split}{number}" for number in range(count)]
    columns = {"image_id": names, "patient_id": names, "dataset": "ct", "split": split, "source": "", "view": ""}
    return pd.DataFrame(columns).assign(date=pd.NaT)


def test_the_score_counts_zones_or_sums_them():
    zones = np.array([[0.5, 0.49, 1.0, 0.0, 0.7, 0.2], [np.nan, 1, 1, 1, 1, 1]])
    assert severity_score(zones)[0] == 3
    assert severity_score(zones, threshold=None)[0] == pytest.approx(2.89)
    assert severity_score(zones, threshold=0.2)[0] == 5
    assert np.isnan(severity_score(zones)[1])
    with pytest.raises(DataError, match=r"severity: shape \(1, 6\), expected \[rows, 6\] of numbers from 0 to 1"):
        severity_score([[0, 0, 0, 0, 0, 3]])
    with pytest.raises(DataError, match=r"shape \(6,\)"):
        severity_score(np.zeros(6))


def test_rows_of_zones_become_a_row_of_the_score_per_image():
    draw = np.random.default_rng(0)
    scores, targets = draw.random((12, 6)), (draw.random((12, 6)) > 0.5).astype(float)
    targets[3, 2] = np.nan
    table = prediction_rows(images(12), scores, targets, outputs=ZONES, kind="severity", **FIT)
    rows = score_rows(table.sample(frac=1, random_state=1))
    assert len(rows) == 12
    assert set(rows["output"]) == {"score"}
    validate_predictions(rows)
    by_image = rows.set_index("image_id")
    for number in range(12):
        one = by_image.loc[f"ct/test{number}"]
        assert one["score"] == (scores[number] >= 0.5).sum()
        assert one["target"] == targets[number].sum() or number == 3
    assert np.isnan(by_image.loc["ct/test3", "target"])
    with pytest.raises(DataError, match="an image has 5 zones, expected 6"):
        score_rows(table.iloc[1:])


def test_errors_are_those_of_r_with_intervals_over_patients(golden):
    gold = golden("severity_stats")
    truth, first = gold["truth"], gold["pred_a"]
    patients = [f"p{number}" for number in range(len(truth))]
    card = severity_card(truth, first, patients, draws=200)
    for name, key in (("mse", "mse_a"), ("mae", "mae_a"), ("pearson", "cc_a"), ("r2", "r2_a")):
        assert card[name].value == pytest.approx(gold[key], abs=1e-10)
        assert card[name].low < card[name].value < card[name].high
    same = severity_card(truth, truth, patients, draws=200)
    assert (same["mse"].value, same["r2"].value) == (0, 1)

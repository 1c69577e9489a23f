"""What a cell holds; its metrics are tested with the score card."""

import numpy as np
import pandas as pd
import pytest

from medtransfer.evaluation.cells import EvaluationConfig, align, estimates, measure

CONFIG = EvaluationConfig(draws=40, threshold="half")


@pytest.fixture
def findings(fit_rows):
    """Two seeds of two conditions: one finding of both classes, one that is never there and partly unknown."""
    draw, parts = np.random.default_rng(0), []
    target = np.stack([np.arange(30) % 3 == 0, np.zeros(30)], axis=1).astype(float)
    target[:5, 1] = np.nan
    for condition in ("all", "few"):
        for seed in (1, 0):
            scores = np.clip(0.4 * np.nan_to_num(target) + 0.6 * draw.random((30, 2)), 0, 1)
            parts.append(fit_rows(scores, target, outputs=("ill", "rare"), condition=condition, seed=seed))
    return pd.concat(parts, ignore_index=True)


def test_seeds_and_images_are_in_the_order_of_their_names(findings):
    cell, other = measure(findings.sample(frac=1, random_state=1), CONFIG)
    assert (cell.key, other.key) == (("plain", "all"), ("plain", "few"))
    assert cell.seeds == (0, 1)
    assert list(cell.images) == sorted(set(findings["image_id"]))
    rows = findings[(findings["condition"] == "all") & (findings["seed"] == 1) & (findings["output"] == "ill")]
    column = cell.outputs.index("ill")
    np.testing.assert_array_equal(cell.scores[1, :, column], rows.sort_values("image_id")["score"])


def test_an_output_counts_on_its_known_images_alone(findings):
    cell = measure(findings, CONFIG)[0]
    target, scores, patients = cell.column("rare")
    assert target.shape == patients.shape == (25,)
    assert scores.shape == (2, 25)


def test_a_mean_can_be_taken_over_the_outputs_of_both_classes(findings):
    cell = measure(findings, CONFIG, metrics=("auprc", "accuracy"))[0]
    assert cell.two_class == ("ill",)
    assert set(cell.samples) == {"auprc", "accuracy"}
    np.testing.assert_array_equal(cell.mean_over(["ill"])["accuracy"].points, cell.by_output["ill"]["accuracy"].points)
    both = (cell.by_output["ill"]["accuracy"].points + cell.by_output["rare"]["accuracy"].points) / 2
    np.testing.assert_allclose(cell.samples["accuracy"].points, both)


def test_all_outputs_remain_where_none_is_of_both_classes(findings):
    rows = findings[(findings["condition"] == "all") & (findings["seed"] == 0)].assign(target=1.0)
    assert align(rows, ["ill", "rare"]).two_class == ("ill", "rare")


def test_conditions_share_their_patient_resamples(findings):
    cells = measure(findings.assign(score=0.25 + findings["target"].fillna(0) / 2), CONFIG)
    np.testing.assert_array_equal(*(cell.samples["brier"].values for cell in cells))


def test_wanted_splits_alone_become_cells(findings):
    both = pd.concat([findings, findings.assign(split="val", image_id=findings["image_id"] + "v")])
    assert {cell.split for cell in measure(both, CONFIG)} == {"test", "val"}
    assert {cell.split for cell in measure(both, CONFIG, splits=("test",))} == {"test"}


def test_estimates_are_rows_by_cell_and_metric(findings):
    rows = estimates(measure(findings, CONFIG), ("accuracy", "brier"))
    assert [(row["condition"], row["metric"]) for row in rows] == [
        (condition, metric) for condition in ("all", "few") for metric in ("accuracy", "brier")
    ]
    assert all(row["low"] is None and row["dataset"] == "ct" for row in rows)
    assert {row["reason"] for row in rows} == {"too few patients: 10 in the smallest class, 20 are needed"}

"""The numbers of a whole score card, as they were first computed: a rewrite of the path to them may change none."""

import numpy as np
import pandas as pd
import pytest

from medtransfer.evaluation.cells import EvaluationConfig
from medtransfer.evaluation.scorecard import scorecard

NUMBERS = ("mean", "sd", "low", "high", "low_seeds", "high_seeds")
RATIO = {("plain", "rare"): 8.0}


def targets(count, columns, draw):
    """Targets ``[images, outputs]``: one finding, exclusive classes, or two findings of which a fifth is not known."""
    if columns == ("one", "two", "three"):
        return np.eye(3)[draw.integers(0, 3, count)]
    target = (draw.random((count, len(columns))) < 0.4).astype(float)
    return np.where(draw.random(target.shape) < 0.2, np.nan, target) if len(columns) == 2 else target


def make_table(fit_rows):
    draw, parts = np.random.default_rng(7), []
    fits = {"all": ("ill",), "rare": ("ill",), "classes": ("one", "two", "three"), "findings": ("edema", "mass")}
    for condition, outputs in fits.items():
        for split, count in (("val", 120), ("test", 180)):
            target = targets(count, outputs, draw)
            for seed in (0, 1):
                scores = 0.3 * np.nan_to_num(target) + 0.7 * draw.random(target.shape)
                scores = scores / scores.sum(1, keepdims=True) if len(outputs) == 3 else scores
                fit = {"condition": condition, "seed": seed, "dataset": condition}
                parts.append(fit_rows(scores, target, split=split, outputs=outputs, per_patient=3, **fit))
    return pd.concat(parts, ignore_index=True)


def test_the_card_has_the_golden_numbers(fit_rows, golden):
    card = scorecard(make_table(fit_rows), EvaluationConfig(draws=100, seed=3), neg_pos_ratio=RATIO)
    expected = golden("card")
    assert set(expected) == set(card)
    for name, metrics in expected.items():
        entry = card[name]["probability"]["metrics"]
        assert set(entry) == set(metrics)
        for metric, numbers in metrics.items():
            assert [entry[metric].get(part) for part in NUMBERS] == pytest.approx(numbers, abs=1e-10), (name, metric)

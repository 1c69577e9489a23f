"""Rules against the golden point and loops over all thresholds; only validation rows may choose."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix

from medtransfer.errors import DataError
from medtransfer.evaluation import thresholds
from medtransfer.evaluation.binary import sensitivity, specificity


def test_sensitivity_80_finds_the_golden_point(golden):
    point = golden("threshold80")
    threshold = thresholds.choose_threshold("sensitivity_80", point["label"], point["score"])
    assert threshold == point["threshold"]
    counts = confusion_matrix(point["label"], np.array(point["score"]) >= threshold).ravel()
    assert counts.tolist() == [point[name] for name in ("tn", "fp", "fn", "tp")]


@pytest.mark.parametrize("seed", range(8))
def test_rules_equal_a_loop_over_all_thresholds(seed):
    rng = np.random.default_rng(seed)
    target = np.append([0, 1], rng.integers(0, 2, 40))
    score = np.round(rng.random(42) + 0.4 * target, 1)
    falling = sorted(set(score), reverse=True)
    gains = [sensitivity(target, score, threshold=t) + specificity(target, score, threshold=t) for t in falling]
    best = next(t for t, gain in zip(falling, gains, strict=True) if gain >= max(gains) - 1e-12)
    assert thresholds.choose_threshold("youden", target, score) == best
    enough = next(t for t in falling if sensitivity(target, score, threshold=t) >= 0.8)
    assert thresholds.choose_threshold("sensitivity_80", target, score) == enough


def test_four_of_five_positives_are_exactly_enough():
    assert thresholds.choose_threshold("sensitivity_80", [1, 1, 1, 1, 1, 0], [0.9, 0.8, 0.7, 0.6, 0.1, 0.2]) == 0.6


def test_half_is_half_for_any_rows():
    assert thresholds.choose_threshold("half", [1, 1], [0.1, 0.2]) == 0.5


@pytest.mark.parametrize("target", [[1, 1], [0, 0], []])
def test_a_rule_needs_rows_of_both_classes(target):
    with pytest.raises(DataError, match=r"threshold rule youden: the validation rows hold .* at least one of each"):
        thresholds.choose_threshold("youden", target, [0.3] * len(target))


def test_validation_rows_choose_and_unknown_targets_do_not_count(fit_rows):
    table = fit_rows([0.2, 0.4, 0.6, 0.99], [0, 0, 1, np.nan], split="val")
    assert thresholds.threshold_from_validation("youden", table) == 0.6


def test_rows_of_another_split_are_refused(fit_rows):
    table = pd.concat([fit_rows([0.2, 0.6], [0, 1], split=split) for split in ("val", "test")])
    with pytest.raises(DataError, match="got rows of split test, expected validation rows alone"):
        thresholds.threshold_from_validation("youden", table)


def test_rows_of_two_fits_are_refused(fit_rows):
    table = pd.concat([fit_rows([0.2, 0.6], [0, 1], split="val", seed=seed) for seed in (0, 1)])
    with pytest.raises(DataError, match="an image occurs twice, expected one fit and one output"):
        thresholds.threshold_from_validation("youden", table)

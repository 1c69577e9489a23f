"""Predictive values over prevalence: golden numbers, cohorts drawn row by row, and Park et al.'s two ends."""

import numpy as np
import pandas as pd
import pytest

from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.prevalence import (
    decision_curve,
    negative_predictive_value,
    over_prevalence,
    predicted_negatives,
    simulate_prevalence,
)

DRAW = np.random.default_rng(3)
TARGET = np.r_[np.ones(60, int), np.zeros(140, int)]
SCORE = np.clip(DRAW.normal(0.35 + 0.3 * TARGET, 0.2), 0, 1)


def test_closed_forms_are_the_golden_ones(golden):
    gold = golden("threshold80")
    found = simulate_prevalence(
        gold["label"],
        gold["score"],
        threshold=gold["threshold"],
        prevalences=[float(share) for share in gold["npv_by_prevalence"]],
        draws=10,
    )
    assert [one.npv for one in found] == pytest.approx(list(gold["npv_by_prevalence"].values()), abs=1e-9)
    assert [one.negatives for one in found] == pytest.approx(
        list(gold["predicted_negative_share_by_prevalence"].values()), abs=1e-9
    )


def test_the_printed_ends_of_park_follow_from_one_operating_point():
    assert negative_predictive_value(0.850, 0.819, 0.269) == pytest.approx(0.937, abs=5e-4)
    assert predicted_negatives(0.850, 0.819, 0.269) == pytest.approx(0.639, abs=5e-4)


@pytest.mark.parametrize("prevalence", [0.02, 0.3])
def test_cohorts_are_those_drawn_row_by_row(prevalence):
    threshold, draws, count = 0.5, 4000, len(TARGET)
    found = simulate_prevalence(TARGET, SCORE, threshold=threshold, prevalences=[prevalence], draws=draws)[0]
    positives = round(prevalence * count)
    called = [SCORE[label == TARGET] < threshold for label in (1, 0)]
    missed = DRAW.choice(called[0], (draws, positives)).sum(1)
    right = DRAW.choice(called[1], (draws, count - positives)).sum(1)
    npv, share = right / (right + missed), (right + missed) / count
    assert found.npv_mean == pytest.approx(npv.mean(), abs=0.003)
    assert (found.npv_low, found.npv_high) == pytest.approx(np.quantile(npv, [0.025, 0.975]), abs=0.006)
    assert (found.negatives_low, found.negatives_high) == pytest.approx(np.quantile(share, [0.025, 0.975]), abs=0.011)
    assert found.negatives_mean == pytest.approx(found.negatives, abs=0.003)
    assert found.npv_mean == pytest.approx(found.npv, abs=0.004)


def test_results_depend_on_the_seed_alone():
    def run(seed):
        return simulate_prevalence(TARGET, SCORE, threshold=0.5, prevalences=[0.1, 0.2], draws=50, seed=seed)

    assert run(1) == run(1) != run(2)


def test_without_a_predicted_negative_there_is_no_predictive_value():
    (one,) = simulate_prevalence(TARGET, SCORE, threshold=0.0, prevalences=[0.1], draws=20)
    assert np.isnan([one.npv, one.npv_mean, one.npv_low, one.npv_high]).all()
    assert (one.negatives, one.negatives_high) == (0, 0)


def test_net_benefit_is_true_positives_less_weighted_false_positives():
    curve = decision_curve(TARGET, SCORE, [0.1, 0.5])
    for place, cut in enumerate((0.1, 0.5)):
        called = cut <= SCORE
        hits, alarms = (called & (TARGET == 1)).sum(), (called & (TARGET == 0)).sum()
        assert curve["model"][place] == pytest.approx(hits / 200 - alarms / 200 * cut / (1 - cut))
        assert curve["all"][place] == pytest.approx(0.3 - 0.7 * cut / (1 - cut))
    assert curve["none"].tolist() == [0, 0]
    rarer = decision_curve(TARGET, SCORE, [0.1], prevalence=0.05)
    assert rarer["model"][0] < curve["model"][0]
    assert rarer["all"][0] == pytest.approx(0.05 - 0.95 / 9)
    assert decision_curve(TARGET, SCORE, [0.0])["model"][0] == pytest.approx(0.3)


def test_input_without_meaning_is_refused():
    with pytest.raises(ConfigError, match="expected 1 or more at shares from 0 to 1"):
        simulate_prevalence(TARGET, SCORE, threshold=0.5, prevalences=[1.2])
    with pytest.raises(DataError, match="0 of 3 rows are positive, expected rows of both classes"):
        simulate_prevalence([0, 0, 0], [0.1, 0.2, 0.3], threshold=0.5, prevalences=[0.1])
    with pytest.raises(ConfigError, match="thresholds from 0 to below 1"):
        decision_curve(TARGET, SCORE, [1.0])


def rows_of(split, target, score):
    ids = [f"{split}{number}" for number in range(len(target))]
    return pd.DataFrame({"dataset": "d", "split": split, "image_id": ids, "target": target, "score": score})


def test_threshold_and_temperature_come_from_validation_rows_alone():
    validation, rows = rows_of("val", TARGET, SCORE), rows_of("test", TARGET, np.sqrt(SCORE))
    found = over_prevalence(validation, rows, prevalences=[0.05, 0.6], draws=50)
    assert found.threshold == np.sort(SCORE[TARGET == 1])[::-1][47]  # 48 of 60 are 80 %
    assert found.sensitivity == (np.sqrt(SCORE[TARGET == 1]) >= found.threshold).mean()
    assert [one.prevalence for one in found.points] == [0.05, 0.3, 0.6]
    other = rows.assign(score=1 - SCORE)
    assert over_prevalence(validation, other, draws=50).threshold == found.threshold
    assert over_prevalence(validation, other, draws=50).temperature == found.temperature
    with pytest.raises(DataError, match="prevalence: got rows of split test, expected validation rows alone"):
        over_prevalence(rows, rows)


def test_the_table_has_a_row_per_prevalence_with_the_operating_point():
    rows = rows_of("test", [*TARGET, np.nan], [*SCORE, 0.5])
    table = over_prevalence(rows_of("val", TARGET, SCORE), rows, prevalences=[0.1], draws=50).table()
    assert table["prevalence"].tolist() == [0.1, 0.3]
    assert table["sensitivity"].tolist() == [0.8, 0.8]
    se, sp = table.loc[0, ["sensitivity", "specificity"]]
    assert table.loc[0, "npv"] == pytest.approx(sp * 0.9 / (sp * 0.9 + (1 - se) * 0.1))

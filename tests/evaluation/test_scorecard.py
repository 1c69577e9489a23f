"""Score cards: equal to the metrics, thresholds from validation rows, JSON without NaN."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from medtransfer.errors import DataError
from medtransfer.evaluation import intervals, scorecard
from medtransfer.evaluation.cells import BINARY, MULTICLASS, NAMES, EvaluationConfig
from medtransfer.evaluation.chance import POSITIVE, SHARE, chance, patients_by_class
from medtransfer.evaluation.checks import UndefinedMetricWarning
from medtransfer.evaluation.metrics import METRICS
from medtransfer.evaluation.summary import RULES, USUAL
from medtransfer.evaluation.thresholds import choose_threshold

CONFIG = EvaluationConfig(draws=50)
HALF = CONFIG.model_copy(update={"threshold": "half"})


def scores_of(targets, seed, strength=0.4):
    targets = np.nan_to_num(np.asarray(targets, float))
    noise = np.random.default_rng(seed).random(targets.shape)
    return (1 - strength) * noise + strength * targets


@pytest.fixture
def binary_table(fit_rows):
    parts = []
    for split, count in (("val", 30), ("test", 60)):
        target = np.random.default_rng(count).integers(0, 2, count)
        parts += [
            fit_rows(scores_of(target, seed + count), target, split=split, seed=seed, per_patient=2)
            for seed in (0, 1, 2)
        ]
    return pd.concat(parts, ignore_index=True)


def only(table, seed, split):
    return table[(table["seed"] == seed) & (table["split"] == split)]


def test_binary_scores_equal_metrics_and_patient_bootstrap(binary_table):
    rows = only(binary_table, 0, "test")
    result = scorecard.score_binary(rows, positive="covid", threshold=0.4, draws=60, seed=2)
    assert set(result) == set(BINARY)
    rows = rows.sort_values("image_id")
    target, scores, patients = rows["target"], rows["score"].to_numpy()[None], rows["patient_id"]
    drawn = intervals.resample(BINARY, target, scores, patients, draws=60, seed=2, thresholds=[0.4], stratified=True)
    for name, interval in result.items():
        assert interval.value == METRICS[name](target, scores[0], threshold=0.4)
        counts = (30,) if name == "mse" else patients_by_class(target, patients)
        spread = chance(np.array([interval.value]), drawn[name], patients=counts, rule=RULES.get(name, USUAL).alone)
        if interval.value == 1:
            assert (interval.low, interval.high) == (0.025 ** (1 / min(counts)), 1)
            continue
        expected = spread.bounds(interval.value, level=0.95, scale=POSITIVE if name == "mse" else SHARE)
        assert (interval.low, interval.high) == pytest.approx(expected)
    assert result["brier"].value == result["mse"].value


def test_scorecard_chooses_each_seeds_threshold_on_its_validation_rows(binary_table):
    card = scorecard.scorecard(binary_table, CONFIG)
    block = card["plain/stl_n/ct/test"]["probability"]
    for index, seed in enumerate((0, 1, 2)):
        validation, test = only(binary_table, seed, "val"), only(binary_table, seed, "test")
        threshold = choose_threshold("youden", validation["target"], validation["score"])
        assert block["thresholds"]["covid"][index] == threshold
        for name in ("f1", "specificity"):
            value = METRICS[name](test["target"], test["score"], threshold=threshold)
            assert block["metrics"][name]["per_seed"][index] == pytest.approx(value)


def test_poisoned_test_targets_change_no_threshold(binary_table):
    poisoned = binary_table.copy()
    test = poisoned["split"] == "test"
    poisoned.loc[test, "target"] = 1 - poisoned.loc[test, "target"]
    clean, wrong = (
        scorecard.scorecard(table, CONFIG)["plain/stl_n/ct/test"]["probability"] for table in (binary_table, poisoned)
    )
    assert clean["thresholds"] == wrong["thresholds"]
    assert clean["metrics"]["auroc"]["mean"] == pytest.approx(1 - wrong["metrics"]["auroc"]["mean"])


def test_an_entry_has_mean_spread_and_both_intervals(binary_table):
    entry = scorecard.scorecard(binary_table, CONFIG)["plain/stl_n/ct/test"]
    assert (entry["seeds"], entry["images"], entry["patients"]) == ([0, 1, 2], 60, 30)
    assert [entry[name] for name in NAMES] == ["plain", "stl_n", "ct", "test"]
    block = entry["probability"]
    assert (block["task"], block["outputs"], block["known"]) == ("binary", ["covid"], {"covid": 60})
    numbers = block["metrics"]["auroc"]
    assert numbers["mean"] == pytest.approx(np.mean(numbers["per_seed"]))
    assert numbers["sd"] == pytest.approx(np.std(numbers["per_seed"], ddof=1))
    assert numbers["low"] < numbers["mean"] < numbers["high"]
    assert numbers["low_seeds"] < numbers["low"] < numbers["high"] < numbers["high_seeds"]


def test_one_seed_has_no_spread_over_seeds(binary_table):
    card = scorecard.scorecard(binary_table[binary_table["seed"] == 0], CONFIG)
    numbers = card["plain/stl_n/ct/test"]["probability"]["metrics"]["auroc"]
    assert numbers["sd"] is None
    assert "low_seeds" not in numbers


def test_an_outer_data_set_uses_the_threshold_of_the_inner_validation_rows(binary_table, fit_rows):
    target = np.arange(20) % 2
    outer = fit_rows(scores_of(target, 9), target, dataset="outer")
    card = scorecard.scorecard(pd.concat([only(binary_table, 0, "val"), outer]), CONFIG)
    inner = card["plain/stl_n/ct/val"]["probability"]["thresholds"]
    assert card["plain/stl_n/outer/test"]["probability"]["thresholds"] == inner


def test_test_rows_are_weighted_to_a_balance_and_validation_rows_are_not(binary_table):
    plain = scorecard.scorecard(binary_table, CONFIG)
    balanced = scorecard.scorecard(
        binary_table, CONFIG, neg_pos_ratio={("plain", "stl_n"): 16.0, ("other", "stl_n"): 4.0}
    )
    name = "plain/stl_n/ct"
    assert balanced[f"{name}/val"] == plain[f"{name}/val"]
    assert balanced[f"{name}/test"]["neg_pos_ratio"] == 16
    before, after = (card[f"{name}/test"]["probability"] for card in (plain, balanced))
    assert after["thresholds"] == before["thresholds"]
    assert after["metrics"]["sensitivity"]["mean"] == pytest.approx(before["metrics"]["sensitivity"]["mean"])
    rows = only(binary_table, 1, "test")
    balance = intervals.at_balance(
        ["auprc"], rows["target"], rows["score"].to_numpy()[None], thresholds=[0.5], negatives=16
    )
    assert after["metrics"]["auprc"]["per_seed"][1] == pytest.approx(balance["auprc"][0])


def test_predictions_under_an_intervention_do_not_enter_the_card(binary_table):
    off = binary_table.assign(intervention="inserted_off", score=0.5)
    assert scorecard.scorecard(pd.concat([binary_table, off]), CONFIG) == scorecard.scorecard(binary_table, CONFIG)


def test_without_validation_rows_only_half_is_possible(binary_table):
    test = binary_table[binary_table["split"] == "test"]
    with pytest.raises(
        DataError, match="variant plain, condition stl_n, seed 0, output covid has validation rows of 0 data sets"
    ):
        scorecard.scorecard(test, CONFIG)
    card = scorecard.scorecard(test, HALF)
    block = card["plain/stl_n/ct/test"]["probability"]
    assert (block["threshold_rule"], block["thresholds"]) == ("half", {"covid": [0.5, 0.5, 0.5]})


def test_labels_with_gaps_are_scored_one_by_one_and_averaged(fit_rows):
    rng = np.random.default_rng(3)
    target = rng.integers(0, 2, (120, 3)).astype(float)
    target[rng.random((120, 3)) < 0.3] = np.nan
    outputs = ("edema", "effusion", "pneumonia")
    table = fit_rows(scores_of(target, 4), target, outputs=outputs)
    block = scorecard.scorecard(table, HALF)["plain/stl_n/ct/test"]
    block = block["probability"]
    assert block["task"] == "multilabel"
    areas = []
    for index, output in enumerate(outputs):
        rows = table[(table["output"] == output) & table["target"].notna()]
        areas.append(METRICS["auroc"](rows["target"], rows["score"]))
        assert block["by_output"][output]["metrics"]["auroc"]["mean"] == pytest.approx(areas[-1])
        assert block["known"][output] == int((~np.isnan(target[:, index])).sum())
    assert block["metrics"]["auroc"]["mean"] == pytest.approx(np.mean(areas))
    assert block["metrics"]["auroc"]["low"] < np.mean(areas) < block["metrics"]["auroc"]["high"]


def class_table(fit_rows, count=90, gaps=0):
    target = np.eye(3)[np.arange(count) % 3]
    score = np.random.default_rng(0).dirichlet(np.ones(3), count) * 0.6 + 0.4 * target
    target[:gaps] = np.nan
    return fit_rows(score, target, outputs=("normal", "pneumonia", "covid"))


@pytest.mark.parametrize("gaps", [0, 6])
def test_outputs_that_sum_to_one_are_scored_as_classes(fit_rows, gaps):
    table = class_table(fit_rows, gaps=gaps)
    block = scorecard.scorecard(table, CONFIG)["plain/stl_n/ct/test"]["probability"]
    assert block["task"] == "multiclass"
    target = (np.arange(90) % 3)[gaps:]
    score = table["score"].to_numpy().reshape(90, 3)[gaps:]
    single = scorecard.score_multiclass(table, draws=50)
    assert set(block["metrics"]) == set(single) == set(MULTICLASS)
    for name, numbers in block["metrics"].items():
        assert numbers["mean"] == pytest.approx(METRICS[name](target, score))
        assert (numbers["low"], numbers["high"]) == pytest.approx((single[name].low, single[name].high))


def test_three_sigmoids_with_one_hot_targets_are_not_classes(fit_rows):
    table = class_table(fit_rows)
    table["score"] /= 2
    with pytest.raises(DataError, match="do not sum to one, expected exclusive classes"):
        scorecard.score_multiclass(table)
    card = scorecard.scorecard(table, HALF)
    assert card["plain/stl_n/ct/test"]["probability"]["task"] == "multilabel"


def test_zones_are_scored_next_to_the_diagnosis_of_the_same_fit(fit_rows, binary_table):
    outputs = tuple(f"zone_{index}" for index in range(6))
    target = np.random.default_rng(0).integers(0, 4, (60, 6)).astype(float)
    target[:20] = np.nan
    zones = fit_rows(np.nan_to_num(target) + 0.5, target, outputs=outputs, kind="severity", per_patient=2)
    table = pd.concat([zones, binary_table[binary_table["seed"] == 0]])
    entry = scorecard.scorecard(table, CONFIG)["plain/stl_n/ct/test"]
    assert entry["probability"]["task"] == "binary"
    assert entry["severity"]["task"] == "regression"
    assert entry["severity"]["known"] == dict.fromkeys(outputs, 40)
    assert entry["severity"]["metrics"]["mse"]["mean"] == pytest.approx(0.25)
    assert entry["severity"]["by_output"]["zone_5"]["metrics"]["pearson"]["mean"] == pytest.approx(1)


def test_an_undefined_metric_becomes_null_with_a_reason(fit_rows):
    table = fit_rows([0.2, 0.8, 0.6], [1, 1, 1])
    with pytest.warns(UndefinedMetricWarning):
        single = scorecard.score_binary(table, positive="covid", threshold=0.5, draws=20)
    assert math.isnan(single["auroc"].value)
    card = scorecard.scorecard(table, HALF)
    metrics = card["plain/stl_n/ct/test"]["probability"]["metrics"]
    assert metrics["auroc"]["mean"] is metrics["auroc"]["low"] is None
    assert metrics["auroc"]["per_seed"] == [None]
    assert metrics["auroc"]["reason"] == "auroc is undefined: there is no negative row"
    assert metrics["sensitivity"]["mean"] == pytest.approx(2 / 3)
    json.dumps(card, allow_nan=False)


def test_an_output_without_any_target_is_null_with_a_reason(fit_rows):
    table = fit_rows([1.0, 2.0], [np.nan, np.nan], outputs=("zone_0",), kind="severity")
    block = scorecard.scorecard(table, CONFIG)["plain/stl_n/ct/test"]["severity"]
    assert block["metrics"]["mse"]["reason"] == "mse is undefined: there is no row"
    json.dumps(block, allow_nan=False)


def test_a_mean_over_outputs_leaves_out_those_without_a_value_and_counts_them(fit_rows):
    target = np.random.default_rng(3).integers(0, 2, (120, 3)).astype(float)
    target[:, 1] = 0
    table = fit_rows(scores_of(target, 4), target, outputs=("edema", "fracture", "mass"))
    block = scorecard.scorecard(table, HALF)["plain/stl_n/ct/test"]["probability"]
    of = {name: part["metrics"]["auroc"]["mean"] for name, part in block["by_output"].items()}
    assert of["fracture"] is None
    auroc = block["metrics"]["auroc"]
    assert auroc["mean"] == pytest.approx((of["edema"] + of["mass"]) / 2)
    assert auroc["low"] < auroc["mean"] < auroc["high"]
    assert auroc["reason"].startswith("the mean over 2 of 3 outputs; of the others one says: auroc is undefined")


def test_without_patient_ids_the_card_has_values_but_no_interval(binary_table):
    config = EvaluationConfig(draws=20)
    known, card = (scorecard.scorecard(table, config) for table in (binary_table, binary_table.assign(patient_id="")))
    for key, entry in card.items():
        assert entry["patients"] is None
        for name, metric in entry["probability"]["metrics"].items():
            assert metric["mean"] == known[key]["probability"]["metrics"][name]["mean"]
            assert (metric["low"], metric["high"]) == (None, None)
            assert metric["reason"].startswith("no patient ids")


def test_the_card_does_not_depend_on_the_order_of_the_rows(binary_table):
    mixed = binary_table.sample(frac=1, random_state=0)
    straight, shuffled = scorecard.scorecard(binary_table, CONFIG), scorecard.scorecard(mixed, CONFIG)
    assert json.dumps(straight, sort_keys=True) == json.dumps(shuffled, sort_keys=True)


def test_seeds_with_other_images_are_refused(binary_table):
    short = binary_table.drop(only(binary_table, 1, "test").index[0])
    with pytest.raises(DataError, match="image ct/test0 lacks output covid of seed 1"):
        scorecard.scorecard(short, CONFIG)


def test_rows_of_several_fits_or_of_no_such_output_are_refused(binary_table):
    rows = binary_table[binary_table["split"] == "test"]
    with pytest.raises(DataError, match=r"rows of seeds \(0, 1, 2\), expected one fit"):
        scorecard.score_binary(rows, positive="covid", threshold=0.5)
    with pytest.raises(DataError, match="no rows of output flu"):
        scorecard.score_binary(rows, positive="flu", threshold=0.5)
    twice = pd.concat([rows, rows.assign(variant="other")])
    with pytest.raises(DataError, match="an image occurs twice, expected rows of one entry"):
        scorecard.score_binary(twice, positive="covid", threshold=0.5)


def test_two_studies_in_one_table_are_refused(binary_table):
    other = binary_table.assign(study="multitask_vit")
    with pytest.raises(DataError, match="holds studies attentive_transfer, multitask_vit, expected one"):
        scorecard.scorecard(pd.concat([binary_table, other]), CONFIG)

import numpy as np
import pytest

from medtransfer.errors import DataError
from medtransfer.evaluation.binary import accuracy, auroc
from medtransfer.evaluation.chance import chance
from medtransfer.evaluation.thresholds import threshold_from_validation

FULL = "stl_n-stl_m-sstl_m"


def one(predictions, network, chain, split="test", dataset="ct", seed=None):
    rows = predictions.query("variant == @network and condition == @chain and split == @split and dataset == @dataset")
    rows = rows[(rows["intervention"] == "") & ((rows["seed"] == seed) if seed is not None else True)]
    return rows.sort_values(["seed", "image_id"])


def test_auroc_is_the_mean_of_the_seeds_own_aurocs(predictions, study_results):
    rows = one(predictions, "resnet50_attn5", FULL)
    expected = [auroc(part["target"], part["score"]) for _, part in rows.groupby("seed")]
    row = study_results.known["ct", "resnet50_attn5", FULL, "auroc"]
    assert row["mean"] == pytest.approx(np.mean(expected))
    assert row["sd"] == pytest.approx(np.std(expected, ddof=1))
    assert row["low"] < row["mean"] < row["high"]


def test_the_own_test_set_comes_first_and_chains_are_in_the_order_of_the_study(study_results):
    assert (study_results.own, study_results.outside) == ("ct", ["far"])
    assert list(study_results.cells) == study_results.wanted


def test_thresholds_come_from_validation_images_on_every_data_set(study_results, predictions):
    for dataset in ("ct", "far"):
        expected = []
        for seed in (0, 1):
            limit = threshold_from_validation("youden", one(predictions, "resnet50_attn0", FULL, "val", seed=seed))
            rows = one(predictions, "resnet50_attn0", FULL, dataset=dataset, seed=seed)
            expected.append(accuracy(rows["target"], rows["score"], threshold=limit))
        assert study_results.grid[dataset]["resnet50_attn0", FULL].samples["accuracy"].points == pytest.approx(expected)


def test_test_labels_choose_no_threshold(predictions, measured, study_results):
    poisoned = predictions.assign(
        target=predictions["target"].where(predictions["split"] == "val", 1 - predictions["target"])
    )
    own = measured(poisoned).cells["resnet50_attn0", FULL].samples["accuracy"]
    assert own.points == pytest.approx(1 - study_results.cells["resnet50_attn0", FULL].samples["accuracy"].points)


def test_a_gain_is_paired_seed_by_seed(study_results):
    row = study_results.gains([(("resnet50_attn5", FULL), ("resnet50_attn5", "none"))])["resnet50_attn5", FULL, "auroc"]
    first, second = (study_results.cells["resnet50_attn5", chain].samples["auroc"] for chain in (FULL, "none"))
    assert row["mean"] == pytest.approx(np.mean(first.points - second.points))
    spread = chance(
        first.points - second.points, first.values - second.values, patients=first.patients, rule=first.rules.difference
    )
    assert (row["low_seeds"], row["high_seeds"]) == pytest.approx(spread.bounds(row["mean"], level=0.95))


def test_one_seed_has_no_interval_over_seeds(predictions, measured):
    for row in measured(predictions[predictions["seed"] == 0]).known.values():
        assert row["low_seeds"] is row["sd"] is None
        assert row["low"] is not None


def test_unknown_labels_do_not_count(predictions, measured):
    unknown = predictions["image_id"] == "ct/test0"
    changed = measured(predictions.assign(target=predictions["target"].mask(unknown)))
    assert len(changed.cells["resnet50_attn0", "none"].images) == 119


def test_an_outside_set_without_test_rows_is_an_error(measured):
    with pytest.raises(DataError, match="no test row of data set moon; predict it or leave it out of outside"):
        measured(outside=("far", "moon"))


def test_test_rows_of_a_set_that_the_study_does_not_name_are_an_error(measured):
    with pytest.raises(DataError, match="test rows of data set far, expected ct; name the others in outside"):
        measured(outside=())


@pytest.mark.parametrize(("column", "value"), [("image_id", "ct/test3"), ("seed", 1)])
def test_chains_with_other_images_or_seeds_cannot_be_compared(predictions, measured, column, value):
    gone = (predictions["condition"] == FULL) & (predictions[column] == value)
    changed = measured(predictions[~gone])
    with pytest.raises(DataError, match=f"resnet50_attn0 none has other {column} values on ct than"):
        changed.gains([(("resnet50_attn0", FULL), ("resnet50_attn0", "none"))])


def test_a_fit_without_validation_rows_needs_the_rule_half(predictions, measured):
    tested = predictions[predictions["split"] == "test"]
    with pytest.raises(DataError, match="seed 0, output covid has validation rows of 0 data sets, expected one"):
        measured(tested)
    assert measured(tested, threshold="half").cells

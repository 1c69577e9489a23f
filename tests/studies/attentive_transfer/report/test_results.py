import numpy as np
import pytest

from medtransfer.errors import DataError
from medtransfer.evaluation.binary import accuracy, auroc
from medtransfer.evaluation.intervals import seeds_by_patients_interval
from medtransfer.evaluation.thresholds import threshold_from_validation
from medtransfer.studies.attentive_transfer.report.results import attention_change, estimates, measure, paired

FULL = "stl_n-stl_m-sstl_m"


@pytest.fixture(scope="module")
def grid(predictions, settings):
    return measure(predictions, settings)


def one(predictions, network, chain, split="test", dataset="ct", seed=None):
    rows = predictions.query("network == @network and chain == @chain and split == @split and dataset == @dataset")
    rows = rows[(rows["output"] == "covid") & ((rows["seed"] == seed) if seed is not None else True)]
    return rows.sort_values(["seed", "image_id"])


def test_auroc_is_the_mean_of_the_seeds_own_aurocs(grid, predictions, settings):
    rows = one(predictions, "resnet50_attn5", FULL)
    expected = [auroc(part["target"], part["score"]) for _, part in rows.groupby("seed")]
    found = estimates(grid, settings).set_index(["dataset", "network", "chain", "metric"])
    row = found.loc["ct", "resnet50_attn5", FULL, "auroc"]
    assert row["mean"] == pytest.approx(np.mean(expected))
    assert row["sd"] == pytest.approx(np.std(expected, ddof=1))
    assert (row["images"], row["patients"], row["seeds"]) == (120, 60, 2)
    assert row["low"] < row["mean"] < row["high"]


def test_thresholds_come_from_validation_images_on_every_data_set(grid, predictions):
    for dataset in ("ct", "far"):
        expected = []
        for seed in (0, 1):
            limit = threshold_from_validation("youden", one(predictions, "resnet50_attn0", FULL, "val", seed=seed))
            rows = one(predictions, "resnet50_attn0", FULL, dataset=dataset, seed=seed)
            expected.append(accuracy(rows["target"], rows["score"], threshold=limit))
        assert grid[dataset]["resnet50_attn0", FULL].samples["accuracy"].points == pytest.approx(expected)


def test_test_labels_choose_no_threshold(predictions, settings, grid):
    poisoned = predictions.assign(
        target=predictions["target"].where(predictions["split"] == "val", 1 - predictions["target"])
    )
    own = measure(poisoned, settings)["ct"]["resnet50_attn0", FULL].samples["accuracy"]
    assert own.points == pytest.approx(1 - grid["ct"]["resnet50_attn0", FULL].samples["accuracy"].points)


def test_a_gain_equals_the_paired_bootstrap_of_both_score_tables(grid, predictions, settings):
    first, second = one(predictions, "resnet50_attn5", FULL), one(predictions, "resnet50_attn5", "none")
    half = len(first) // 2
    expected = seeds_by_patients_interval(
        "auroc",
        first["target"][:half],
        first["score"].to_numpy().reshape(2, -1),
        first["patient_id"][:half],
        baseline=second["score"].to_numpy().reshape(2, -1),
        draws=settings.draws,
        seed=settings.seed,
    )
    cells = (("resnet50_attn5", FULL), ("resnet50_attn5", "none"))
    row = paired(grid["ct"], [cells], settings).query("metric == 'auroc'").iloc[0]
    assert (row["mean"], row["low_seeds"], row["high_seeds"]) == pytest.approx(
        (expected.value, expected.low, expected.high)
    )


def test_one_seed_has_no_interval_over_seeds(predictions, settings):
    found = estimates(measure(predictions[predictions["seed"] == 0], settings), settings)
    assert found["low_seeds"].isna().all()
    assert found["sd"].isna().all()
    assert found["low"].notna().all()


def test_unknown_labels_do_not_count(predictions, settings):
    unknown = predictions["image_id"] == "ct/test0"
    found = measure(predictions.assign(target=predictions["target"].mask(unknown)), settings)
    assert found["ct"]["resnet50_attn0", "none"].images == 119


def test_attention_is_inactive_where_switching_it_off_moves_nothing_by_a_hundredth(predictions, settings):
    found = attention_change(predictions, settings)
    assert set(found["network"]) == {"resnet50_attn5"}
    assert list(found[found["inactive"]]["chain"]) == ["none"]
    assert found.set_index("chain").loc["none", "largest"] == pytest.approx(0.004)


def test_an_outside_set_without_test_rows_is_an_error(predictions, settings):
    wanted = settings.model_copy(update={"outside": ("far", "moon")})
    with pytest.raises(DataError, match="no test row of data set moon; predict it or leave it out of outside"):
        measure(predictions, wanted)


def test_two_own_test_sets_are_an_error(predictions, settings):
    with pytest.raises(DataError, match=r"test rows of 2 data sets \(ct, far\) besides the outside ones"):
        measure(predictions, settings.model_copy(update={"outside": ()}))


def test_cells_with_other_images_cannot_be_compared(predictions, settings):
    gone = (predictions["chain"] == FULL) & (predictions["image_id"] == "ct/test3")
    with pytest.raises(DataError, match=f"resnet50_attn0 after {FULL} has other image_id values on ct than"):
        measure(predictions[~gone], settings)


def test_cells_with_other_seeds_cannot_be_compared(predictions, settings):
    gone = (predictions["chain"] == FULL) & (predictions["seed"] == 1)
    with pytest.raises(DataError, match="has other seed values on ct"):
        measure(predictions[~gone], settings)


def test_a_fit_without_validation_rows_needs_the_rule_half(predictions, settings):
    tested = predictions[predictions["split"] == "test"]
    with pytest.raises(DataError, match="seed 0, has no validation row to choose a threshold on"):
        measure(tested, settings)
    assert measure(tested, settings.model_copy(update={"threshold": "half"}))["ct"]

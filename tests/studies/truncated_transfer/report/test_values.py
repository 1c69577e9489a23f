import numpy as np
import pandas as pd
import pytest

from medtransfer.evaluation.binary import auprc_trapezoid, auroc
from medtransfer.evaluation.compare import delong_test
from medtransfer.studies.truncated_transfer.report.values import (
    bootstrap_p,
    differences,
    paired_tests,
    pairs,
    results,
    trapezoids,
    values,
)

WHOLE = "densenet121-transfer"


def of(predictions, variant, condition, seed):
    rows = predictions[(predictions["variant"] == f"{variant}-{condition.name}") & (predictions["seed"] == seed)]
    return rows["target"].to_numpy(), rows["score"].to_numpy()


def test_values_are_means_over_seeds_of_the_metric(found, predictions, config):
    condition = config.conditions()[0]
    row = next(
        row for row in values(found) if (row["variant"], row["condition"], row["metric"]) == (WHOLE, condition, "auroc")
    )
    points = [auroc(*of(predictions, WHOLE, condition, seed)) for seed in config.seeds]
    assert row["mean"] == pytest.approx(np.mean(points))
    assert row["sd"] == pytest.approx(np.std(points, ddof=1))
    assert row["low_seeds"] < row["mean"] < row["high_seeds"]


def test_the_trapezoid_stands_beside_average_precision(found, predictions, config):
    condition = config.conditions()[1]
    mean, sd = trapezoids(found)[WHOLE, condition]
    points = [auprc_trapezoid(*of(predictions, WHOLE, condition, seed)) for seed in config.seeds]
    assert (mean, sd) == (pytest.approx(np.mean(points)), pytest.approx(np.std(points, ddof=1)))


def test_pairs_are_those_of_the_claims(config):
    first, second = config.conditions()
    assert pairs(config, "a1") == [((WHOLE, c), ("densenet121-random", c)) for c in (first, second)]
    cuts = [(a[0], b[0]) for a, b in pairs(config, "b")]
    assert cuts == [("densenet121_t1-transfer", WHOLE), ("densenet121_t2-transfer", WHOLE)] * 2
    assert {(a[0], b[0]) for a, b in pairs(config, "b_transfusion")} == {
        ("densenet121_t1-transfer", "densenet121_s1-transfusion")
    }


def test_a_relative_change_is_taken_seed_by_seed(found, predictions, config):
    condition, cut = config.conditions()[0], "densenet121_t1-transfer"
    row = differences(found, pairs(config, "b"), relative=True)[0]
    assert (row["variant"], row["variant_b"], row["condition"], row["metric"]) == (cut, WHOLE, condition, "auroc")
    shares = [
        auroc(*of(predictions, cut, condition, s)) / auroc(*of(predictions, WHOLE, condition, s)) - 1
        for s in config.seeds
    ]
    assert row["mean"] == pytest.approx(np.mean(shares))


def test_a_network_minus_itself_is_zero_with_a_closed_interval(found, config):
    key = (WHOLE, config.conditions()[0])
    row = differences(found, [(key, key)])[0]
    assert (row["mean"], row["low"], row["high"]) == (0, 0, 0)


def test_pairs_that_were_not_tested_are_left_out(found, config):
    condition = config.conditions()[0]
    assert differences(found, [((WHOLE, condition), ("resnet50-transfer", condition))]) == []


def test_auroc_is_tested_by_delong_on_whole_patients_and_scores_averaged_over_seeds(found, predictions):
    pair = pairs(found.config, "a1")[0]
    rows = {row["metric"]: row for row in paired_tests(found, [pair])}
    assert (rows["auroc"]["test"], rows["auprc"]["test"]) == ("DeLong", "bootstrap")
    table = predictions.set_index(["variant", "image_id"])
    first, second = (table.loc[f"{variant}-{condition.name}"].groupby("image_id") for variant, condition in pair)
    images = first["target"].first(), first["score"].mean(), second["score"].mean()
    patients = first["patient_id"].first()
    assert rows["auroc"]["p"] == pytest.approx(delong_test(*images, patients).p)
    assert rows["auroc"]["p"] != pytest.approx(delong_test(*images).p, rel=1e-3)


def test_copies_of_a_patients_images_change_no_p_of_delong(predictions, config, evaluation):
    copies = [predictions.assign(image_id=predictions["image_id"] + mark) for mark in ("", "b", "c")]
    once, thrice = (
        paired_tests(results(table, config, evaluation), pairs(config, "a1"))[0]["p"]
        for table in (predictions, pd.concat(copies, ignore_index=True))
    )
    assert thrice == pytest.approx(once)


def test_holm_never_makes_a_p_value_smaller_and_counts_one_metric_at_a_time(found, config):
    rows = paired_tests(found, [*pairs(config, "a1"), *pairs(config, "b")])
    assert all(row["p_holm"] >= row["p"] for row in rows)
    for metric in ("auroc", "auprc"):
        least = min((row for row in rows if row["metric"] == metric), key=lambda row: row["p"])
        assert least["p_holm"] == pytest.approx(min(1, 6 * least["p"]))


@pytest.mark.parametrize(
    ("drawn", "p"),
    [
        ([1.0] * 99, 0.02),
        ([-1.0] * 99, 0.02),
        ([1.0, -1.0] * 50, 1.0),
        ([1.0] * 95 + [-1.0] * 4, 0.1),
        ([0.0] * 9, 1.0),
    ],
)
def test_p_is_twice_the_smaller_share_beyond_zero(drawn, p):
    assert bootstrap_p(drawn) == pytest.approx(p)


def test_p_of_no_defined_draw_does_not_exist():
    assert np.isnan(bootstrap_p([np.nan, np.nan]))


def test_p_agrees_with_the_percentile_interval():
    drawn = np.random.default_rng(0).normal(0.3, 0.2, 5000)
    shift = np.quantile(drawn, 0.025)
    assert bootstrap_p(drawn - shift) == pytest.approx(0.05, abs=2e-3)

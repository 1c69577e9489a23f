import numpy as np
import pandas as pd
import pytest

from medtransfer.evaluation.binary import auprc_trapezoid, auroc
from medtransfer.evaluation.pairs import differences, paired_tests
from medtransfer.reporting.formatting import lookup
from medtransfer.studies.truncated_transfer.claims import METRICS
from medtransfer.studies.truncated_transfer.report.results import by_pair, mean_trapezoid, pairs, results

WHOLE, ALL, TENTH = "densenet121-transfer", "ct-all-tuned", "ct-tenth-tuned"


def of(predictions, variant, condition, seed):
    rows = predictions.query("variant == @variant and condition == @condition and seed == @seed")
    return rows["target"].to_numpy(), rows["score"].to_numpy()


def test_values_are_means_over_seeds_of_the_metric(study_results, predictions, config):
    row = lookup(study_results.rows(), "variant", "condition", "metric")[WHOLE, ALL, "auroc"]
    points = [auroc(*of(predictions, WHOLE, ALL, seed)) for seed in config.seeds]
    assert row["mean"] == pytest.approx(np.mean(points))
    assert row["sd"] == pytest.approx(np.std(points, ddof=1))
    assert row["low_seeds"] < row["mean"] < row["high_seeds"]


def test_cells_are_in_the_order_of_conditions_and_variants(study_results, config):
    assert list(study_results.cells) == [(v, c) for c in (ALL, TENTH) for v in config.variants]


def test_the_trapezoid_is_close_to_average_precision(study_results, predictions, config):
    mean, sd = mean_trapezoid(study_results.cells[WHOLE, TENTH])
    points = [auprc_trapezoid(*of(predictions, WHOLE, TENTH, seed)) for seed in config.seeds]
    assert (mean, sd) == (pytest.approx(np.mean(points)), pytest.approx(np.std(points, ddof=1)))


def test_pairs_are_those_of_the_claims(config):
    assert pairs(config, "a1") == [((WHOLE, c), ("densenet121-random", c)) for c in (ALL, TENTH)]
    cuts = [(a[0], b[0]) for a, b in pairs(config, "b")]
    assert cuts == [("densenet121_t1-transfer", WHOLE), ("densenet121_t2-transfer", WHOLE)] * 2
    assert {(a[0], b[0]) for a, b in pairs(config, "b_transfusion")} == {
        ("densenet121_t1-transfer", "densenet121_s1-transfusion")
    }


def test_the_rows_of_a_pair_are_together_one_per_metric(study_results):
    rows = differences(study_results.cells, pairs(study_results.config, "b"), METRICS)
    grouped = by_pair(rows)
    assert len(grouped) == 4
    assert all([row["metric"] for row in part] == list(METRICS) for part in grouped)
    assert all(len({row["variant"] for row in part}) == 1 for part in grouped)


def test_copies_of_a_patients_images_change_no_p_of_delong(predictions, config, evaluation):
    copies = [predictions.assign(image_id=predictions["image_id"] + mark) for mark in ("", "b", "c")]
    once, thrice = (
        paired_tests(results(table, config, evaluation).cells, pairs(config, "a1"), METRICS)[0]["p_images"]
        for table in (predictions, pd.concat(copies, ignore_index=True))
    )
    assert thrice == pytest.approx(once)


def test_holm_never_makes_a_p_value_smaller_and_counts_one_metric_at_a_time(study_results, config):
    rows = paired_tests(study_results.cells, [*pairs(config, "a1"), *pairs(config, "b")], METRICS)
    assert all(row["p_holm"] >= row["p"] for row in rows)
    for metric in METRICS:
        least = min((row for row in rows if row["metric"] == metric), key=lambda row: row["p"])
        assert least["p_holm"] == pytest.approx(min(1, 6 * least["p"]))

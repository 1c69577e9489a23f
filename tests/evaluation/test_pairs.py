import math

import numpy as np
import pandas as pd
import pytest

from medtransfer.errors import DataError
from medtransfer.evaluation.cells import EvaluationConfig, measure
from medtransfer.evaluation.compare import delong_test
from medtransfer.evaluation.pairs import delong, detectable, differences, paired_tests

A, B = ("plain", "all"), ("plain", "few")
METRICS = ("auroc", "auprc")


@pytest.fixture
def table(fit_rows):
    draw, target = np.random.default_rng(0), (np.arange(150) % 3 == 0).astype(float)
    return pd.concat(
        [
            fit_rows(
                np.clip(pull * target + (1 - pull) * draw.random(150), 0, 1),
                target,
                condition=condition,
                seed=seed,
                per_patient=2,
            )
            for condition, pull in (("all", 0.4), ("few", 0.2))
            for seed in (0, 1)
        ]
    )


def cells_of(table):
    config = EvaluationConfig(draws=60, threshold="half")
    return {cell.key: cell for cell in measure(table, config, metrics=METRICS)}


def test_differences_are_paired_and_those_that_were_not_run_are_left_out(table):
    cells = cells_of(table)
    rows = differences(cells, [(A, B), (A, ("plain", "none")), (A, A)], METRICS)
    assert [(row["condition"], row["condition_b"], row["metric"]) for row in rows] == [
        ("all", "few", "auroc"),
        ("all", "few", "auprc"),
    ]
    points = cells[A].samples["auroc"].points - cells[B].samples["auroc"].points
    assert rows[0]["mean"] == pytest.approx(points.mean())


def test_relative_differences_are_shares_of_the_second(table):
    cells = cells_of(table)
    row, *_ = differences(cells, [(A, B)], METRICS, relative=True)
    first, second = (cells[key].samples["auroc"].points for key in (A, B))
    assert row["mean"] == pytest.approx(np.mean((first - second) / second))


def test_p_belongs_to_the_interval_and_delong_is_of_the_images_alone(table):
    cells = cells_of(table)
    auroc, auprc = paired_tests(cells, [(A, B)], METRICS)
    a, b = (cells[key].scores.mean(0)[:, 0] for key in (A, B))
    assert auroc["p_images"] == delong_test(cells[A].target[:, 0], a, b, groups=cells[A].patients).p
    assert math.isnan(auprc["p_images"])
    for row in (auroc, auprc):
        assert (row["p"] < 0.05) == (row["low_seeds"] > 0 or row["high_seeds"] < 0)
        assert row["p_holm"] == row["p"]


def test_one_seed_has_no_p_but_that_of_the_images(table):
    auroc, auprc = paired_tests(cells_of(table[table["seed"] == 0]), [(A, B)], METRICS)
    assert np.isnan([auroc["p"], auroc["p_holm"], auprc["p"]]).all()
    assert auroc["p_images"] < 1


def test_equal_predictions_have_p_one(table):
    same = table[table["condition"] == "all"]
    cells = cells_of(pd.concat([same, same.assign(condition="few")]))
    assert [row["p"] for row in paired_tests(cells, [(A, B)], METRICS)] == [1, 1]


def test_without_patient_ids_there_is_no_test_and_no_detectable_difference(table):
    cells = cells_of(table.assign(patient_id=""))
    row = paired_tests(cells, [(A, B)], ("auroc",))[0]
    assert row["mean"] == pytest.approx(paired_tests(cells_of(table), [(A, B)], ("auroc",))[0]["mean"])
    assert (row["low"], row["low_seeds"]) == (None, None)
    assert row["reason"].startswith("no patient ids")
    assert all(math.isnan(row[p]) for p in ("p", "p_holm", "p_images"))
    test = delong(cells[A], cells[B])
    assert test.difference == pytest.approx(delong(*(cells_of(table)[key] for key in (A, B))).difference)
    assert math.isnan(detectable(cells[A], cells[B]))


def test_cells_of_other_images_are_not_tested(table):
    cells = cells_of(table[(table["condition"] == "all") | (table["image_id"] != "ct/test3")])
    with pytest.raises(DataError, match="plain few has other image_id values on ct than plain all"):
        delong(cells[A], cells[B])

import math

import numpy as np
import pandas as pd
import pytest

from medtransfer.errors import DataError
from medtransfer.evaluation.cells import EvaluationConfig, measure
from medtransfer.evaluation.compare import delong_test
from medtransfer.evaluation.pairs import bootstrap_p, delong, differences, paired_tests

A, B = ("plain", "all"), ("plain", "few")
METRICS = ("auroc", "auprc")


@pytest.fixture
def table(fit_rows):
    draw, target = np.random.default_rng(0), (np.arange(40) % 3 == 0).astype(float)
    return pd.concat(
        [
            fit_rows(
                np.clip(pull * target + (1 - pull) * draw.random(40), 0, 1),
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
    rows = differences(cells, [(A, B), (A, ("plain", "none")), (A, A)], METRICS, seed=0)
    assert [(row["condition"], row["condition_b"], row["metric"]) for row in rows] == [
        ("all", "few", "auroc"),
        ("all", "few", "auprc"),
    ]
    points = cells[A].samples["auroc"].points - cells[B].samples["auroc"].points
    assert rows[0]["mean"] == pytest.approx(points.mean())


def test_relative_differences_are_shares_of_the_second(table):
    cells = cells_of(table)
    row, *_ = differences(cells, [(A, B)], METRICS, seed=0, relative=True)
    first, second = (cells[key].samples["auroc"].points for key in (A, B))
    assert row["mean"] == pytest.approx(np.mean((first - second) / second))


def test_auroc_is_tested_by_delong_on_whole_patients_and_auprc_by_the_bootstrap(table):
    cells = cells_of(table)
    auroc, auprc = paired_tests(cells, [(A, B)], METRICS, seed=0)
    a, b = (cells[key].scores.mean(0)[:, 0] for key in (A, B))
    assert auroc["p"] == delong_test(cells[A].target[:, 0], a, b, groups=cells[A].patients).p
    assert (auroc["test"], auprc["test"]) == ("DeLong", "bootstrap")
    assert auroc["p_holm"] == auroc["p"]


def test_cells_of_other_images_are_not_tested(table):
    cells = cells_of(table[(table["condition"] == "all") | (table["image_id"] != "ct/test3")])
    with pytest.raises(DataError, match="plain few has other image_id values on ct than plain all"):
        delong(cells[A], cells[B])


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
    assert math.isnan(bootstrap_p([np.nan, np.nan]))


def test_p_agrees_with_the_percentile_interval():
    drawn = np.random.default_rng(0).normal(0.3, 0.2, 5000)
    shift = np.quantile(drawn, 0.025)
    assert bootstrap_p(drawn - shift) == pytest.approx(0.05, abs=2e-3)

"""Scores of a made-up study: LEEP rises with the chain as AUROC does, the last step has no label head."""

import re

import pandas as pd
import pytest

from medtransfer.errors import DataError
from medtransfer.evaluation.ranks import rank_correlation
from medtransfer.studies.attentive_transfer.report.results import ReportSettings, measure
from medtransfer.studies.attentive_transfer.report.transferability import (
    correlation_table,
    leep_figure,
    leep_table,
    routes_table,
)
from medtransfer.studies.attentive_transfer.report.transitions import (
    correlations,
    hand_overs,
    printed_leep,
    read_scores,
    step_gains,
)


@pytest.fixture(scope="module")
def grid(predictions, settings):
    return measure(predictions, settings)


def cell(table, row, column):
    return table.rows[row][column]


def test_a_written_score_table_is_read_back_with_its_reasons(scores, tmp_path):
    scores.to_csv(tmp_path / "scores.csv", index=False)
    pd.testing.assert_frame_equal(read_scores(tmp_path / "scores.csv"), scores, check_dtype=False)


def test_a_score_table_that_is_not_there_or_lacks_a_column_is_refused(scores, tmp_path):
    with pytest.raises(DataError, match="no score table there; run the transferability stage first"):
        read_scores(tmp_path / "scores.csv")
    scores.drop(columns="logme").to_csv(tmp_path / "scores.csv", index=False)
    with pytest.raises(DataError, match="missing columns logme; run the transferability stage again"):
        read_scores(tmp_path / "scores.csv")


def test_table_6_of_the_paper_has_six_networks_and_three_chains():
    frame = printed_leep()
    assert frame.groupby("network").size().eq(3).all()
    assert frame["network"].nunique() == 6
    values = frame.set_index(["network", "chain"])["paper"]
    assert values["resnet50_attn0", "none"] == -0.918
    assert values["resnet101_attn5", "stl_n-stl_m"] == -0.865


def test_scores_stand_beside_the_papers_and_beside_the_gain(scores, grid, settings):
    table = leep_table(scores, grid, settings)
    assert len(table.rows) == 10
    assert [text.main for text in table.rows[0][:4]] == ["resnet50", "no transfer", "−0.918", "−0.9895 ± 0.0007"]
    assert cell(table, 0, -1).main == "0"
    assert [text.main for text in table.rows[1][2:6]] == ["−0.908", "−0.9800", "−0.6300", "−0.7100"]
    assert re.fullmatch(r"\[\S+, \S+\]", cell(table, 1, -1).detail)
    assert "below −1.0000 bits" in table.intro


def test_a_source_without_labels_is_not_available_and_says_why(scores, grid, settings):
    row = leep_table(scores, grid, settings).rows[4]
    assert [text.main for text in row[1:6]] == ["STL-N → STL-M → SSTL-M", "n/a", "n/a", "n/a", "−0.7400"]
    assert row[3].hover == "STL-N → STL-M → SSTL-M ends self-supervised: its head was never trained"


def test_source_labels_without_probability_are_counted(scores, grid, settings):
    assert leep_table(scores, grid, settings).notes[1:] == (
        "resnet50 + 5 ATTN, STL-N, pretraining seed 0: 2 of 6 source labels got no probability and were left out.",
    )
    absent = leep_table(scores.assign(absent_target_labels=1), grid, settings).notes[-1]
    assert absent == "1 target classes have no training image; LEEP leaves them out."


def test_no_table_prints_nan(scores, grid, settings):
    few = scores[scores["chain"] != "stl_n"]
    for part in (scores, few):
        tables = (
            leep_table(part, grid, settings),
            routes_table(hand_overs(part, grid, settings), step_gains(grid, settings)),
            correlation_table(correlations(part[part["network"] == "resnet50_attn0"].head(4), grid)),
        )
        assert not [t for table in tables for row in table.rows for t in row if "nan" in (t.main + t.detail).lower()]


def test_both_routes_are_differences_across_one_step(scores, grid, settings):
    frame = hand_overs(scores, grid, settings).set_index(["network", "chain"])
    assert len(frame) == 8
    step = frame.loc[("resnet50_attn5", "stl_n-stl_m")]
    assert step["before"] == "stl_n"
    assert step["leep_bits"] == pytest.approx(2 * 0.014)
    points = {chain: grid["ct"]["resnet50_attn5", chain].samples["auroc"].points for chain in ("stl_n", "stl_n-stl_m")}
    assert step["mean"] == pytest.approx((points["stl_n-stl_m"] - points["stl_n"]).mean())
    assert step["low"] < step["mean"] < step["high"]
    assert step["paper_leep"] == pytest.approx(-0.875 + 0.897)
    assert frame.loc[("resnet50_attn0", "none-stl_m"), "before"] == "none"
    assert frame.loc[("resnet50_attn0", "stl_n"), "leep_bits"] == pytest.approx(0.01 - 0.0005)


def test_a_step_without_labels_has_a_change_in_logme_alone(scores, grid, settings):
    row = routes_table(hand_overs(scores, grid, settings), {}).rows[3]
    assert row[1].main == "STL-N → STL-M, then SSTL-M"
    assert [text.main for text in row[5:]] == ["n/a", "n/a", "−0.0100"]


def test_a_step_has_its_difference_on_each_outside_set(scores, grid, settings):
    table = routes_table(hand_overs(scores, grid, settings), step_gains(grid, settings))
    assert [(column.name, column.group) for column in table.columns[-1:]] == [("far", "Δ AUROC, outside sets")]
    cells = grid["far"]
    points = {chain: cells["resnet50_attn0", chain].samples["auroc"].points.mean() for chain in ("none", "stl_n")}
    shown = table.rows[0][-1]
    assert float(shown.main.replace("−", "-")) == pytest.approx(points["stl_n"] - points["none"], abs=6e-4)
    assert re.fullmatch(r"\[\S+, \S+\]", shown.detail)


def test_correlations_pair_every_source_with_the_mean_gain_of_its_fits(scores, grid):
    frame = correlations(scores, grid).set_index(["score", "kind"])
    assert frame.loc[("leep_bits", "kendall"), "pairs"] == 2 * 3
    assert frame.loc[("logme", "spearman"), "pairs"] == 2 * 4
    gains, levels = [], []
    for row in scores.query("chain != 'none' and seed == 0").itertuples():
        cells = [grid["ct"][row.network, chain].samples["auroc"].points.mean() for chain in (row.chain, "none")]
        gains.append(cells[0] - cells[1])
        levels.append(row.logme)
    assert frame.loc[("logme", "kendall"), "value"] == pytest.approx(rank_correlation(levels, gains).value)
    assert frame.loc[("logme", "kendall"), "value"] < -0.5


def test_below_four_pairs_a_correlation_is_not_available(scores, grid):
    few = scores.query("network == 'resnet50_attn0' and chain == 'stl_n'")
    row = correlation_table(correlations(few, grid)).rows[0]
    assert [text.main for text in row] == ["LEEP, bits", "1", "n/a", "n/a", "n/a", "n/a"]
    assert row[2].hover == "not available: fewer than four pairs, or no spread"


def test_the_figure_has_a_panel_a_backbone_and_the_papers_lines(scores, settings):
    both = ReportSettings(networks=(*settings.networks, "resnet101_attn1"), chains=settings.chains)
    figure = leep_figure(scores, both)
    for text in ("resnet50", "resnet101", "resnet50 + 5 ATTN", "the paper’s", "STL-N → STL-M", "LEEP, bits"):
        assert f">{text}<" in figure.svg
    assert "stroke-dasharray" in figure.svg
    unprinted = leep_figure(scores, ReportSettings(networks=("resnet18_attn0",), chains=settings.chains))
    assert "the paper’s" not in unprinted.svg
    assert not re.search(r"(fill|stroke): #(?!fff)", figure.svg)
    assert leep_figure(scores, both).svg == figure.svg

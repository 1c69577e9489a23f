"""Scores of a made-up study: LEEP rises with the chain as AUROC does, the last step has no label head."""

import re

import pandas as pd
import pytest

from medtransfer.errors import DataError
from medtransfer.evaluation.ranks import rank_correlation
from medtransfer.studies.attentive_transfer.report.transferability import (
    correlation_table,
    leep_figure,
    leep_table,
    routes_table,
)
from medtransfer.studies.attentive_transfer.report.transitions import (
    correlations,
    printed_leep,
    read_scores,
    transitions,
)


def cell(table, row, column):
    return table.rows[row][column]


def test_a_written_score_table_is_read_back_with_its_reasons(scores, tmp_path):
    scores.to_csv(tmp_path / "scores.csv", index=False)
    pd.testing.assert_frame_equal(read_scores(tmp_path / "scores.csv"), scores, check_dtype=False)


def test_a_score_table_that_is_missing_or_lacks_a_column_is_refused(scores, tmp_path):
    with pytest.raises(DataError, match="there is no score table; run the transferability stage first"):
        read_scores(tmp_path / "scores.csv")
    scores.drop(columns="logme").to_csv(tmp_path / "scores.csv", index=False)
    with pytest.raises(DataError, match="missing columns logme; run the transferability stage again"):
        read_scores(tmp_path / "scores.csv")


def test_table_6_of_the_paper_has_six_networks_and_three_chains():
    values = printed_leep()
    assert len(values) == 6 * 3
    assert len({network for network, _ in values}) == 6
    assert values["resnet50_attn0", "none"] == -0.918
    assert values["resnet101_attn5", "stl_n-stl_m"] == -0.865


def test_a_row_has_the_papers_score_ours_and_the_gain(scores, study_results):
    table = leep_table(scores, study_results)
    assert len(table.rows) == 10
    assert [text.main for text in table.rows[0][:4]] == ["resnet50", "no transfer", "−0.918", "−0.9895 ± 0.0007"]
    assert cell(table, 0, -1).main == "0"
    assert [text.main for text in table.rows[1][2:6]] == ["−0.908", "−0.9800", "−0.6300", "−0.7100"]
    assert re.fullmatch(r"\[\S+, \S+\]", cell(table, 1, -1).detail)
    assert "is −1.0000 bits" in table.intro


def test_a_source_without_labels_is_not_available_and_says_why(scores, study_results):
    row = leep_table(scores, study_results).rows[4]
    assert [text.main for text in row[1:6]] == ["STL-N → STL-M → SSTL-M", "n/a", "n/a", "n/a", "−0.7400"]
    assert row[3].hover == "STL-N → STL-M → SSTL-M ends with self-supervision: its head was never trained"


def test_source_labels_without_probability_are_counted(scores, study_results):
    assert leep_table(scores, study_results).notes[1:] == (
        "resnet50 + 5 ATTN, STL-N, pretraining seed 0: 2 of 6 source labels got no probability and were left out.",
    )
    absent = leep_table(scores.assign(absent_target_labels=1), study_results).notes[-1]
    assert absent == "1 target classes have no training image; LEEP leaves them out."


def test_no_table_prints_nan(scores, study_results):
    few = scores[scores["chain"] != "stl_n"]
    for part in (scores, few):
        tables = (
            leep_table(part, study_results),
            routes_table(transitions(part, study_results)),
            correlation_table(correlations(part[part["network"] == "resnet50_attn0"].head(4), study_results.cells)),
        )
        assert not [t for table in tables for row in table.rows for t in row if "nan" in (t.main + t.detail).lower()]


def test_both_routes_are_differences_across_one_step(scores, study_results):
    rows = {(row["network"], row["chain"]): row for row in transitions(scores, study_results)}
    assert len(rows) == 8
    step = rows["resnet50_attn5", "stl_n-stl_m"]
    assert step["before"] == "stl_n"
    assert step["leep_bits"] == pytest.approx(2 * 0.014)
    points = {c: study_results.cells["resnet50_attn5", c].samples["auroc"].points for c in ("stl_n", "stl_n-stl_m")}
    gain = step["gains"]["ct"]
    assert gain["mean"] == pytest.approx((points["stl_n-stl_m"] - points["stl_n"]).mean())
    assert gain["low"] < gain["mean"] < gain["high"]
    assert step["paper_leep"] == pytest.approx(-0.875 + 0.897)
    assert rows["resnet50_attn0", "none-stl_m"]["before"] == "none"
    assert rows["resnet50_attn0", "stl_n"]["leep_bits"] == pytest.approx(0.01 - 0.0005)
    assert rows["resnet50_attn0", "stl_n"]["paper_auroc"] == pytest.approx(0.018)


def test_a_step_without_labels_has_a_change_in_logme_alone(scores, study_results):
    row = routes_table(transitions(scores, study_results)).rows[3]
    assert row[1].main == "STL-N → STL-M, then SSTL-M"
    assert [text.main for text in row[5:8]] == ["n/a", "n/a", "−0.0100"]


def test_a_step_has_its_difference_on_each_outside_set(scores, study_results):
    table = routes_table(transitions(scores, study_results))
    assert [(column.name, column.group) for column in table.columns[-1:]] == [("far", "Δ AUROC, outside sets")]
    cells = study_results.grid["far"]
    points = {chain: cells["resnet50_attn0", chain].samples["auroc"].points.mean() for chain in ("none", "stl_n")}
    difference = table.rows[0][-1]
    assert float(difference.main.replace("−", "-")) == pytest.approx(points["stl_n"] - points["none"], abs=6e-4)
    assert re.fullmatch(r"\[\S+, \S+\]", difference.detail)


def test_correlations_pair_every_source_with_the_mean_gain_of_its_fits(scores, study_results):
    frame = correlations(scores, study_results.cells).set_index(["score", "kind"])
    assert frame.loc[("leep_bits", "kendall"), "pairs"] == 2 * 3
    assert frame.loc[("logme", "spearman"), "pairs"] == 2 * 4
    gains, levels = [], []
    for row in scores.query("chain != 'none' and seed == 0").itertuples():
        cells = [
            study_results.cells[row.network, chain].samples["auroc"].points.mean() for chain in (row.chain, "none")
        ]
        gains.append(cells[0] - cells[1])
        levels.append(row.logme)
    assert frame.loc[("logme", "kendall"), "value"] == pytest.approx(rank_correlation(levels, gains).value)
    assert frame.loc[("logme", "kendall"), "value"] < -0.5


def test_below_four_pairs_a_correlation_is_not_available(scores, study_results):
    few = scores.query("network == 'resnet50_attn0' and chain == 'stl_n'")
    row = correlation_table(correlations(few, study_results.cells)).rows[0]
    assert [text.main for text in row] == ["LEEP, bits", "1", "n/a", "n/a", "n/a", "n/a"]
    assert row[2].hover == "not available: fewer than four pairs, or no spread"


def test_the_figure_has_a_panel_per_backbone_and_the_papers_lines(scores, config):
    both = (*config.networks, "resnet101_attn1")
    figure = leep_figure(scores, both)
    for text in ("resnet50", "resnet101", "resnet50 + 5 ATTN", "paper", "STL-N → STL-M", "LEEP, bits"):
        assert f">{text}<" in figure.svg
    assert "stroke-dasharray" in figure.svg
    assert "paper" not in leep_figure(scores, ("resnet18_attn0",)).svg
    assert not re.search(r"(fill|stroke): #(?!fff)", figure.svg)
    assert leep_figure(scores, both).svg == figure.svg

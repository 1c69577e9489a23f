import pytest

from medtransfer.studies.attentive_transfer.paper.values import TABLES, WHOLE_CHAIN, arithmetic_errors, printed
from medtransfer.studies.attentive_transfer.titles import network_title, plain


def cell(table, network, chain, metric):
    rows = printed().query("table == @table and network == @network and chain == @chain and metric == @metric")
    return rows.iloc[0]


def test_printed_per_cent_become_fractions():
    best = cell(4, "resnet101_attn5", WHOLE_CHAIN, "auroc")
    assert (best["value"], best["gain"]) == (0.978, 0.102)


def test_tables_2_4_and_5_have_every_network_chain_and_metric_once():
    counts = printed().groupby("table").size()
    assert [counts[table.number] for table in TABLES] == [6 * 3 * len(table.chains) for table in TABLES]


def test_chains_that_the_paper_did_not_fine_tune_are_absent():
    assert "stl_n-stl_m" not in set(printed()["chain"])


def test_a_number_that_is_in_two_tables_has_one_value():
    assert (printed().groupby(["network", "chain", "metric"])["value"].nunique() == 1).all()


def test_two_printed_improvements_are_not_the_difference_of_their_values():
    errors = {(e.table, e.network, e.chain, e.metric): (e.gain, e.difference) for e in arithmetic_errors().itertuples()}
    assert errors == {
        (5, "resnet50_attn1", "none-stl_m", "auroc"): (0.066, 0.064),
        (5, "resnet101_attn1", "none-stl_m", "accuracy"): (0.031, 0.041),
    }


@pytest.mark.parametrize(("network", "expected"), [("resnet50_attn5", "resnet50_attn0"), ("a_b_attn0", "a_b_attn0")])
def test_the_plain_network_keeps_its_backbone(network, expected):
    assert plain(network) == expected


@pytest.mark.parametrize(
    ("network", "title"), [("resnet50_attn5", "resnet50 + 5 ATTN"), ("resnet50_attn0", "resnet50")]
)
def test_a_network_is_written_with_its_layers_when_it_has_any(network, title):
    assert network_title(network) == title

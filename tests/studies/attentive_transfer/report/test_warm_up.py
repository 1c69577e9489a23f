"""The report of a study whose networks have different chains: plain, with ATTN and its control, warmed up or not."""

from dataclasses import replace

import pandas as pd
import pytest

from medtransfer.studies.attentive_transfer.config import Warmed
from medtransfer.studies.attentive_transfer.report import build
from medtransfer.studies.attentive_transfer.report.figures import colours, kind
from medtransfer.studies.attentive_transfer.titles import chain_title, network_title

PLAIN, ATTN, CONTROL = "resnet50_attn0", "resnet50_attn5", "resnet50_conv5"
BEFORE, WARM = "stl_n-stl_m", "stl_n-warm_up-stl_m"


@pytest.fixture(scope="module")
def warmed_input(report_input, evaluation):
    """Control and warmed networks have the scores of the network with ATTN, each with a change of its own."""
    table = report_input.predictions.query("condition in ['stl_n', @BEFORE]")
    attn = table[table["variant"] == ATTN]
    later = attn[attn["condition"] == BEFORE].assign(condition=WARM)
    asleep = later[later["intervention"] == ""].assign(variant=CONTROL)
    control = attn.assign(variant=CONTROL, score=attn["score"] ** 2)
    parts = [
        table,
        later.assign(score=later["score"] ** 3),
        control,
        asleep,
        asleep.assign(intervention="inserted_off"),
    ]
    changes = {
        "networks": (PLAIN, ATTN, CONTROL),
        "chains": ("stl_n", BEFORE, WARM),
        "warmed": Warmed(networks=(ATTN, CONTROL), warm_up_after=("stl_n",), stl_m_after=("stl_n-warm_up",)),
        "pretrain_seeds": report_input.config.seeds,
        "start": report_input.config.start.model_copy(update={"kind": "file"}),
    }
    return replace(
        report_input,
        predictions=pd.concat(parts, ignore_index=True),
        config=report_input.config.model_copy(update=changes),
        evaluation=evaluation.model_copy(update={"draws": 50}),
    )


@pytest.fixture(scope="module")
def warmed_content(warmed_input):
    return build(warmed_input)


def table(content, key):
    return next(one for one in content.results if one.key == key)


def test_warmed_networks_are_compared_with_plain_ones_their_control_and_themselves(warmed_content):
    rows = table(warmed_content, "warmed").rows
    assert [(row[0].main, row[1].main) for row in rows] == [
        ("resnet50 + 5 ATTN, STL-N → warm-up → STL-M", "resnet50, STL-N → STL-M"),
        ("resnet50 + 5 ATTN, STL-N → warm-up → STL-M", "resnet50 + 5 convolutions, STL-N → warm-up → STL-M"),
        ("resnet50 + 5 convolutions, STL-N → warm-up → STL-M", "resnet50, STL-N → STL-M"),
        ("resnet50 + 5 ATTN, STL-N → warm-up → STL-M", "resnet50 + 5 ATTN, STL-N → STL-M"),
    ]


def test_a_plain_network_has_no_row_with_a_warm_up(warmed_content):
    rows = [(row[0].main, row[1].main) for row in table(warmed_content, "grid").rows]
    assert len(rows) == 2 + 3 + 3
    assert (network_title(PLAIN), chain_title(WARM)) not in rows


def test_a_sleeping_control_is_marked_and_decides_nothing_about_attention(warmed_content):
    marked = [row for row in table(warmed_content, "grid").rows if "control inactive" in row[0].detail]
    assert [(row[0].main, row[1].main) for row in marked] == [(network_title(CONTROL), chain_title(WARM))]
    claims = {row[0].main: row[-1] for row in table(warmed_content, "claims").rows}
    cell = claims["After STL-N → warm-up → STL-M, networks with ATTN are better than their control."]
    assert cell.main == "not decidable"
    assert "inserted layers are inactive in resnet50 + 5 convolutions" in cell.detail


def test_rows_from_ready_made_weights_say_that_these_were_trained_once(warmed_content):
    details = {row[1].main: row[0].hover for row in table(warmed_content, "grid").rows if row[0].main == "resnet50"}
    assert set(details.values()) == {"STL-N trained once: its chance is not in the interval"}


def test_the_headline_compares_the_warmed_network_with_plain_ones_and_the_control(warmed_content):
    starts = [sentence.partition(":")[0] for sentence in warmed_content.headline]
    after = "after STL-N → warm-up → STL-M"
    assert f"Attention − plain networks without it {after}" in starts
    assert f"Attention − as many parameters in convolutions {after}" in starts


def test_the_papers_claims_leave_the_control_out(warmed_content, warmed_input):
    """STL-N against no transfer was not run here; the mean that it would be is over two networks."""
    from medtransfer.studies.attentive_transfer.claims import claims

    paper = [one for one in claims(warmed_input.config.networks, warmed_input.config.compared) if "Table" in one.source]
    assert len(paper) == 9
    assert CONTROL not in {network for one in paper for network, _ in one.contrast}


def test_a_control_has_a_kind_and_a_colour_of_its_own():
    assert [kind(name) for name in (PLAIN, ATTN, CONTROL)] == ["convolution only", "with ATTN", "control"]
    assert "control" in colours([PLAIN, CONTROL])
    assert "control" not in colours([PLAIN, ATTN])

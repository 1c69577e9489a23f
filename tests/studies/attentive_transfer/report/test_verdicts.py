import pytest

from medtransfer.evaluation.contrasts import combine
from medtransfer.studies.attentive_transfer.claims import CLAIMS, Judgement
from medtransfer.studies.attentive_transfer.report.results import attention_change, measure
from medtransfer.studies.attentive_transfer.report.verdicts import claims_table, judgements, reason

FULL = "stl_n-stl_m-sstl_m"


@pytest.fixture(scope="module")
def judged(predictions, settings):
    grid = measure(predictions, settings)
    return judgements(grid, attention_change(predictions, settings), settings), grid


def test_reasons_name_networks_and_chains_by_their_titles():
    claim = CLAIMS[0]
    absent = Judgement(claim, "not decidable", "", absent=("stl_n-stl_m-simclr", "none-stl_m"))
    idle = Judgement(claim, "not decidable", "", idle=(("resnet50_attn5", FULL),))
    assert reason(absent) == "not run: STL-N → STL-M → SimCLR, STL-M"
    assert reason(idle) == "attention is inactive in resnet50 + 5 ATTN (STL-N → STL-M → SSTL-M)"
    assert reason(Judgement(claim, "holds", "so it is")) == "so it is"


def test_the_verdict_is_that_of_the_own_test_set_and_the_outside_estimate_stands_beside_it(judged):
    found, grid = judged
    assert list(found) == ["ct", "far"]
    table = claims_table(found)
    place = next(i for i, claim in enumerate(CLAIMS) if claim.key == "transfer_helps")
    row = table.rows[place]
    assert row[4].main == found["ct"][place].verdict
    networks = ("resnet50_attn0", "resnet50_attn5")
    contrast = {(n, c): sign / 2 for n in networks for c, sign in ((FULL, 1), ("none", -1))}
    samples = {cell: measured.samples["auroc"] for cell, measured in grid["far"].items()}
    assert float(row[5].main.replace("−", "-")) == pytest.approx(combine(contrast, samples).points.mean(), abs=6e-4)
    assert row[5].detail.startswith("[")


def test_a_claim_that_was_not_run_has_dashes_and_says_what_is_missing(judged):
    table = claims_table(judged[0])
    place = next(i for i, claim in enumerate(CLAIMS) if claim.key == "lobes_beat_moco")
    row = table.rows[place]
    assert (row[3].main, row[4].detail, row[5].main) == ("—", "not run: STL-N → STL-M → MoCo", "—")

import pytest

from medtransfer.evaluation.claims import combine
from medtransfer.studies.attentive_transfer.report.verdicts import claims_table, judgements

FULL = "stl_n-stl_m-sstl_m"


@pytest.fixture(scope="module")
def judged(study_results):
    return judgements(study_results)


def place(judged, key):
    return next(index for index, (claim, _) in enumerate(judged) if claim.key == key)


def test_the_verdict_is_that_of_the_own_test_set_and_the_outside_estimate_is_in_its_row(judged, study_results):
    index = place(judged, "transfer_helps")
    row = claims_table(judged, study_results).rows[index]
    assert list(judged[index][1]) == ["ct", "far"]
    assert row[-1].main == judged[index][1]["ct"].verdict
    networks = ("resnet50_attn0", "resnet50_attn5")
    contrast = {(n, c): sign / 2 for n in networks for c, sign in ((FULL, 1), ("none", -1))}
    far = combine(contrast, study_results.grid["far"], "auroc").points.mean()
    assert float(row[4].main.replace("−", "-")) == pytest.approx(far, abs=6e-4)
    assert row[4].detail.startswith("[")
    assert row[2].main == "+0.078"


def test_a_claim_that_was_not_run_has_dashes_and_says_what_is_missing(judged, study_results):
    row = claims_table(judged, study_results).rows[place(judged, "lobes_beat_moco")]
    assert [cell.main for cell in row[3:]] == ["—", "—", "not decidable"]
    assert row[-1].detail == "not run: STL-N → STL-M → MoCo"


def test_the_table_has_no_setting_where_no_claim_has_one(judged, study_results):
    assert [column.name for column in claims_table(judged, study_results).columns] == [
        "Claim",
        "Printed in",
        "paper",
        "ours",
        "far",
        "Verdict",
    ]

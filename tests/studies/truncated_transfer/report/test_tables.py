from dataclasses import replace

import pandas as pd
import pytest

from medtransfer.evaluation.claims import Claim, Judgement
from medtransfer.evaluation.pairs import differences, paired_tests
from medtransfer.studies.truncated_transfer.claims import METRICS, Ties
from medtransfer.studies.truncated_transfer.paper.values import paper_values
from medtransfer.studies.truncated_transfer.report import tables
from medtransfer.studies.truncated_transfer.report.headline import headline
from medtransfer.studies.truncated_transfer.report.paper_values import paper_values_table
from medtransfer.studies.truncated_transfer.report.results import pairs, results

ALL = "ct-all-tuned"


@pytest.fixture(scope="module")
def rows(found):
    return found.rows()


def changes(found, claim, *, relative=False):
    """The differences that a claim is made of."""
    pairs_of = pairs(found.config, claim)
    return differences(found.cells, pairs_of, METRICS, seed=found.evaluation.seed, relative=relative)


def mains(row):
    return [cell.main for cell in row]


def test_the_leading_table_has_one_row_per_variant_and_one_group_per_setting(found, rows, costs):
    table = tables.networks_table(found, rows, costs)
    assert [mains(row)[:3] for row in table.rows][2] == ["Dens-T1", "TL", "0.38 M"]
    assert [column.group for column in table.columns[3:]] == ["ct · all · tuned"] * 2 + ["ct · tenth · tuned"] * 2
    said = "80 test images of 40 patients; chance is AUROC 0.5 and AUPRC 0.350, the share of positives."
    assert table.notes == (f"ct · all · tuned, ct · tenth · tuned: {said}",)


def test_findings_without_both_classes_are_counted_and_named(make_config, predictions, evaluation, costs):
    config = make_config(tasks={"ct": {"dataset": "ct", "findings": ("covid", "rare")}})
    table = pd.concat([predictions, predictions.assign(output="rare", target=0.0)])
    found = results(table, config, evaluation)
    (note,) = tables.networks_table(found, found.rows(), costs).notes
    assert note.endswith(
        "AUPRC 0.350, the share of positives. Means are over 1 of 2 findings; of one class here: rare."
    )


def test_a_variant_that_was_not_run_is_a_dash(found, make_config, costs):
    wider = make_config(variants=(*found.config.variants, "resnet50-random"))
    table = tables.networks_table(replace(found, config=wider), found.rows(), costs)
    assert mains(table.rows[-1]) == ["ResNet-50", "RI", *["—"] * 5]


def test_the_difference_of_a_row_is_that_of_its_values(found, rows):
    table = tables.transfer_table(rows, changes(found, "a1"))
    for row in table.rows:
        random, transfer, gain = (cell.main.split(" ")[0].replace("−", "-") for cell in row[2:5])
        assert float(gain) == pytest.approx(float(transfer) - float(random), abs=1.1e-3)


def test_no_pair_says_why_the_table_is_empty(rows):
    assert tables.transfer_table(rows, []).notes[0].startswith("No network was run both with transfer")
    assert tables.cuts_table([]).notes[0].startswith("No cut network was run")


def test_cuts_are_in_per_cent(found):
    cuts = changes(found, "b", relative=True)
    row = tables.cuts_table(cuts).rows[0]
    assert float(row[2].main.replace("−", "-")) == pytest.approx(100 * cuts[0]["mean"], abs=0.06)
    assert row[2].detail.startswith("[")


def test_missing_partners_of_transfusion_are_named(found, rows):
    gaps = changes(found, "b_transfusion")
    table = tables.transfusion_table(rows, gaps, found.config)
    assert len(table.rows) == 2
    assert table.notes == ("Not run: densenet121_s2-transfusion.",)


def test_a_slim_network_without_its_cut_is_named_too(make_config):
    config = make_config(variants=("densenet121-transfer", "densenet121_s3-transfusion"))
    assert tables.missing_partners(config) == ["densenet121_t3-transfer"]


def test_networks_that_are_no_densenets_have_no_partner(make_config):
    config = make_config(variants=("resnet50_t1-transfer", "resnet50-random"), start={"resnet50": {"kind": "train"}})
    assert tables.missing_partners(config) == []


def test_tests_name_both_variants_and_the_test(found):
    tests = paired_tests(found.cells, pairs(found.config, "b_transfusion"), METRICS, seed=0)
    table = tables.tests_table(tests)
    assert mains(table.rows[0])[:3] == ["ct · all · tuned", "Dens-T1 · TL", "Dens-S1 · transfusion"]
    assert [table.rows[0][place].detail for place in (4, 7)] == ["DeLong", "bootstrap"]


CUT = Claim(
    key="b",
    statement="(b) It is so.",
    source="Fig. 9",
    how="how",
    contrast={("densenet121_t1-transfer", ALL): 1.0, ("densenet121-transfer", ALL): -1.0},
    margin=0.02,
    setting=ALL,
)
HOLDS = {
    "auroc": Judgement("holds", "all above", 0.02, 0.0, 0.04),
    "auprc": Judgement("holds", "all above", 0.1, 0.05, 0.15),
}
TIES = Ties(ALL, 15, 4, 2, 5, 1, Judgement("holds", "AUPRC breaks 2 of 4"))


def test_claims_are_shown_with_both_metrics_and_the_verdict_of_auprc():
    table = tables.claims_table([(CUT, HOLDS)], [TIES])
    assert mains(table.rows[0]) == ["(b) It is so.", "ct · all · tuned", "Fig. 9", "+0.020", "+0.100", "holds"]
    assert table.rows[1][-1].detail == "AUPRC breaks 2 of 4"


def test_ties_are_counted_both_ways():
    assert mains(tables.ties_table([TIES]).rows[0]) == ["ct · all · tuned", "15", "4", "2", "5", "1"]


def test_the_headline_spells_out_few_settings_and_counts_many(costs):
    few = headline([(CUT, HOLDS)], [TIES], costs)
    assert "+0.100 [+0.050, +0.150] (Dens-T1, ct · all · tuned): holds." in few[2]
    assert "Dens-T1 has 5 % of the parameters and steps 3.6 times as fast." in few[2]
    assert few[0].endswith("not decidable (nothing to compare was run).")
    many = headline([(CUT, HOLDS)] * 4, [TIES], costs)
    assert "AUPRC: holds in 4 of 4." in many[2]
    assert many[3] == "(c) AUPRC separates what AUROC ties: holds in 1 of 1."


def test_the_papers_numbers_are_beside_ours_where_they_mean_the_same(found, rows, costs):
    table = paper_values_table(found, rows, costs)
    ours = {(row[0].main, row[1].main): row[3] for row in table.rows}
    assert ours["training", "lr"].main == "1e-05"
    assert ours["training", "repeats"].main == "2"
    assert ("training", "epochs") not in ours
    assert ("private COVID-19 set, images", "positives") not in ours
    assert ours["results", "dens t1 param reduction pct"].main == "94.6"
    assert ("results", "chexpert std max") not in ours
    assert table.notes[-1].startswith(
        f"{len(paper_values()) - len(table.rows)} more have nothing of the same meaning here"
    )
    largest = max(row["sd"] for row in rows)
    assert ours["results", "covid std max"].main == f"{largest:.3f}"
    assert ours["example of Fig. 2", "CB auprc"].main == "0.402"

from dataclasses import replace

import pandas as pd
import pytest

from medtransfer.evaluation.claims import Claim, Judgement
from medtransfer.evaluation.pairs import differences, paired_tests
from medtransfer.reporting.formatting import probability
from medtransfer.studies.truncated_transfer.claims import METRICS, Ties
from medtransfer.studies.truncated_transfer.paper.values import paper_values
from medtransfer.studies.truncated_transfer.report import tables
from medtransfer.studies.truncated_transfer.report.headline import headline
from medtransfer.studies.truncated_transfer.report.paper_values import paper_values_table
from medtransfer.studies.truncated_transfer.report.results import pairs, results

ALL = "ct-all-tuned"
ONCE = "pretrained once: chance in pretraining is not in the interval"


@pytest.fixture(scope="module")
def rows(study_results):
    return study_results.rows()


def changes(study_results, claim, *, relative=False):
    """The differences of a claim."""
    pairs_of = pairs(study_results.config, claim)
    return differences(study_results.cells, pairs_of, METRICS, relative=relative)


def mains(row):
    return [cell.main for cell in row]


def test_the_leading_table_has_one_row_per_variant_and_one_group_per_setting(study_results, rows, costs):
    table = tables.networks_table(study_results, rows, costs)
    assert [mains(row)[:3] for row in table.rows][2] == ["Dens-T1", "TL", "0.38 M"]
    assert [column.group for column in table.columns[3:]] == ["ct · all · tuned"] * 2 + ["ct · tenth · tuned"] * 2
    chance = "160 test images of 80 patients; chance is AUROC 0.5 and AUPRC 0.338, the share of positives."
    assert table.notes == (f"ct · all · tuned, ct · tenth · tuned: {chance}",)


def test_findings_without_both_classes_are_counted_and_named(make_config, predictions, evaluation, costs):
    config = make_config(tasks={"ct": {"dataset": "ct", "findings": ("covid", "rare")}})
    table = pd.concat([predictions, predictions.assign(output="rare", target=0.0)])
    measured = results(table, config, evaluation)
    (note,) = tables.networks_table(measured, measured.rows(), costs).notes
    assert note.endswith(
        "AUPRC 0.338, the share of positives. Means are over 1 of 2 findings; only one class here: rare."
    )


def test_a_variant_that_was_not_run_is_a_dash(study_results, make_config, costs):
    wider = make_config(variants=(*study_results.config.variants, "resnet50-random"))
    table = tables.networks_table(replace(study_results, config=wider), study_results.rows(), costs)
    assert mains(table.rows[-1]) == ["ResNet-50", "RI", *["—"] * 5]


def test_the_difference_of_a_row_is_that_of_its_values(study_results, rows):
    table = tables.transfer_table(rows, changes(study_results, "a1"))
    for row in table.rows:
        random, transfer, gain = (cell.main.split(" ")[0].replace("−", "-") for cell in row[2:5])
        assert float(gain) == pytest.approx(float(transfer) - float(random), abs=1.1e-3)


def test_no_pair_says_why_the_table_is_empty(rows):
    assert tables.transfer_table(rows, []).notes[0].startswith("No network was run both with transfer")
    assert tables.cuts_table([]).notes[0].startswith("No cut network was run")


def test_cuts_are_in_per_cent(study_results):
    cuts = changes(study_results, "b", relative=True)
    row = tables.cuts_table(cuts).rows[0]
    assert float(row[2].main.replace("−", "-")) == pytest.approx(100 * cuts[0]["mean"], abs=0.06)
    assert row[2].detail.startswith("[")


def test_missing_partners_of_transfusion_are_named(study_results, rows):
    gaps = changes(study_results, "b_transfusion")
    table = tables.transfusion_table(rows, gaps, study_results.config)
    assert len(table.rows) == 2
    assert table.notes == ("Not run: densenet121_s2-transfusion.",)


def test_a_slim_network_without_its_cut_is_named_too(make_config):
    config = make_config(variants=("densenet121-transfer", "densenet121_s3-transfusion"))
    assert tables.missing_partners(config) == ["densenet121_t3-transfer"]


def test_networks_other_than_densenets_have_no_partner(make_config):
    config = make_config(variants=("resnet50_t1-transfer", "resnet50-random"), start={"resnet50": {"kind": "train"}})
    assert tables.missing_partners(config) == []


def test_tests_name_both_variants_their_pretraining_and_delong_as_images_only(study_results):
    tests = paired_tests(study_results.cells, pairs(study_results.config, "b_transfusion"), METRICS)
    table = tables.tests_table(tests)
    assert mains(table.rows[0])[:3] == ["ct · all · tuned", "Dens-T1 · TL", "Dens-S1 · transfusion"]
    assert [cell.hover for cell in table.rows[0][1:3]] == [ONCE, ONCE]
    assert (table.columns[-1].name, table.columns[-1].group) == ("AUROC, p", "images only")
    assert table.rows[0][-1].main == probability(tests[0]["p_images"])


def test_a_row_without_pretraining_says_nothing_of_it(study_results, rows, costs):
    table = tables.networks_table(study_results, rows, costs)
    assert {row[1].main: row[1].hover for row in table.rows} == {"RI": "", "TL": ONCE, "transfusion": ONCE}


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


def test_the_headline_lists_few_settings_and_counts_many(costs):
    few = headline([(CUT, HOLDS)], [TIES], costs, [])
    assert "+0.100 [+0.050, +0.150] (Dens-T1, ct · all · tuned): holds." in few[2]
    assert "Dens-T1 has 5 % of the parameters, and its steps are 3.6 times as fast." in few[2]
    assert few[0].endswith("not decidable (nothing to compare was run).")
    many = headline([(CUT, HOLDS)] * 4, [TIES], costs, [])
    assert "AUPRC: holds in 4 of 4." in many[2]
    assert many[3] == "(c) AUPRC separates what AUROC ties: holds in 1 of 1."


def test_the_papers_numbers_have_a_counterpart_where_they_mean_the_same(study_results, rows, costs):
    table = paper_values_table(study_results, rows, costs)
    ours = {(row[0].main, row[1].main): row[3] for row in table.rows}
    assert ours["training", "lr"].main == "1e-05"
    assert ours["training", "repeats"].main == "2"
    assert ("training", "epochs") not in ours
    assert ("private COVID-19 set, images", "positives") not in ours
    assert ours["results", "dens t1 param reduction pct"].main == "94.6"
    assert ("results", "chexpert std max") not in ours
    assert table.notes[-1].startswith(f"{len(paper_values()) - len(table.rows)} more numbers have no counterpart here")
    largest = max(row["sd"] for row in rows)
    assert ours["results", "covid std max"].main == f"{largest:.3f}"
    assert ours["example of Fig. 2", "CB auprc"].main == "0.402"

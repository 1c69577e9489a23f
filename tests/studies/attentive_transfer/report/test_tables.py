from dataclasses import replace

import pytest

from medtransfer.evaluation.compare import delong_test, holm
from medtransfer.reporting.formatting import probability
from medtransfer.studies.attentive_transfer.claims import attention_pairs
from medtransfer.studies.attentive_transfer.paper.values import TABLES
from medtransfer.studies.attentive_transfer.report.tables import (
    attention_against_convolution,
    compare,
    grid_table,
    method_against_method,
    paper_table,
)

FULL = "stl_n-stl_m-sstl_m"
TABLE = {table.number: table for table in TABLES}


def auroc(results, network, chain, dataset="ct"):
    return results.grid[dataset][network, chain].samples["auroc"].points.mean()


def number(cell):
    return float(cell.main.replace("−", "-"))


def test_table_4_compares_to_no_transfer_and_table_2_to_the_plain_network(study_results):
    four, two = paper_table(TABLE[4], study_results).rows[3], paper_table(TABLE[2], study_results).rows[1]
    own = auroc(study_results, "resnet50_attn5", FULL)
    assert number(four[-2]) == pytest.approx(own - auroc(study_results, "resnet50_attn5", "none"), abs=6e-4)
    assert number(two[-2]) == pytest.approx(own - auroc(study_results, "resnet50_attn0", FULL), abs=6e-4)
    assert (four[-4].main, four[-4].detail, two[-4].detail) == ("0.968", "gain +0.099", "gain +0.065")


def test_a_network_that_the_paper_does_not_have_is_not_available(predictions, measured):
    names = {"resnet50_attn0": "tiny_attn0", "resnet50_attn5": "tiny_attn5"}
    changed = measured(predictions.replace({"variant": names}), networks=tuple(names.values()))
    assert {line[2].main for line in paper_table(TABLE[5], changed).rows} == {"n/a"}


def test_a_chain_that_was_not_run_has_no_row_beside_the_papers_values(predictions, measured):
    assert paper_table(TABLE[2], measured(predictions[predictions["condition"] != FULL])).rows == ()
    four = paper_table(TABLE[4], measured(predictions[predictions["condition"] != FULL]))
    assert {line[1].main for line in four.rows} == {"no transfer"}


def test_a_misprint_of_the_paper_is_starred_where_it_is_printed(predictions, measured):
    names = {"resnet50_attn5": "resnet50_attn1"}
    networks = ("resnet50_attn0", "resnet50_attn1")
    table = paper_table(TABLE[5], measured(predictions.replace({"variant": names}), networks=networks))
    starred = [cell.detail for line in table.rows for cell in line if cell.detail.endswith("*")]
    assert starred == ["gain +0.066*"]
    assert "prints a gain of 0.066, but its printed values give 0.064" in " ".join(table.notes)


def test_tables_with_sound_arithmetic_have_no_footnote(study_results):
    assert not paper_table(TABLE[4], study_results).notes


def test_inactive_attention_is_marked_only_in_its_row(study_results):
    table = grid_table(study_results)
    marked = [(line[0].main, line[1].main) for line in table.rows if "attention inactive" in line[0].detail]
    assert marked == [("resnet50 + 5 ATTN", "no transfer")]


def test_attention_that_was_not_switched_off_is_marked_as_unchecked(study_results):
    table = grid_table(replace(study_results, change={}))
    assert ["attention not checked" in line[0].detail for line in table.rows] == [False] * 5 + [True] * 5


def test_a_network_that_was_not_run_is_not_called_unchecked(predictions, measured):
    changed = measured(predictions[predictions["condition"] != FULL])
    tables = [grid_table(changed), paper_table(TABLE[4], changed)]
    absent = [line for table in tables for line in table.rows if line[1].main == "STL-N → STL-M → SSTL-M"]
    assert [line[0].detail for line in absent] == [""] * 2
    assert {line[2].main for line in absent[:2]} == {"—"}


def test_the_grid_has_a_column_for_each_outside_set(study_results):
    assert [(column.group, column.name) for column in grid_table(study_results).columns[2:]] == [
        ("AUROC, own test set", "ct"),
        ("AUROC, own test set", "gain"),
        ("AUROC, outside sets", "far"),
    ]


def test_table_3_includes_methods_that_the_paper_lacks_and_compares_to_the_papers_own(predictions, measured):
    moco, regions = "stl_n-stl_m-moco", "stl_n-stl_m-region_scale"
    renamed = predictions.replace({"condition": {"stl_n-stl_m": moco, "stl_n": regions}})
    changed = measured(renamed, chains=("none", moco, regions, FULL))
    table = paper_table(TABLE[3], changed)
    assert [line[1].main for line in table.rows[:3]] == [
        "STL-N → STL-M → MoCo",
        "STL-N → STL-M → SSTL-M",
        "STL-N → STL-M → regions alone",
    ]
    gain = auroc(changed, "resnet50_attn0", moco) - auroc(changed, "resnet50_attn0", FULL)
    assert number(table.rows[0][-2]) == pytest.approx(gain, abs=6e-4)
    assert table.rows[0][-4].main == "0.900"


def test_every_table_has_a_column_for_each_outside_set(study_results):
    table = paper_table(TABLE[4], study_results)
    assert (table.columns[-1].name, table.columns[-1].group) == ("far", "AUROC, outside sets")
    assert table.rows[0][-1].main.startswith(f"{auroc(study_results, 'resnet50_attn0', 'none', 'far'):.3f}")


@pytest.fixture(scope="module")
def compared(study_results):
    pairs = [
        ((a, c), (b, c)) for c in study_results.config.chains for a, b in attention_pairs(study_results.config.networks)
    ]
    return compare(study_results.cells, pairs)


def test_the_test_is_delongs_over_patients_on_scores_averaged_over_seeds(compared, predictions):
    rows = predictions.query("dataset == 'ct' and split == 'test' and intervention == '' and condition == 'stl_n'")
    mean = rows.groupby(["variant", "image_id"])["score"].mean()
    images = rows.drop_duplicates("image_id").set_index("image_id")
    scores = [mean[network].loc[images.index] for network in ("resnet50_attn5", "resnet50_attn0")]
    expected = delong_test(images["target"], *scores, images["patient_id"])
    assert expected.variance != delong_test(images["target"], *scores).variance
    row = next(row for row in compared if row["condition"] == "stl_n")
    assert (row["auroc"], row["auroc_b"], row["p"]) == pytest.approx((expected.auroc_a, expected.auroc_b, expected.p))
    assert row["detectable"] == pytest.approx((1.959964 + 0.841621) * expected.variance**0.5, rel=1e-5)


def test_p_values_are_adjusted_over_all_chains(compared):
    assert len(compared) == 5
    assert [row["p_holm"] for row in compared] == pytest.approx(list(holm([row["p"] for row in compared])))


def test_what_delong_says_is_in_the_group_of_the_images_alone(study_results, compared):
    table = attention_against_convolution(study_results)
    assert [column.name for column in table.columns if column.group == "images only"] == [
        *("with ATTN", "without", "p", "p, Holm", "detectable")
    ]
    place = [column.name for column in table.columns].index("p")
    assert [row[place].main for row in table.rows] == [probability(row["p"]) for row in compared]


def test_a_row_says_that_chance_in_pretraining_is_not_in_it_where_it_is_not(study_results, measured):
    once = "pretrained once: chance in pretraining is not in the interval"

    def details(results):
        rows = [row for row in grid_table(results).rows if row[0].main == "resnet50"]
        assert all(row[0].hover.startswith(row[0].detail) for row in rows)
        return {row[1].main: row[0].hover for row in rows}

    assert set(details(study_results).values()) == {"", once}
    assert details(study_results)["no transfer"] == ""
    assert set(details(measured(pretrain_seeds=(0, 1))).values()) == {""}


def test_a_network_without_a_plain_partner_is_not_compared(measured):
    assert attention_against_convolution(measured(networks=("resnet50_attn5",))).rows == ()


def test_methods_are_compared_within_a_network(predictions, measured):
    moco = "stl_n-stl_m-moco"
    changed = measured(predictions.replace({"condition": {"stl_n-stl_m": moco}}), chains=("none", moco, FULL))
    table = method_against_method(changed, "All learn alike.")
    assert [[cell.main for cell in row[:2]] for row in table.rows] == [
        ["resnet50", "MoCo"],
        ["resnet50 + 5 ATTN", "MoCo"],
    ]
    for row, network in zip(table.rows, changed.config.networks, strict=True):
        gain = changed.gains([((network, FULL), (network, moco))])[network, FULL, "auroc"]["mean"]
        assert number(row[2]) == pytest.approx(gain, abs=6e-4)
        assert number(row[2]) == pytest.approx(number(row[3]) - number(row[4]), abs=0.05)
    assert table.notes[-1] == "All learn alike."


def test_without_another_method_there_is_no_table_of_methods(study_results):
    assert method_against_method(study_results, "") is None


def test_a_comparison_is_repeated_on_each_outside_set_and_a_dash_where_it_was_not_measured(study_results):
    table = attention_against_convolution(study_results)
    assert table.columns[-1].name == "far"
    pair = (("resnet50_attn5", "none"), ("resnet50_attn0", "none"))
    gain = study_results.gains([pair], dataset="far")["resnet50_attn5", "none", "auroc"]
    assert number(table.rows[0][-1]) == pytest.approx(gain["mean"], abs=6e-4)
    far = {key: cell for key, cell in study_results.grid["far"].items() if key != ("resnet50_attn0", "none")}
    part = attention_against_convolution(replace(study_results, grid=study_results.grid | {"far": far}))
    assert [row[-1].main == "—" for row in part.rows] == [True] + [False] * 4

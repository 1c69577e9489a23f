import math

import pytest

from medtransfer.files import read_json
from medtransfer.studies.truncated_transfer.report.similarity import depths, similarity_figure, similarity_table


@pytest.fixture(scope="module")
def facts(study_folder):
    return read_json(study_folder / "results/similarity.json")


def test_depths_are_means_over_seeds_in_forward_order(facts, config):
    by_depth = depths(facts)["densenet121-transfer", config.conditions()[0].name]
    assert list(by_depth) == ["features.denseblock1", "features.transition1", "features.denseblock4"]
    assert list(by_depth.values()) == pytest.approx([0.94, 0.85, 0.45])


def test_the_table_names_first_middle_last_and_lowest(facts):
    row = similarity_table(depths(facts), facts).rows[0]
    assert [(cell.main, cell.detail) for cell in row[3:]] == [
        ("0.940", "features.denseblock1"),
        ("0.850", "features.transition1"),
        ("0.450", "features.denseblock4"),
        ("0.450", "features.denseblock4"),
    ]


def test_a_seed_without_a_value_leaves_a_dash(facts):
    first = facts["fits"][0] | {"blocks": dict.fromkeys(facts["fits"][0]["blocks"])}
    by_depth = depths(facts | {"fits": [first, *facts["fits"][1:]]})
    assert math.isnan(next(iter(by_depth.values()))["features.transition1"])
    assert similarity_table(by_depth, facts).rows[0][3].main == "—"


def test_without_pretrained_variants_the_table_says_so():
    facts = {"images": {}, "fits": []}
    table = similarity_table(depths(facts), facts)
    assert table.notes == ("No variant starts from pretrained weights.",)


def test_the_figure_has_a_panel_per_setting(facts):
    svg = similarity_figure(depths(facts)).svg
    assert "ct · all · tuned" in svg
    assert "ct · tenth · tuned" in svg

"""Table 1: hits of STL-N's own head on its natural source."""

import pandas as pd
import pytest

from medtransfer.studies.attentive_transfer.report.sources import source_table

IMAGES = 40


@pytest.fixture
def hits():
    """Two seeds of one network: top-1 right in 10 and 20 of 40 images, top-5 in all."""
    rows = []
    for seed, right in enumerate((10, 20)):
        for metric, count in (("top_1", right), ("top_5", IMAGES)):
            for image in range(IMAGES):
                place = {"image_id": f"natural/{image}", "patient_id": f"natural:{image}"}
                rows.append(place | {"output": metric, "score": float(image < count), "seed": seed})
    return pd.DataFrame(rows).assign(variant="resnet50_attn5", condition="stl_n", dataset="natural", split="test")


def test_accuracy_is_the_mean_hit_rate_over_seeds_with_an_interval(hits, config, evaluation):
    row = source_table(hits, config.networks, evaluation).rows[1]
    assert (row[1].main, row[2].main) == ("0.783", "0.375 ± 0.177")
    low, high = map(float, row[2].detail.strip("[]").split(", "))
    assert low < 0.375 < high


def test_a_network_whose_source_was_not_predicted_has_a_dash_next_to_the_papers_number(hits, config, evaluation):
    table = source_table(hits, config.networks, evaluation)
    assert [cell.main for cell in table.rows[0]] == ["resnet50", "0.772", "—", "0.933", "—"]
    assert table.rows[1][4].main.startswith("1.000")


def test_a_network_that_the_paper_has_not_is_not_available(hits, evaluation):
    table = source_table(hits.assign(variant="tiny_attn1"), ("tiny_attn1",), evaluation)
    assert table.rows[0][1].main == "n/a"

"""Table 1: hits of STL-N's own head on its natural source."""

import numpy as np
import pandas as pd
import pytest

from medtransfer.studies.attentive_transfer.report.sources import source_frame, source_table

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
    return pd.DataFrame(rows).assign(network="resnet50_attn5", dataset="natural", split="test")


def test_accuracy_is_the_mean_hit_rate_over_seeds_with_an_interval(hits, settings):
    row = source_frame(hits, settings).set_index(["network", "metric"]).loc[("resnet50_attn5", "top_1")]
    assert row["mean"] == pytest.approx(15 / IMAGES)
    assert row["sd"] == pytest.approx(np.std([0.25, 0.5], ddof=1))
    assert row["low"] < row["mean"] < row["high"]
    assert row["paper"] == pytest.approx(0.783)


def test_a_network_whose_source_was_not_predicted_has_a_dash_beside_the_papers_number(hits, settings):
    shown = source_table(source_frame(hits, settings), settings)
    assert [cell.main for cell in shown.rows[0]] == ["resnet50", "0.772", "—", "0.933", "—"]
    assert shown.rows[1][4].main.startswith("1.000")


def test_a_network_that_the_paper_has_not_is_not_available(hits, settings):
    other = settings.model_copy(update={"networks": ("tiny_attn1",)})
    shown = source_table(source_frame(hits.assign(network="tiny_attn1"), other), other)
    assert shown.rows[0][1].main == "n/a"

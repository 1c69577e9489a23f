"""Whether attention is active: the state of the layers that were kept, and what switching them off changes."""

import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from medtransfer.reporting.records import recorded_fits
from medtransfer.studies.attentive_transfer.report.attention import attention_change, attention_table, layer_frame

STL_N = ("resnet50_attn5", "stl_n")


@pytest.fixture(scope="module")
def layers(study_folder, config):
    return layer_frame(recorded_fits(study_folder, config.networks))


def test_layers_are_read_at_the_step_whose_weights_were_kept(layers):
    """The made-up fits keep step 70 of 80: 0.007 for the first column, 0.1 more for each further, 0.01 for seed 1."""
    assert len(layers) == 5 * 2 * 2
    fit = layers.query("condition == 'stl_n' and seed == 1")
    assert list(zip(fit["place"], fit["site"], fit["gamma"], fit["entropy"], strict=True)) == [
        (0, "layer3.2", 0.017, 0.117),
        (1, "layer4.2", 0.217, 0.317),
    ]
    assert set(layers["variant"]) == {"resnet50_attn5"}


def test_the_table_shows_every_layer_and_what_switching_off_changes(layers, study_results):
    table = attention_table(layers, study_results.change, study_results.wanted)
    assert [row[1].main for row in table.rows] == [
        "no transfer",
        "STL-N",
        "STL-M",
        "STL-N → STL-M",
        "STL-N → STL-M → SSTL-M",
    ]
    idle, awake = table.rows[:2]
    assert [(text.main, text.detail) for text in awake[2:4]] == [
        ("0.0120", "entropy 0.112"),
        ("0.2120", "entropy 0.312"),
    ]
    assert awake[2].hover == "layer3.2; |γ| of the seeds: 0.0070 to 0.0170"
    assert (idle[4].main, idle[5].main, idle[5].detail) == ("0.004 ± 0.000", "0.004", "attention inactive")
    assert awake[5].detail == ""
    assert table.notes == ("Layers of resnet50 + 5 ATTN: layer3.2, layer4.2.",)


def test_attention_is_inactive_where_switching_it_off_changes_less_than_a_hundredth(study_results):
    assert {network for network, _ in study_results.change} == {"resnet50_attn5"}
    assert [chain for (_, chain), change in study_results.change.items() if change["inactive"]] == ["none"]
    assert study_results.change["resnet50_attn5", "none"]["largest"] == pytest.approx(0.004)


def test_the_mean_change_is_over_images_and_its_spread_over_seeds(predictions, study_results):
    rows = predictions.query("variant == 'resnet50_attn5' and condition == 'stl_n'")
    wide = rows.pivot_table(index=["seed", "dataset", "split", "image_id"], columns="intervention", values="score")
    seeds = (wide[""] - wide["inserted_off"]).abs().groupby("seed").mean()
    change = study_results.change[STL_N]
    assert (change["mean"], change["sd"]) == pytest.approx((seeds.mean(), seeds.std()))


def test_what_attention_adds_to_the_auroc_is_that_of_the_test_images(predictions, config):
    """Switched off, the test images are ranked backwards; validation and outside images would say otherwise."""
    own = predictions["dataset"].eq("ct") & predictions["split"].eq("test")
    off = predictions["intervention"].eq("inserted_off")
    turned = predictions.assign(score=predictions["score"].mask(off & own, 1 - predictions["score"]))
    rows = turned[own & turned["variant"].eq(STL_N[0]) & turned["condition"].eq(STL_N[1])]
    aurocs = {key: roc_auc_score(part["target"], part["score"]) for key, part in rows.groupby(["intervention", "seed"])}
    expected = sum(aurocs["", seed] - aurocs["inserted_off", seed] for seed in (0, 1)) / 2
    assert expected > 0.2
    assert attention_change(turned, config)[STL_N]["auroc"] == pytest.approx(expected)


def test_what_was_not_recorded_or_not_switched_off_is_a_dash(layers, study_results):
    unrecorded = attention_table(
        layers[layers["condition"] != "stl_n"], study_results.change, study_results.wanted
    ).rows[1]
    assert [text.main for text in unrecorded[2:4]] == ["—", "—"]
    unchecked = attention_table(layers, {}, study_results.wanted).rows[1]
    assert [text.main for text in unchecked[4:]] == ["—", "—", "—"]
    assert attention_table(layers.iloc[:0], {}, study_results.wanted).rows == ()


def test_one_seed_has_no_spread(predictions, config, layers, study_results):
    change = attention_change(predictions[predictions["seed"] == 0], config)
    assert pd.isna([row["sd"] for row in change.values()]).all()
    assert "±" not in attention_table(layers, change, study_results.wanted).rows[1][4].main

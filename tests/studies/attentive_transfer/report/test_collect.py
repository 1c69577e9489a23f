import re
from dataclasses import replace

import pandas as pd
import pytest

from medtransfer.reporting.origin import Origin
from medtransfer.studies.attentive_transfer.report import build
from medtransfer.studies.attentive_transfer.report.attention import attention_change

FULL = "stl_n-stl_m-sstl_m"
ONCE = "pretrained once: chance in pretraining is not in the interval"


@pytest.fixture(scope="module")
def again(report_input, evaluation):
    """Build with some parts of the input, or of the study's parameters, changed."""

    def rebuild(*, config=None, **changes):
        settings = report_input.config.model_copy(update=config or {})
        draws = evaluation.model_copy(update={"draws": 50})
        return build(replace(report_input, **{"config": settings, "evaluation": draws} | changes))

    return rebuild


def test_the_headline_is_the_measured_difference_with_interval_and_power(content, study_results):
    means = [
        study_results.cells[network, FULL].samples["auroc"].points.mean() for network in study_results.config.networks
    ]
    sentence = content.headline[0]
    assert sentence.startswith("Attention − convolution after the whole chain: ")
    assert f"{means[1] - means[0]:+.3f} AUROC, 95 % interval " in sentence
    assert f" (over patients and 2 seeds; {ONCE}): not decidable (the interval includes zero); a true diff" in sentence
    low, high, detectable = (float(part.replace("−", "-")) for part in re.findall(r"[−+]?0\.\d+", sentence)[1:])
    assert detectable == pytest.approx((high - low) / (2 * 1.959964) * (1.959964 + 0.841621), abs=0.006)
    assert "the chain is better; a true difference of " in content.headline[2]


def test_networks_of_equal_predictions_are_no_difference_and_none_is_better(again, predictions):
    on = predictions[predictions["intervention"] == ""]
    plain = on[on["variant"] == "resnet50_attn0"]
    off = plain.assign(variant="resnet50_attn5", intervention="inserted_off", score=0.5)
    table = pd.concat([plain, plain.assign(variant="resnet50_attn5"), off], ignore_index=True)
    sentence = again(predictions=table).headline[0]
    assert sentence.startswith("Attention − convolution after the whole chain: no difference (")
    assert "is better" not in sentence


def test_the_headline_says_how_much_of_the_difference_attention_makes_itself(again, predictions, config):
    turned = predictions.assign(score=predictions["score"].mask(predictions["intervention"] == "inserted_off", 0.5))
    added = attention_change(turned, config)["resnet50_attn5", FULL]["auroc"]
    assert added > 0.2
    sentence = again(predictions=turned).headline[1]
    assert sentence.startswith(
        f"Of this, the ATTN layers themselves make {added:+.3f} AUROC (as trained − switched off)"
    )


def test_a_headline_about_idle_attention_says_so(again, predictions):
    on = predictions[predictions["intervention"] == ""]
    off = on[on["variant"] == "resnet50_attn5"].assign(intervention="inserted_off")
    report = again(predictions=pd.concat([on, off], ignore_index=True))
    assert "attention is inactive in resnet50 + 5 ATTN (STL-N → STL-M → SSTL-M)" in report.headline[0]


def test_a_headline_without_the_whole_chain_is_not_decidable(again, predictions):
    report = again(predictions=predictions[predictions["condition"] != FULL])
    measured, missing = "Attention − convolution after the whole chain", "STL-N → STL-M → SSTL-M"
    assert report.headline[0] == f"{measured}: not decidable (not run: {missing})."
    assert not [sentence for sentence in report.headline if sentence.startswith("Of this")]
    assert "curves" not in [figure.key for figure in report.figures]


def test_a_mean_over_several_pairs_is_named_as_one(again, predictions, config):
    third = predictions[predictions["variant"] == "resnet50_attn5"].assign(variant="resnet50_attn1")
    networks = (*config.networks, "resnet50_attn1")
    wider = pd.concat([predictions, third], ignore_index=True)
    report = again(predictions=wider, config={"networks": networks})
    assert report.headline[0].startswith(
        "Attention − convolution after the whole chain, mean over 2 pairs of networks: "
    )
    assert "(as trained − switched off, mean over 2 networks)" in report.headline[1]


def test_without_a_plain_network_no_difference_is_reported(again, predictions):
    alone = predictions[predictions["variant"] == "resnet50_attn5"]
    report = again(predictions=alone, config={"networks": ("resnet50_attn5",)})
    assert not [sentence for sentence in report.headline if sentence.startswith("Of this")]


def test_the_time_of_all_fits_is_below_them(content):
    (runs,) = content.provenance
    seconds = sum(float(row[-1].main) for row in runs.rows)
    assert runs.notes == (f"{len(runs.rows)} runs, together {seconds / 60:.0f} minutes of fitting.",)


@pytest.mark.filterwarnings("ignore::medtransfer.evaluation.checks.UndefinedMetricWarning")
def test_a_test_set_of_one_class_says_why_nothing_is_decidable(again, predictions):
    own = (predictions["dataset"] == "ct") & (predictions["split"] == "test")
    report = again(predictions=predictions.assign(target=predictions["target"].mask(own, 1.0)))
    assert report.headline[0].endswith("not decidable (auroc is undefined: there is no negative row).")
    assert "curves" not in [figure.key for figure in report.figures]


def test_the_champion_names_run_commit_and_data(content):
    facts = dict(content.champions[0])
    assert facts["Model"].main == "covid-ct, version 3 @champion"
    assert facts["Run"].main == f"finetune · resnet50_attn5-{FULL} · seed 0"
    assert (facts["Commit"].main, facts["Commit"].detail) == ("01234567", "clean")
    assert (facts["Chain"].main, facts["Validation AUROC"].main) == ("STL-N → STL-M → SSTL-M", "0.881")
    assert facts["Data"].main == "data 5d41402a, ct 7d793037"


def test_without_a_registered_model_there_is_no_champion(again):
    assert again(champions=[]).champions == ()


def test_phantoms_and_real_images_are_distinguished(again, datasets, gate):
    real = {name: meta | {"phantoms": name == "far"} for name, meta in datasets.items()}
    mixed = again(origin=Origin(real, gate), profile="real-cpu")
    assert mixed.origin == "Profile “real-cpu”. Real images: natural, cxr, ct. Drawn phantoms: far."
    assert "not a medical finding" in again().origin


def test_limits_state_sizes_seeds_and_uncommitted_fits(content):
    limits = " ".join(content.limits)
    assert "120 images of 60 patients; fine-tuning was run with 2 seeds from 1 pretraining run of each chain" in limits
    assert "18 of 36 fits ran with uncommitted changes" in limits


def test_one_pretraining_is_named_as_a_limit(content, again):
    once = "Each chain was pretrained once per network: no interval includes the variation of pretraining."
    assert once in content.limits
    assert once not in again(config={"pretrain_seeds": (0, 1)}).limits


def test_methods_on_one_budget_are_noted(again, predictions, config):
    renamed = predictions.replace({"condition": {"stl_n-stl_m": "stl_n-stl_m-simclr"}})
    changed = {"chains": ("none", "stl_n-stl_m-simclr", FULL), "methods": ("simclr",)}
    changed["recipes"] = {"simclr": config.sstl_m}
    report = again(predictions=renamed, config=changed)
    notes = next(table.notes for table in report.results if table.key == "methods")
    assert notes[1].startswith("SSTL-M and SimCLR share one optimiser and budget here (SGD, learning rate 0.02, ")


def test_one_seed_is_named_as_a_limit(again, predictions):
    report = again(predictions=predictions[predictions["seed"] == 0])
    assert report.limits[1] == (
        "With one seed, no interval includes the random variation of training; no verdict on networks is possible."
    )
    assert f"(over patients, one seed; {ONCE}): not decidable (one seed)." in report.headline[0]
    assert "could be detected" not in " ".join(report.headline)


def test_no_text_of_the_report_holds_an_internal_name(again, predictions):
    """Without the whole chain many verdicts have nothing to compare, and must say so in words."""
    report = again(predictions=predictions[predictions["condition"] != FULL])
    cells = [cell for table in report.results for row in table.rows for cell in row]
    texts = [text for cell in cells for text in (cell.main, cell.detail, cell.hover)]
    texts += [
        *report.headline,
        *report.limits,
        *(note for table in report.results for note in (table.intro, *table.notes)),
    ]
    assert not [text for text in texts if re.search(r"stl_|_attn\d|none-|_off", text)]


def test_comparisons_routes_and_claims_have_a_column_for_each_outside_set(content):
    columns = {table.key: table.columns for table in content.results}
    for key in ("delong", "routes", "claims"):
        assert [c.group.endswith("outside sets") for c in columns[key] if c.name == "far"] == [True], key


def test_the_page_explains_the_studys_own_terms(content):
    assert content.glossary["STL-N"] == "supervised pretraining on natural images"

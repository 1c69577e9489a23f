"""The card of a registered model and the descriptions of runs: what they must say, with and without real patients."""

import math

import pytest

from medtransfer.evaluation.intervals import Interval
from medtransfer.reporting.model_card import CardFacts, images_in_words, model_card, version_description
from medtransfer.reporting.notes import results_in_words, run_note

SPLITS = {split: {"images": 10, "patients": 5} for split in ("train", "val", "test")}
AUROC = Interval(0.81234, 0.7, 0.9, 0.95, "variance over patients", 1000)
NONE = Interval(0.5, math.nan, math.nan, 0.95, "", 0, "too few patients")


def data(phantoms):
    return {"phantoms": phantoms, "splits": SPLITS, "licence": "CC BY | 4.0", "citation": "<someone>"}


def facts(phantoms=True, **changed):
    values = {
        "model": "covid-ct", "study": "attentive_transfer", "paper": "Liu & Ji 2021", "network": "resnet18_attn5",
        "title": "finetune · seed 0", "dataset": "ct", "datasets": {"ct": data(phantoms)}, "metric": "auroc",
        "value": 0.77, "rivals": 12, "audit": "not audited", "steps": ["first", "second"],
        "results": {("ct", "test"): {"auroc": AUROC, "auprc": NONE}}, "rebuild": ["git checkout abc"], "dirty": True,
    }  # fmt: skip
    return CardFacts(**values | changed)


def test_a_card_has_numbers_with_bounds_licences_limits_lineage_and_commands():
    card = model_card(facts())
    for words in (
        "**Not for diagnosis.** All images are drawn phantoms (ct); none shows a patient.",
        "| ct | test | AUROC | 0.812 | 0.700 … 0.900 |",
        "| ct | test | AUPRC | 0.500 | too few patients |",
        "| ct (drawn phantoms) | fine-tuning | 10 / 5, 10 / 5, 10 / 5 | CC BY \\| 4.0 | &lt;someone> |",
        "chosen among 12 fits by validation AUROC",
        "Not audited.",
        "- A fit ran with uncommitted changes",
        "- Not tested on images of another hospital or scanner.",
        "2. second",
        "git checkout abc",
    ):
        assert words in card
    assert "More Information Needed" not in card
    assert card.startswith("---\nlibrary_name: medtransfer\n")


def test_real_images_are_not_called_phantoms():
    assert "phantom" not in model_card(facts(phantoms=False))
    both = {"ct": data(False), "cxr": data(True)}
    assert images_in_words(both) == "Drawn phantoms: cxr; real images: ct."


def test_a_version_says_what_it_is_its_result_and_what_it_is_not_for():
    text = version_description(facts())
    assert "Test AUROC on ct: 0.812 (0.700 … 0.900), interval over patients." in text
    assert text.endswith("**Not for diagnosis.**")


def test_a_run_says_its_data_result_and_parent():
    run = {
        "experiment": "attentive_transfer", "parents": ["a" * 32], "datasets": [{"name": "ct"}],
        "tags": {"phase": "finetune", "variant": "net", "condition": "none", "seed": "0", "paper": "Liu & Ji 2021"},
    }  # fmt: skip
    note = run_note(run, {"a" * 32: "pretraining"}, {"ct": {"phantoms": True}}, ["Test: AUROC 0.800."])
    assert "Fine-tuning on the target task: net, none, seed 0." in note
    assert "none shows a patient" in note
    assert f"Starts from [pretraining](run:{'a' * 32})." in note
    assert "Starts from untrained or ready-made weights." in run_note(run | {"parents": []}, {}, {})


@pytest.mark.parametrize(("seeds", "chance"), [([0], "over patients)"), ([0, 1], "over patients and seeds)")])
def test_a_result_says_which_chance_its_interval_holds(seeds, chance):
    found = {"per_seed": [0.8, 0.7][: len(seeds)], "mean": 0.75, "low": 0.6, "high": 0.9}
    found |= {"low_seeds": 0.5, "high_seeds": 0.95} if len(seeds) > 1 else {}
    entry = {"seeds": seeds, "images": 10, "patients": 5, "probability": {"metrics": {"auroc": found}}}
    card = {"net/none/ct/test": entry, "net/none/ct/val": entry, "other/none/ct/test": entry}
    (line,) = results_in_words(card, ("net", "none", 0), "auroc", "ct")
    assert line.startswith("Test: AUROC 0.800")
    assert chance in line
    assert line.endswith("10 images of 5 patients.")

"""The verb explain on toy networks: phantoms with masks that can score heat and boxes, and images without masks."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from medtransfer.cli import run
from medtransfer.errors import DataError, ModelError
from medtransfer.explain.explainers import TITLES
from medtransfer.models.classifier import attention_layers, build_network
from medtransfer.models.weights import save_weights
from medtransfer.params import load_params
from medtransfer.reporting.gallery import write_gallery_page
from medtransfer.studies.attentive_transfer import study
from medtransfer.tracking.describing import Place
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.explaining import open_subject
from medtransfer.training.gallery import write_gallery
from network_heads import class_heads

STUDY = "attentive_transfer"
NETWORKS = ("resnet18_attn0", "resnet18_attn5")
VIEW = {"crop": 56, "mean": [0.4], "std": [0.3]}
HEADS = class_heads(("non-covid", "covid"))
FINDINGS = f"out/{STUDY}/results/explanations"


@pytest.fixture
def study_of_two(toy):
    """Two untrained networks in the place of the fine-tuned ones, ATTN layers off the identity."""
    toy.params["datasets"]["ct"]["pack"]["size"] = 64
    toy.params[STUDY] |= {"networks": list(NETWORKS), "chains": ["none"], "methods_after": []}
    toy.params[STUDY]["finetune"]["augment"] = {"crop": 56}
    toy.write_params()
    config = load_params().attentive_transfer
    for name in NETWORKS:
        model = build_network(config.network(name), classes=2, seed=0)
        for layer in attention_layers(model).values():
            torch.nn.init.normal_(layer.norm.weight)
        folder = study.finetuned(name, "none", 0).weights
        save_weights(model, folder, config=config.network(name), heads=HEADS, preprocessing=VIEW)
    return toy


def explained(toy, capsys):
    for words in (["prepare", "ct"], ["explain", STUDY]):
        assert run(words) == 0, capsys.readouterr().err[-2000:]
    for name in ("figure4.png", "regions.png"):
        assert np.ptp(np.asarray(Image.open(toy.folder / FINDINGS / name).convert("L"))) > 100
    return json.loads((toy.folder / FINDINGS / "explanations.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_with_masks_every_network_and_method_is_scored_and_boxes_are_measured(study_of_two, capsys):
    study_of_two.draw_phantoms(masks=True)
    found = explained(study_of_two, capsys)
    assert (found["seed"], found["dataset"], found["output"]) == (0, "ct", "covid")
    assert found["chains"] == dict.fromkeys(NETWORKS, "none")
    kinds = {(row["network"], row["name"], row["layer"]) for row in found["scores"]}
    sites = ("layer2.0", "layer2.1", "layer3.0", "layer3.1", "layer4.1")
    expected = {(network, "grad_cam", "last map") for network in NETWORKS}
    assert kinds == expected | {("resnet18_attn5", "attention", site) for site in sites}
    assert {(row["network"], row["name"], row["layer"]) for row in found["maps"]} == kinds
    for row in found["scores"]:
        assert row["images"] + row["flat"] == {"lesion": 3, "lungs": 6}[row["region"]]
        assert row["ratio"] is None or row["ratio"] >= 0
    assert_gallery(study_of_two.folder / FINDINGS / "gallery")
    regions = found["regions"]
    assert (regions["images"], regions["without_lungs"]) == (12, 0)
    assert set(regions["coverage"]) == {"reference", "axial"}
    assert regions["coverage"]["axial"]["rl"] > 0.7


def assert_gallery(folder):
    facts = json.loads((folder / "gallery.json").read_text(encoding="utf-8"))
    assert facts["scored"] == 3
    assert [len(network["flat"]) for network in facts["networks"]] == [3, 4]
    for network in facts["networks"]:
        *rows, floor = network["scores"]
        assert [row["explainer"] for row in rows] == list(network["flat"])
        assert floor["explainer"] == "noise"
        assert floor["weights"] is None
        for row in rows:
            assert row["lesion_images"] + row["flat"] == 3
            assert all(0 <= row[key] <= 1 for key in ("in_lungs", "deletion", "insertion"))
            assert all(-1 <= row[key] <= 1 for key in ("head", "weights", "labels"))
    count = len(facts["cases"])
    assert count
    assert len(list((folder / "tiles").iterdir())) == count * (1 + 2 * (3 + 4))


@pytest.mark.slow
def test_without_masks_nothing_is_scored_and_slices_without_lungs_are_counted(study_of_two, capsys):
    study_of_two.draw_phantoms(masks=False)
    Image.new("L", (64, 64), 90).save(study_of_two.folder / "data" / "ct" / "00.png")
    found = explained(study_of_two, capsys)
    assert found["scores"] is None
    assert found["regions"]["coverage"] is None
    assert found["regions"]["without_lungs"] == 1
    assert "ct/00.png" in found["regions"]["slices"]


@pytest.mark.slow
def test_maps_of_a_constant_network_are_called_flat_and_none_is_drawn_empty(study_of_two, capsys):
    study_of_two.draw_phantoms(masks=True)
    config = load_params().attentive_transfer
    for name in NETWORKS:
        model = build_network(config.network(name), classes=2, seed=0)
        torch.nn.init.zeros_(model.head.weight)
        folder = study.finetuned(name, "none", 0).weights
        save_weights(model, folder, config=config.network(name), heads=HEADS, preprocessing=VIEW)
    for words in (["prepare", "ct"], ["explain", STUDY]):
        assert run(words) == 0, capsys.readouterr().err[-2000:]
    folder = study_of_two.folder / FINDINGS / "gallery"
    facts = json.loads((folder / "gallery.json").read_text(encoding="utf-8"))
    for network in facts["networks"]:
        for name in ("grad_cam", "saliency", "smoothed_saliency"):
            assert all(network["flat"][name])
        assert [row["pointing"] for row in network["scores"][:3]] == [None] * 3
    runs = [Place("", "")] * len(NETWORKS)
    write_gallery_page(study_of_two.folder / "page", folder, facts, runs, titles=TITLES, origin="Drawn.", phantoms=True)
    page = (study_of_two.folder / "page" / "index.html").read_text(encoding="utf-8")
    assert page.count("no heat: nothing in this image") == 2 * 3 * len(facts["cases"])


def test_a_class_that_nobody_has_is_one_line(study_of_two, capsys):
    study_of_two.draw_phantoms(masks=False)
    assert run(["prepare", "ct"]) == 0, capsys.readouterr().err[-2000:]
    fits = {name: study.finetuned(name, "none", 0) for name in NETWORKS}
    engine = Engine(HardwareConfig(device="cpu"))
    with pytest.raises(
        DataError, match="explain: no image has the label or finding 'flu', expected one of: covid, non"
    ):
        write_gallery(study_of_two.folder / "g", fits, dataset="ct", positive="flu", engine=engine)
    with pytest.raises(ModelError, match="explain: plain has no output 'flu', expected one of non-covid, covid"):
        open_subject("plain", fits[NETWORKS[0]], "flu", engine)


def test_weights_that_are_absent_are_one_line(study_of_two, capsys):
    study_of_two.draw_phantoms(masks=False)
    assert run(["prepare", "ct"]) == 0
    (study.finetuned(NETWORKS[1], "none", 0).weights / "model.safetensors").unlink()
    assert run(["explain", STUDY]) == 2
    assert "finetune/resnet18_attn5/none/seed0" in capsys.readouterr().err

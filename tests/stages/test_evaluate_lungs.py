"""The verb evaluate says where lung masks are from, and warns where the whole image counts as lung."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medtransfer.cli import run
from medtransfer.data.manifest import ZONES
from medtransfer.data.phantom.cxr import CxrConfig, draw_cxr
from medtransfer.data.phantom.scanner import CXR_SCANNERS
from medtransfer.models.classifier import build_network
from medtransfer.models.weights import save_weights
from medtransfer.stages import evaluate
from network_heads import GREY
from network_heads import ZONES_HEADS as HEADS
from network_heads import ZONES_NETWORK as NETWORK
from network_heads import ZONES_SIDE as SIDE

PREPARED = {"size": SIDE, "crop": SIDE, **GREY}


@pytest.fixture
def evaluated(tmp_path, monkeypatch):
    """Evaluate on three X-rays with a table: one has a mask, one an empty mask, one is grey all over without a mask."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new").mkdir()
    rng = np.random.default_rng
    for number in range(2):
        drawn = draw_cxr(rng(number), rng(2), "covid", CXR_SCANNERS[0], CxrConfig(size=SIDE))
        Image.fromarray(drawn.image).save(f"new/{number}.png")
        Image.fromarray(drawn.mask * (number == 0)).save(f"new/{number}_mask.png")
    flat = np.full((SIDE, SIDE), 128, np.uint8)
    flat[0, 0] = 127
    Image.fromarray(flat).save("new/2.png")
    (tmp_path / "new/labels.csv").write_text("image,mask\n0.png,0_mask.png\n1.png,1_mask.png\n2.png,\n")

    def evaluated(**lungs):
        extra = {"dataset": "old", "positive": ""}
        extra["fit"] = {"study": "toy", "variant": "multitask", "condition": "pooled", "seed": "0"}
        prepared = PREPARED | lungs
        model = build_network(NETWORK, 8, seed=0)
        save_weights(model, tmp_path / "w", config=NETWORK, heads=HEADS, preprocessing=prepared, extra=extra)
        monkeypatch.setattr(evaluate, "fetch_model", lambda model: tmp_path / "w")
        assert run(["evaluate", "--model", "models:/toy@champion", "--manifest", "new/labels.csv"]) == 0
        out = tmp_path / "out/evaluate"
        facts = json.loads((out / "metrics.json").read_text())
        return facts, (out / "report.md").read_text(), pd.read_csv(out / "predictions.csv")

    return evaluated


def counts(facts):
    return [facts[key] for key in ("lung_masks_from_files", "lung_masks_from_segmenter", "without_lung_mask")]


def test_a_file_wins_then_the_segmenter_and_the_rest_is_a_warning(evaluated):
    facts, report, answers = evaluated(masks="files", segmenter="lung_fields")
    assert answers["lungs"].tolist() == ["file", "segmenter", "whole image"]
    assert counts(facts) == [1, 1, 1]
    zones = answers[[f"severity_{zone}" for zone in ZONES]]
    assert answers["severity_score"].tolist() == (zones >= 0.5).sum(axis=1).tolist()
    warning = "1 of 3 images have no lung mask: their whole image counts as lung for the zones, and the segmenter"
    assert any(text.startswith(warning) for text in facts["warnings"])
    assert warning in report
    assert "lung masks from segmenter: 1" in report


@pytest.mark.parametrize(("masks", "expected"), [("files", [1, 0, 2]), ("none", [0, 0, 3])])
def test_without_a_segmenter_or_masks_in_training_the_whole_image_is_lung(evaluated, masks, expected):
    facts, report, _ = evaluated(masks=masks, segmenter="")
    assert counts(facts) == expected
    said = {"files": "give --manifest with a column mask", "none": "the network was trained without lung masks"}
    assert said[masks] in report

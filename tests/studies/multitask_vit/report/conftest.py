"""Made-up predictions of four variants, two seeds: 90 validation and 90 test images, two each of a patient."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medtransfer.evaluation.cells import EvaluationConfig
from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.reporting.input import ReportInput
from medtransfer.reporting.origin import Origin
from medtransfer.studies.multitask_vit.report import collect
from medtransfer.studies.multitask_vit.report.results import results

CLASSES = ("normal", "other", "covid")
VARIANTS = {
    "multitask": {},
    "classification": {"tasks": ["label"]},
    "severity": {"tasks": ["zones"]},
    "no_transformer": {"transformer": False},
}
PULL = {"multitask": 0.5, "classification": 0.25, "severity": 0.4, "no_transformer": 0.1}
COUNT = 90
SHOWN = {
    "splits": {},
    "until": None,
    "classes": list(CLASSES),
    "pack": {"size": 8, "channels": 1, "depth": 8, "equalize": False, "window": None},
    "patients": "known",
    "licence": "none",
    "citation": "none",
    "content_hash": "0" * 64,
}
"""What a report shows of the data set."""
SCORE = {"images": 9, "flat": 0, "energy": 0.4, "area": 0.1, "ratio": 4.0, "pointing": 0.7, "overlap": 0.3}
EXPLAINED = {
    "study": "multitask_vit",
    "variant": "multitask",
    "seed": 0,
    "dataset": "chest",
    "output": "covid",
    "shown": ["a", "b"],
    "images_with_masks": 9,
    "lungs": {
        "train": {"file": 5, "segmenter": 2, "whole image": 0},
        "test": {"file": 3, "segmenter": 1, "whole image": 4},
    },
    "scores": [{"map": "relevance", "region": "lesion", **SCORE}, {"map": "severity map", "region": "lungs", **SCORE}],
}


def images(split, sources, views):
    number = np.arange(COUNT)
    return pd.DataFrame(
        {
            "image_id": [f"cxr/{split}{one}" for one in number],
            "patient_id": [f"cxr:{split}{one // 2}" for one in number],
            "dataset": "cxr",
            "split": split,
            "source": [sources[one // 2 % len(sources)] for one in number],
            "view": [views[one // 4 % len(views)] for one in number],
            "date": pd.NaT,
        }
    )


def predictions(sources=("a", "b"), views=("PA", "AP")):
    parts = []
    for split in ("val", "test"):
        rows = images(split, sources if split == "test" else sources[:2], views)
        label = np.eye(3)[np.random.default_rng(1).integers(0, 3, COUNT // 2).repeat(2)]
        true = np.random.default_rng(2).integers(0, 7, COUNT).astype(float)
        for variant, one in VARIANTS.items():
            for seed in (0, 1):
                draw = np.random.default_rng([seed, len(variant), len(split)])
                names = {"study": "multitask_vit", "variant": variant, "condition": "pooled", "seed": seed}
                if "zones" not in one.get("tasks", ()):
                    score = np.clip(draw.normal(0.25 + PULL[variant] * label, 0.2), 0, 1)
                    parts.append(prediction_rows(rows, score, label, outputs=CLASSES, kind="probability", **names))
                if "label" not in one.get("tasks", ()):
                    score = np.clip(true + draw.normal(0, 1 / PULL[variant] / 2, COUNT), 0, 6)
                    columns = (score[:, None], true[:, None])
                    parts.append(prediction_rows(rows, *columns, outputs=["score"], kind="value", **names))
    return pd.concat(parts, ignore_index=True)


def manifest(readers=False):
    """The packed data set behind the predictions: hospital ``a`` has more COVID-19 in training than ``b``."""
    rows = pd.concat([images(split, ("a", "b"), ("PA",)) for split in ("train", "test")], ignore_index=True)
    rows["label"] = np.where(rows["source"] == "a", "covid", "normal")
    rows.loc[::6, "label"] = "other"
    rows["mask_row"] = np.arange(len(rows)) % 3 - 1
    rows[[f"zone_{place}" for place in range(6)]] = 1.0
    if readers:
        true = np.random.default_rng(2).integers(0, 7, COUNT)
        for name, extra in (("senior", 0), ("junior", 1)):
            scores = np.tile(np.clip(true + extra, 0, 6), 2)
            for place in range(6):
                rows[f"v_{name}_{place}"] = np.where(scores > place, 2.0, 0.0)
    return rows


@pytest.fixture
def config(make_config):
    return make_config(variants=VARIANTS, seeds=[0, 1])


@pytest.fixture
def found(config):
    def found(manifests=None, **changes):
        settings = EvaluationConfig(draws=40)
        return results(predictions(**changes), config, settings, {} if manifests is None else manifests)

    return found


@pytest.fixture
def report(config, gate, tmp_path, monkeypatch):
    return make_report(config, gate, tmp_path, monkeypatch)


@pytest.fixture
def explained_report(config, gate, tmp_path, monkeypatch):
    """The report of drawn or real images after the explain stage, whose panel is a single grey pixel."""
    folder = tmp_path / "results" / "explanations"
    folder.mkdir(parents=True)
    Image.new("L", (1, 1)).save(folder / "maps.png")
    (folder / "explanations.json").write_text(json.dumps(EXPLAINED))
    return lambda phantoms: make_report(config, gate, tmp_path, monkeypatch, phantoms=phantoms)


def make_report(config, gate, folder, monkeypatch, phantoms=None):
    rows = manifest()
    packed = SimpleNamespace(manifest=rows, images=np.zeros((len(rows), 1, 8, 8), np.uint8))
    monkeypatch.setattr(collect, "_packed", lambda config: {"cxr": packed, config.finetune.label.dataset: packed})
    known = {} if phantoms is None else {config.finetune.label.dataset: SHOWN | {"phantoms": phantoms}}
    return collect.collect(
        ReportInput(
            folder=folder,
            predictions=predictions(),
            origin=Origin(known, gate=gate),
            champions=[],
            config=config,
            evaluation=EvaluationConfig(draws=40),
            profile="toy",
        )
    )

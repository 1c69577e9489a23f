"""A made-up study: six variants, one task, two regimes, two seeds, 80 patients with 160 images; records, costs, CKA."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

from medtransfer.evaluation.cells import EvaluationConfig
from medtransfer.reporting.input import ReportInput
from medtransfer.reporting.origin import Origin
from medtransfer.reporting.records import recorded_fits
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig
from medtransfer.studies.truncated_transfer.report import build as build_report
from medtransfer.studies.truncated_transfer.report.results import results

TRAIN = {
    "steps": 40,
    "batch_size": 16,
    "optimizer": {"name": "adam", "lr": 1e-5},
    "schedule": {"name": "plateau", "factor": 0.5, "patience": 5},
    "selection": {"metric": "val/auprc"},
}
STUDY = {
    "variants": (
        "densenet121-random",
        "densenet121-transfer",
        "densenet121_t1-transfer",
        "densenet121_t2-transfer",
        "densenet121_s1-transfusion",
        "cbr_tiny-random",
    ),
    "tasks": {"ct": {"dataset": "ct", "positive": "covid"}},
    "regimes": {"all": {}, "tenth": {"share": 0.1}},
    "protocols": ("tuned",),
    "seeds": (0, 1),
    "start": {"densenet121": {"kind": "train"}},
    "pretrain": {
        "dataset": "natural",
        "augment": {"crop": 64},
        "train": TRAIN | {"selection": {"metric": "val/macro_auroc"}, "schedule": {"name": "constant"}},
    },
    "augment": {"crop": 64},
    "train": TRAIN,
    "tuning": {"learning_rates": (1e-4,)},
}
PULL = dict(zip(STUDY["variants"], (0.6, 1.2, 1.3, 1.0, 0.9, 0.5), strict=True))
BEST_STEP = {0: 30, 1: 40}
"""By seed: where validation AUPRC is best; a fit takes 80 seconds for 40 steps."""


def make_predictions(config, *, dates=False):
    images = pd.DataFrame(
        {
            "image_id": [f"ct/{k}" for k in range(160)],
            "patient_id": [f"ct:{k // 2}" for k in range(160)],
            "dataset": "ct",
            "split": "test",
            "source": "a",
            "view": "",
            "date": pd.to_datetime(["2020-07-10", "2020-08-20"] * 80) if dates else pd.NaT,
            "target": [float(k // 2 % 3 == 0) for k in range(160)],
        }
    )
    draw, parts = np.random.default_rng(1), []
    for variant in config.variants:
        for condition in config.conditions():
            pull = PULL[variant] - 0.3 * (condition.regime == "tenth")
            for seed in config.seeds:
                score = 1 / (1 + np.exp(-(pull * (2 * images["target"] - 1) + draw.normal(size=160))))
                fit = {"study": "truncated_transfer", "variant": variant, "condition": condition.name, "seed": seed}
                fit |= {"output": "covid", "kind": "probability", "intervention": ""}
                parts.append(images.assign(**fit, score=score))
    return pd.concat(parts, ignore_index=True)


def write_record(folder, name, seed):
    folder = folder / f"seed{seed}"
    folder.mkdir(parents=True)
    record = {
        "run_key": "ab" * 16,
        "run_id": "a" * 32,
        "name": name,
        "git_commit": "0123456789abcdef",
        "git_dirty": False,
        "data": {"ct": "5d41402abc4b2a76"},
        "params_fingerprint": "abcdef012345",
    }
    (folder / "run.json").write_text(json.dumps(record))
    with (folder / "history.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["step", "train/loss", "val/auprc"])
        writer.writerows([step, 0.7, 0.9 - abs(step - BEST_STEP[seed]) / 100] for step in (10, 20, 30, 40))
    events = [
        {"seq": 0, "time": 1.0, "kind": "open", "tags": {"learning_rate": "0.0001"}},
        {
            "seq": 1,
            "time": 1.0,
            "kind": "metrics",
            "step": 0,
            "values": {"fit/seconds": 80.0, "fit/epochs": 5.0, "best/auprc": 0.9},
        },
    ]
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


COSTS = {
    "machine": {"cpu": "one CPU", "cores": 2, "gpus": [], "device": "cpu", "threads": 1, "precision": "fp32"},
    "side": 64,
    "batch": 16,
    "networks": {
        name: dict(zip(("parameters", "multiply_adds", "step_seconds", "latency_seconds"), numbers, strict=True))
        for name, numbers in {
            "densenet121": (6955906, 231e6, 0.18, 0.012),
            "densenet121_t1": (378114, 103e6, 0.05, 0.002),
            "densenet121_t2": (1430146, 170e6, 0.09, 0.006),
            "densenet121_s1": (2196674, 140e6, 0.10, 0.008),
            "cbr_tiny": (4309506, 167e6, 0.05, 0.003),
        }.items()
    },
}


def similarity(config):
    variants = [variant for variant in config.variants if not variant.endswith("-random")]
    blocks = {"features.denseblock1": 0.99, "features.transition1": 0.9, "features.denseblock4": 0.5}
    fits = [
        {
            "variant": variant,
            "condition": condition.name,
            "seed": seed,
            "blocks": {k: v - 0.1 * seed for k, v in blocks.items()},
        }
        for variant in variants
        for condition in config.conditions()
        for seed in config.seeds
    ]
    return {"images": {"ct": 80}, "fits": fits}


@pytest.fixture(scope="session")
def make_config():
    def make(**changes):
        return TruncatedTransferConfig.model_validate(STUDY | changes)

    return make


@pytest.fixture(scope="session")
def config(make_config):
    return make_config()


@pytest.fixture(scope="session")
def evaluation():
    return EvaluationConfig(draws=200)


@pytest.fixture(scope="session")
def predictions(config):
    return make_predictions(config)


@pytest.fixture(scope="session")
def dated(config):
    """The same study with test images of two months."""
    return make_predictions(config, dates=True)


@pytest.fixture(scope="session")
def study_results(predictions, config, evaluation):
    return results(predictions, config, evaluation)


@pytest.fixture(scope="session")
def costs():
    return COSTS


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory, config):
    folder = tmp_path_factory.mktemp("study") / "truncated_transfer"
    write_record(folder / "records/pretrain/densenet121/natural", "pretrain · densenet121 · seed 0", 0)
    for variant in config.variants:
        for name in (condition.name for condition in config.conditions()):
            fits = folder / "records/finetune" / variant
            write_record(fits / f"{name}-trial0.0001", f"trial · {variant}", 0)
            for seed in config.seeds:
                write_record(fits / name, f"finetune · {variant} · {name}", seed)
    (folder / "results").mkdir()
    (folder / "results/cost.json").write_text(json.dumps(COSTS))
    (folder / "results/similarity.json").write_text(json.dumps(similarity(config)))
    return folder


@pytest.fixture(scope="session")
def datasets(datasets):
    return {name: datasets[name] | {"until": None} for name in ("natural", "ct")}


@pytest.fixture(scope="session")
def recorded(study_folder, config):
    return recorded_fits(study_folder, (*config.start, *config.variants))


@pytest.fixture(scope="session")
def build(predictions, study_folder, gate, datasets, config, evaluation):
    """Build with some parts of the input changed."""

    def again(**changes):
        same = {"predictions": predictions, "champions": [], "config": config, "profile": "sample"}
        same |= {"origin": Origin(changes.pop("datasets", datasets), gate), "evaluation": evaluation}
        return build_report(ReportInput(folder=study_folder, **(same | changes)))

    return again


@pytest.fixture(scope="session")
def content(build):
    return build()

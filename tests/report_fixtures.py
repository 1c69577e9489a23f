"""A made-up study: 2 networks × 5 chains × 2 seeds, 60 patients with 120 images, one outside set, records on disk."""

import base64
import csv
import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from medtransfer.evaluation.cells import EvaluationConfig
from medtransfer.reporting.input import ReportInput
from medtransfer.reporting.origin import Origin
from medtransfer.reporting.page import write_report
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig
from medtransfer.studies.attentive_transfer.report import build
from medtransfer.studies.attentive_transfer.report.results import results

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]

NETWORKS = ("resnet50_attn0", "resnet50_attn5")
CHAINS = ("none", "stl_n", "none-stl_m", "stl_n-stl_m", "stl_n-stl_m-sstl_m")
SEEDS = (0, 1)
ATTENTION_STAGES = (3, 4)
BEST_STEP = 70
IDLE = ("resnet50_attn5", "none")
"""The fit whose ATTN layers change nothing."""


def images(dataset, split, patients):
    rows = 2 * patients
    patient = np.repeat(np.arange(patients), 2)
    return pd.DataFrame(
        {
            "dataset": dataset,
            "split": split,
            "image_id": [f"{dataset}/{split}{i}" for i in range(rows)],
            "patient_id": [f"{dataset}:{split}{p}" for p in patient],
            "source": "a",
            "view": "",
            "date": pd.NaT,
            "target": (patient % 2).astype(float),
        }
    )


def make_predictions():
    generator = np.random.default_rng(3)
    table = pd.concat([images("ct", "val", 20), images("ct", "test", 60), images("far", "test", 50)], ignore_index=True)
    ease = generator.normal(size=len(table))
    parts = []
    for n, network in enumerate(NETWORKS):
        for c, chain in enumerate(CHAINS):
            for seed in SEEDS:
                pull = 0.4 + 0.25 * c + 0.1 * n
                noise = 0.8 * ease + 0.6 * generator.normal(size=len(table))
                score = 1 / (1 + np.exp(-(pull * (2 * table["target"] - 1) + noise)))
                fit = {"study": "attentive_transfer", "variant": network, "condition": chain, "seed": seed}
                scores = {"": score}
                if n:
                    shift = 0.004 if (network, chain) == IDLE else 0.2
                    scores["inserted_off"] = (score - shift).clip(0, 1)
                fit |= {"output": "covid", "kind": "probability"}
                parts += [table.assign(**fit, intervention=what, score=s) for what, s in scores.items()]
    return pd.concat(parts, ignore_index=True)


def write_records(folder):
    fits = [("finetune", chain) for chain in CHAINS] + [(chain.rpartition("-")[2], chain) for chain in CHAINS[1:]]
    for phase, chain in fits:
        for network in NETWORKS:
            for seed in SEEDS:
                write_record(folder / "records" / phase / network / chain / f"seed{seed}", seed)


def write_record(folder, seed):
    folder.mkdir(parents=True)
    phase, network, chain = folder.parts[-4:-1]
    variant = f"{network}-{chain}"
    record = {
        "run_key": f"{abs(hash((phase, variant, seed))):032x}"[:32],
        "run_id": "a" * 32,
        "experiment": "attentive_transfer",
        "name": f"{phase} · {variant} · seed {seed}",
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
        "git_dirty": seed == 1,
        "data": {"data": "5d41402abc4b2a76b9719d911017c592", "ct": "7d793037a0760186574b0282f2f435e7"},
        "params_fingerprint": "abcdef012345",
        "parents": [],
        "status": "FINISHED",
    }
    (folder / "run.json").write_text(json.dumps(record))
    layers = [f"inserted/{part}_layer{n}.2" for n in ATTENTION_STAGES for part in ("gamma_abs", "entropy")]
    layers = layers if "attn5" in variant else []
    name = "val/auroc_covid" if phase in ("finetune", "sstl_m") else "val/macro_auroc"
    with (folder / "history.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["step", "train/loss", name, *layers])
        for s in range(1, 9):
            state = [round(0.001 * s + 0.01 * seed + 0.1 * n, 4) for n in range(len(layers))]
            writer.writerow([s * 10, 0.7 * 0.9**s + 0.01 * seed, 0.5 + 0.03 * s, *state])
    counts = {"data/images": 300, "data/without_lungs": 2} if phase == "sstl_m" else {}
    event = {
        "seq": 0,
        "time": 1.0,
        "kind": "metrics",
        "step": 0,
        "values": counts | {"fit/seconds": 12.5, "fit/best_step": BEST_STEP},
    }
    (folder / "events.jsonl").write_text(json.dumps(event) + "\n")


NO_LABELS = "stl_n-stl_m-sstl_m ends with self-supervision: its head was never trained"


def make_scores():
    """Both fine-tuning seeds start from pretraining seed 0; without transfer each starts from its own weights."""
    rows = []
    for n, network in enumerate(NETWORKS):
        for c, chain in enumerate(CHAINS):
            for seed in (0, 1):
                supervised = not chain.endswith("sstl_m")
                source_seed = 0 if chain != "none" else seed
                known = {
                    "leep_bits": -0.99 + 0.01 * c + 0.004 * n * c + 0.001 * source_seed,
                    "nce": -0.65 + 0.02 * c,
                    "minus_conditional_entropy": -0.68,
                }
                rows.append(
                    {"network": network, "chain": chain, "seed": seed, "source_seed": source_seed, "images": 300}
                    | {name: value if supervised else math.nan for name, value in known.items()}
                    | {"logme": -0.7 - 0.01 * c, "minus_label_entropy": -0.6931472}
                    | {"source_labels": 6 if supervised else 0, "dropped_source_labels": 2 * (n and c == 1)}
                    | {"absent_target_labels": 0, "unavailable": "" if supervised else NO_LABELS}
                )
    return pd.DataFrame(rows)


EXPLANATIONS = {
    "chains": dict.fromkeys(NETWORKS, CHAINS[-1]),
    "seed": 0,
    "shown": ["ct/test0", "ct/test2"],
    "scores": [
        {
            "network": network,
            "name": "grad_cam",
            "layer": "last map",
            "region": "lesion",
            "images": 50,
            "flat": 3 * number,
        }
        | {"energy": 0.3, "area": 0.1, "ratio": 3.0, "pointing": 0.5}
        for number, network in enumerate(NETWORKS)
    ],
    "phantoms": {
        "slices": 40,
        "coverage": {
            pose: {
                table: {"ru": 0.9 - n / 10, "rm": 0.2, "rl": 0.8, "lu": 0.8, "ll": None}
                for table in ("reference", "axial")
            }
            for n, pose in enumerate(("upright", "tilted", "collapsed"))
        },
    },
    "regions": {
        "dataset": "ct",
        "boxes": "axial",
        "images": 300,
        "without_lungs": 2,
        "coverage": {
            "reference": {"ru": 0.5, "rm": 0.2, "rl": 0.8, "lu": 0.8, "ll": None},
            "axial": {"ru": 0.92, "rm": 0.95, "rl": 0.9, "lu": 0.9, "ll": None},
        },
    },
}
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
"""An image of one grey pixel, base64 of PNG."""


def write_explanations(folder):
    folder.mkdir(parents=True)
    (folder / "explanations.json").write_text(json.dumps(EXPLANATIONS))
    for name in ("figure4.png", "regions.png"):
        (folder / name).write_bytes(base64.b64decode(PIXEL))


def meta(name, **changes):
    counts = {"train": {"images": 300, "patients": 150}, "test": {"images": 120, "patients": 60}}
    return {
        "name": name,
        "classes": ["covid", "noncovid"],
        "pack": {"size": 72, "depth": 8},
        "licence": "CC0",
        "citation": "drawn by this project",
        "known_overlaps": "",
        "patients": "known",
        "content_hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "phantoms": True,
        "splits": counts,
    } | changes


GATE = {
    "settings": {"min_similarity": 0.945},
    "images": 1200,
    "search": {"radius": 300.0, "candidates": 40, "cut": 3, "plain": 2},
    "hits": [{"dataset_a": "ct", "dataset_b": "ct", "kind": "near", "pairs": 1}],
    "pairs": [{"kind": "near", "image_a": "ct/test1", "image_b": "ct/train7"}],
    "declared": {"ct": "one pair of the official lists"},
    "planted": 100,
    "recall": {"byte_copy": 1.0, "jpeg": 0.97, "flipped": 0.95, "false_positives": 0.0},
}


@pytest.fixture(scope="session")
def config():
    """The sample's study with other networks and chains."""
    params = yaml.safe_load((Path(__file__).parent.parent / "params.yaml").read_text(encoding="utf-8"))
    chosen = {"networks": NETWORKS, "chains": CHAINS, "seeds": SEEDS, "outside": ["far"]}
    return AttentiveTransferConfig.model_validate(params["attentive_transfer"] | chosen | {"methods": [], "warmed": {}})


@pytest.fixture(scope="session")
def evaluation():
    return EvaluationConfig(draws=200)


@pytest.fixture(scope="session")
def predictions():
    return make_predictions()


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "attentive_transfer"
    write_records(folder)
    write_explanations(folder / "results/explanations")
    make_scores().to_csv(folder / "results/transferability.csv", index=False)
    return folder


@pytest.fixture(scope="session")
def scores():
    return make_scores()


@pytest.fixture(scope="session")
def champions(study_folder):
    record = study_folder / "records/finetune/resnet50_attn5/stl_n-stl_m-sstl_m/seed0/run.json"
    best = {"variant": "resnet50_attn5", "condition": CHAINS[-1], "seed": 0, "metric": "auroc", "value": 0.8812}
    best |= {"model": "covid-ct", "alias": "champion", "version": 3}
    return [best | {"run_key": json.loads(record.read_text())["run_key"]}]


@pytest.fixture(scope="session")
def datasets():
    return {name: meta(name) for name in ("natural", "cxr", "ct", "far")}


@pytest.fixture(scope="session")
def gate():
    return GATE


@pytest.fixture(scope="session")
def study_results(predictions, config, evaluation):
    return results(predictions, config, evaluation)


@pytest.fixture(scope="session")
def measured(predictions, config, evaluation):
    """Results with some rows and parameters changed."""

    def again(table=predictions, *, draws=20, threshold="youden", **changes):
        settings = evaluation.model_copy(update={"draws": draws, "threshold": threshold})
        return results(table, config.model_copy(update=changes), settings)

    return again


@pytest.fixture(scope="session")
def report_input(predictions, study_folder, gate, datasets, champions, config, evaluation):
    return ReportInput(
        folder=study_folder,
        predictions=predictions,
        origin=Origin(datasets, gate),
        champions=champions,
        config=config,
        evaluation=evaluation,
        profile="sample",
    )


@pytest.fixture(scope="session")
def content(report_input):
    return build(report_input)


@pytest.fixture
def lay_out(tmp_path):
    """Return the page of a report as a browser builds it, with the page's and the window's width as its title."""

    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")

    def lay(content):
        write_report(tmp_path / "report", content)
        page = tmp_path / "report" / "index.html"
        probe = (
            "<script>document.title = document.documentElement.scrollWidth + '/' + window.innerWidth</script></body>"
        )
        copy = tmp_path / "page.html"
        # The page forbids scripts; the copy that measures itself may run one.
        text = re.sub(r"<meta[^>]*Content-Security-Policy[^>]*>", "", page.read_text(encoding="utf-8"))
        copy.write_text(text.replace("</body>", probe), encoding="utf-8")
        command = [CHROMIUM, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=900,1200"]
        done = subprocess.run(
            [*command, "--dump-dom", copy.as_uri()], capture_output=True, text=True, check=True, timeout=120
        )
        return done.stdout

    return lay

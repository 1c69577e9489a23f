"""A made-up study: 2 networks × 5 chains × 2 seeds, 60 patients with 120 images, one outside set, records on disk."""

import base64
import csv
import json
import math
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from medtransfer.reporting.page import write_report
from medtransfer.studies.attentive_transfer.report.results import ReportSettings

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
    pictures = pd.concat(
        [images("ct", "val", 20), images("ct", "test", 60), images("far", "test", 30)], ignore_index=True
    )
    ease = generator.normal(size=len(pictures))
    parts = []
    for n, network in enumerate(NETWORKS):
        for c, chain in enumerate(CHAINS):
            for seed in SEEDS:
                pull = 0.4 + 0.25 * c + 0.1 * n
                noise = 0.8 * ease + 0.6 * generator.normal(size=len(pictures))
                score = 1 / (1 + np.exp(-(pull * (2 * pictures["target"] - 1) + noise)))
                fit = {"study": "attentive_transfer", "variant": f"{network}-{chain}", "network": network}
                fit |= {"chain": chain, "seed": seed}
                outputs = {"covid": score}
                if n:
                    shift = 0.004 if (network, chain) == IDLE else 0.2
                    outputs["covid_attention_off"] = (score - shift).clip(0, 1)
                parts += [pictures.assign(**fit, output=o, kind="probability", score=s) for o, s in outputs.items()]
    return pd.concat(parts, ignore_index=True)


def write_records(folder):
    phases = {"finetuned": CHAINS, "pretrained": CHAINS[1:]}
    for phase, chains in phases.items():
        for network in NETWORKS:
            for chain in chains:
                for seed in SEEDS:
                    write_record(folder / phase / f"{network}-{chain}" / "records" / f"seed{seed}", phase, seed)


def write_record(folder, phase, seed):
    folder.mkdir(parents=True)
    variant = folder.parent.parent.name
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
    layers = [f"attention/{part}_layer{n}.2" for n in ATTENTION_STAGES for part in ("gamma_abs", "entropy")]
    layers = layers if "attn5" in variant else []
    name = "val/auroc_covid" if phase == "finetuned" or "sstl" in variant else "val/macro_auroc"
    with (folder / "history.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["step", "train/loss", name, *layers])
        for s in range(1, 9):
            state = [round(0.001 * s + 0.01 * seed + 0.1 * n, 4) for n in range(len(layers))]
            writer.writerow([s * 10, 0.7 * 0.9**s + 0.01 * seed, 0.5 + 0.03 * s, *state])
    counts = {"data/images": 300, "data/without_lungs": 2} if phase == "pretrained" and "sstl" in variant else {}
    event = {
        "seq": 0,
        "time": 1.0,
        "kind": "metrics",
        "step": 0,
        "values": counts | {"fit/seconds": 12.5, "fit/best_step": BEST_STEP},
    }
    (folder / "events.jsonl").write_text(json.dumps(event) + "\n")


NO_LABELS = "stl_n-stl_m-sstl_m ends self-supervised: its head was never trained"


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
    "chain": CHAINS[-1],
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
"""A picture of one grey pixel, base64 of PNG."""


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
        "content_hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "phantoms": True,
        "splits": counts,
    } | changes


GATE = {
    "settings": {"max_hamming": 8},
    "images": 1200,
    "hits": [{"dataset_a": "ct", "dataset_b": "ct", "kind": "near", "pairs": 1}],
    "pairs": [{"kind": "near", "image_a": "ct/test1", "image_b": "ct/train7"}],
    "declared": {"ct": "one pair of the official lists"},
    "planted": 100,
    "recall": {"byte_copy": 1.0, "jpeg": 0.97, "flipped": 0.95, "false_positives": 0.0},
}


@pytest.fixture(scope="session")
def settings():
    return ReportSettings(networks=NETWORKS, chains=CHAINS, outside=("far",), draws=200)


@pytest.fixture(scope="session")
def predictions():
    return make_predictions()


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "attentive_transfer"
    write_records(folder)
    make_scores().to_csv(folder / "transferability.csv", index=False)
    write_explanations(folder / "explanations")
    return folder


@pytest.fixture(scope="session")
def scores():
    return make_scores()


@pytest.fixture(scope="session")
def champion(study_folder):
    record = study_folder / "finetuned/resnet50_attn5-stl_n-stl_m-sstl_m/records/seed0/run.json"
    best = {"network": "resnet50_attn5", "chain": CHAINS[-1], "seed": 0, "val_auroc": 0.8812}
    return best | {
        "model": "covid-ct",
        "alias": "champion",
        "version": 3,
        "run_key": json.loads(record.read_text())["run_key"],
    }


@pytest.fixture(scope="session")
def datasets():
    return {name: meta(name) for name in ("natural", "cxr", "ct", "far")}


@pytest.fixture(scope="session")
def gate():
    return GATE


@pytest.fixture(scope="session")
def content(predictions, study_folder, gate, datasets, champion, settings):
    from medtransfer.reporting.origin import Origin
    from medtransfer.studies.attentive_transfer.report.collect import collect

    return collect(
        predictions,
        study_folder=study_folder,
        origin=Origin(datasets, gate, profile="sample"),
        registry=champion,
        config=settings,
    )


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

"""Drawn chest X-rays with classes, findings, zones and masks, and a study of small networks on them."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from medtransfer.data.manifest import build_manifest
from medtransfer.data.packed import PackConfig, pack
from medtransfer.data.phantom.cxr import FINDINGS, CxrConfig, draw_cxr, severity_zones
from medtransfer.data.phantom.scanner import CXR_SCANNERS
from medtransfer.studies import plans
from medtransfer.studies.multitask_vit.config import MultitaskVitConfig
from medtransfer.tracking.tracker import MemoryTracker
from medtransfer.training import run as run_module
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.fitting import Setting
from medtransfer.training.run import run_plan

SIDE = 64
CLASSES = ("normal", "pneumonia", "covid")
SPLITS = ("train", "train", "train", "val", "test")
PCAM, PLAIN = "test_resnet_pcam", "test_resnet"
TRAIN = {"steps": 2, "optimizer": {"name": "adam", "lr": 1e-3}, "selection": {"metric": "val/macro_auroc"}}
STUDY = {
    "variants": {
        "multitask": {},
        "classification": {"tasks": ["label"]},
        "severity": {"tasks": ["zones"]},
        "no_pretraining": {"pretrained": False},
        "no_pcam": {"backbone": "averaged"},
        "no_transformer": {"transformer": False},
        "no_positions": {"positions": False},
        "no_masks": {"masks": "none"},
    },
    "transformer": {"width": 24, "layers": 1, "heads": 3},
    "upsizing": [4, 4, 4, 4],
    "cuts": [[1, 3], [2, 3]],
    "seeds": [0],
    "backbones": {"corpus": {"network": PCAM}, "averaged": {"network": PLAIN}},
    "corpus": {
        "dataset": "chest",
        "findings": [*FINDINGS, "support_devices"],
        "augment": {"crop": SIDE, "hflip": 0.5},
        "train": TRAIN | {"batch_size": 4},
    },
    "finetune": {
        "label": {"dataset": "chest", "batch_size": 4},
        "zones": {"dataset": "chest", "batch_size": 2},
        "severity_lr": 3e-3,
        "augment": {"crop": SIDE, "hflip": 0.5, "rotate": 10.0},
        "train": TRAIN | {"batch_size": 6, "clip_norm": 1.0},
    },
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than they bring on a network this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_config():
    def make(**changes):
        return MultitaskVitConfig.model_validate(STUDY | changes)

    return make


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A workspace with the packed X-rays, in which runs are tracked in memory; returns the trackers by run name."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    rows = [_draw(number) for number in range(60)]
    pack(
        build_manifest(rows), Path("raw"), Path("out/datasets/chest"), PackConfig(size=SIDE), meta={"classes": CLASSES}
    )
    Path("data.dvc").write_text(yaml.safe_dump({"outs": [{"path": "data", "md5": "0" * 32}]}), encoding="utf-8")
    trackers = {}

    @contextmanager
    def open_run(spec, folder):
        folder.mkdir(parents=True, exist_ok=True)
        trackers[spec.name] = (spec, MemoryTracker())
        yield trackers[spec.name][1]

    monkeypatch.setattr(run_module, "open_run", open_run)
    monkeypatch.setattr(run_module, "finish", lambda folder: (folder / "run.json").write_text('{"run_key": "k"}'))
    return trackers


@pytest.fixture
def engine():
    return Engine(HardwareConfig(device="cpu", precision="fp32"))


@pytest.fixture
def fit(engine):
    def run(config, phase, variant="all"):
        setting = Setting(engine=engine, profile="toy", pointers={"chest": Path("data.dvc")})
        for plan in plans("multitask_vit", config, phase, variant, setting):
            run_plan(plan, setting)

    return run


def _draw(number):
    """Every fifth image has no mask, every sixth no zones; support devices are labelled in none."""
    patient, image = (np.random.default_rng([stream, number]) for stream in (1, 2))
    label = CLASSES[number % len(CLASSES)]
    drawn = draw_cxr(patient, image, label, CXR_SCANNERS[number % len(CXR_SCANNERS)], CxrConfig(size=SIDE))
    for folder, pixels in (("images", drawn.image), ("masks", drawn.mask)):
        file = Path("raw") / folder / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    zones = severity_zones(drawn.mask, 0.02) if number % 6 else (float("nan"),) * 6
    return {
        "image_id": f"chest/{number}",
        "patient_id": f"chest:{number}",
        "dataset": "chest",
        "source": f"hospital{number % 2}",
        "modality": "CXR",
        "path": f"images/{number}.png",
        "mask": "" if number % 5 == 4 else f"masks/{number}.png",
        "label": label,
        "split": SPLITS[number // len(CLASSES) % len(SPLITS)],
        "y_support_devices": float("nan"),
        **{f"y_{name}": value for name, value in drawn.findings.items()},
        **{f"zone_{place}": zone for place, zone in enumerate(zones)},
    }

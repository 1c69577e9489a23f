"""A toy data set with classes and findings, and a study of small networks on it."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from medtransfer.data.manifest import build_manifest
from medtransfer.data.packed import PackConfig, pack
from medtransfer.studies import plans
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig
from medtransfer.tracking.tracker import MemoryTracker
from medtransfer.training import run as run_module
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.fitting import Setting
from medtransfer.training.run import run_plan

SPLITS = ("train", "train", "train", "val", "test")
TRAIN = {
    "steps": 2,
    "batch_size": 4,
    "optimizer": {"name": "adam", "lr": 1e-5},
    "schedule": {"name": "plateau"},
    "selection": {"metric": "val/auprc"},
}
STUDY = {
    "variants": ["test_resnet-random", "test_resnet-transfer", "test_resnet_to_layer2-transfer"],
    "tasks": {"ill": {"dataset": "toy", "positive": "ill"}},
    "regimes": {"all": {}, "half": {"share": 0.5}},
    "protocols": ["paper", "tuned"],
    "seeds": [0, 1],
    "start": {"test_resnet": {"kind": "train"}},
    "pretrain": {"dataset": "toy", "augment": {"crop": 24}, "train": TRAIN | {"selection": None, "schedule": {}}},
    "augment": {"crop": 24, "rotate": 10.0},
    "train": TRAIN,
    "tuning": {"learning_rates": [1e-4, 1e-3], "budget": 0.5},
}
STUDY["pretrain"]["train"]["schedule"] = {"name": "constant"}


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
        return TruncatedTransferConfig.model_validate(STUDY | changes)

    return make


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """A workspace with the packed toy set, in which runs are tracked in memory; returns the trackers by run name."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    rows = []
    Path("raw").mkdir()
    for k in range(80):
        label = ("healthy", "ill")[k // 5 % 2]
        image = draw.normal(110, 40, (24, 24))
        image[8:16, 8:16] += 40 * (label == "ill")
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(f"raw/{k}.png")
        rows.append(
            {
                "image_id": f"toy/{k}",
                "patient_id": f"toy:{k}",
                "dataset": "toy",
                "path": f"{k}.png",
                "split": SPLITS[k % 5],
                "label": label,
                "y_bright": float(label == "ill"),
                "y_other": float(k // 10 % 2) if k % 3 else float("nan"),
                "y_blank": float("nan"),
            }
        )
    pack(build_manifest(rows), Path("raw"), Path("out/datasets/toy"), PackConfig(size=24), meta={"licence": "none"})
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


class Fitting:
    """Plans and runs fits of the study in the workspace."""

    def __init__(self):
        engine = Engine(HardwareConfig(device="cpu", precision="fp32"))
        self.setting = Setting(engine=engine, profile="toy", pointers={"toy": Path("data.dvc")})

    def plans(self, config, phase, variant, *conditions):
        return list(plans("truncated_transfer", config, phase, variant, self.setting, conditions=conditions))

    def __call__(self, config, phase, variant, *conditions):
        for plan in self.plans(config, phase, variant, *conditions):
            run_plan(plan, self.setting)


@pytest.fixture
def fit():
    return Fitting()

"""Drawn chest X-rays with lung masks, and a study of small networks on them, on two bases and one that is not there."""

from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from medtransfer.data.manifest import build_manifest
from medtransfer.data.packed import PackConfig, pack
from medtransfer.data.phantom.cxr import CxrConfig, draw_cxr
from medtransfer.data.phantom.scanner import CXR_SCANNERS
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.heads import Head
from medtransfer.models.weights import save_weights
from medtransfer.studies import plans
from medtransfer.studies.visual_transfer.config import VisualTransferConfig
from medtransfer.tracking.tracker import MemoryTracker
from medtransfer.training import run as run_module
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.fitting import Setting
from medtransfer.training.run import run_plan

SIDE = 64
CLASSES = ("normal", "pneumonia", "covid")
SPLITS = ("train", "train", "train", "val", "test")
NETWORK = "test_resnet"
STUDY = {
    "dataset": "chest",
    "positive": "covid",
    "crop": SIDE,
    "seeds": [0, 1],
    "bases": {
        "absent": {"network": "vgg16", "knows": "ImageNet", "start": {"kind": "absent"}},
        "lost": {"network": NETWORK, "knows": "nothing", "start": {"kind": "file", "path": "lost.safetensors"}},
        "natural": {
            "network": NETWORK,
            "knows": "natural images",
            "mean": [0.5],
            "std": [0.5],
            "start": {"kind": "file", "path": "weights/natural"},
        },
        "chest": {
            "network": NETWORK,
            "knows": "findings",
            "near": True,
            "dataset": "chest",
            "start": {"kind": "file", "path": "weights/chest"},
        },
    },
    "columns": {
        "plain": {"augmentation": "none", "paper": "benchmark_no_augmentation"},
        "benchmark": {"augmentation": "chosen", "paper": "benchmark_cnn"},
        "vgg16": {"base": "absent", "augmentation": "chosen", "paper": "vgg16_imagenet"},
        "lost": {"base": "lost", "augmentation": "chosen"},
        "natural": {"base": "natural", "augmentation": "chosen"},
        "chest": {"base": "chest", "augmentation": "chosen", "paper": "densenet121_chexnet"},
        "chest_all": {"base": "chest", "frozen": False, "augmentation": "none", "paper": "chexnet_all_layers"},
    },
    "augmentations": {
        "none": {},
        "chosen": {"horizontal_flip": True, "width_shift_range": 1, "brightness_range": [0.5, 1.2]},
        "zoom": {"zoom_range": 0.2},
    },
    "tried": ["zoom"],
    "tried_seeds": [0],
    "views": 2,
    "floor": "natural",
    "maximized": {"columns": ["benchmark", "chest"], "iterations": 2, "filters": 2},
    "train": {
        "steps": 2,
        "batch_size": 4,
        "optimizer": {"name": "adam", "lr": 1e-3},
        "selection": {"metric": "val/auroc_covid"},
    },
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than they bring on a network this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def config():
    return VisualTransferConfig.model_validate(STUDY)


@pytest.fixture(scope="module")
def engine():
    return Engine(HardwareConfig(device="cpu", precision="fp32"))


@pytest.fixture(scope="module")
def study_folder(tmp_path_factory, config, engine):
    """A workspace in which every phase has run; runs are tracked in memory."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("visual")
        patch.delenv("DVC_ROOT", raising=False)
        patch.chdir(folder)
        _prepare()
        patch.setattr(run_module, "open_run", _open_run)
        patch.setattr(run_module, "finish", lambda one: (one / "run.json").write_text('{"run_key": "k"}'))
        setting = Setting(engine=engine, profile="toy", pointers={"chest": Path("data.dvc")})
        for phase in ("start", "finetune"):
            for plan in plans("visual_transfer", config, phase, "all", setting):
                run_plan(plan, setting)
        yield folder


@pytest.fixture
def inside(study_folder, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(study_folder)
    return study_folder


@contextmanager
def _open_run(spec, folder):
    folder.mkdir(parents=True, exist_ok=True)
    yield MemoryTracker()


def _prepare():
    rows = [_draw(number) for number in range(60)]
    about = {"classes": CLASSES, "patients": "known"}
    pack(build_manifest(rows), Path("raw"), Path("out/datasets/chest"), PackConfig(size=SIDE), meta=about)
    Path("data.dvc").write_text(yaml.safe_dump({"outs": [{"path": "data", "md5": "0" * 32}]}), encoding="utf-8")
    network = NetworkConfig(backbone=NETWORK)
    heads = {"label": Head(outputs=("a", "b"), activation="softmax", kind="probability")}
    for seed, name in enumerate(("natural", "chest")):
        prepared = {"mean": [0.4], "std": [0.3]} if name == "chest" else {}
        save_weights(
            build_network(network, 2, seed=seed),
            Path("weights") / name,
            config=network,
            heads=heads,
            preprocessing=prepared,
        )


def _draw(number):
    """Every fifth image has no mask."""
    patient, image = (np.random.default_rng([stream, number]) for stream in (1, 2))
    label = CLASSES[number % len(CLASSES)]
    drawn = draw_cxr(patient, image, label, CXR_SCANNERS[number % len(CXR_SCANNERS)], CxrConfig(size=SIDE))
    for folder, pixels in (("images", drawn.image), ("masks", drawn.mask)):
        file = Path("raw") / folder / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(file)
    return {
        "image_id": f"chest/{number}",
        "patient_id": f"chest:{number}",
        "dataset": "chest",
        "modality": "CXR",
        "path": f"images/{number}.png",
        "mask": "" if number % 5 == 4 else f"masks/{number}.png",
        "label": label,
        "split": SPLITS[number // len(CLASSES) % len(SPLITS)],
    }

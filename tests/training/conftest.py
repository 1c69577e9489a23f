"""A toy data set, a toy network and short ways to fit it; a fit of twelve steps takes well under a second."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn

from medtransfer.data.loaders import Loader
from medtransfer.data.manifest import build_manifest
from medtransfer.data.packed import PackConfig, PackedDataset, pack
from medtransfer.data.transforms import AugmentConfig
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.tracking.tracker import MemoryTracker
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.fitting import FitSpec, Setting
from medtransfer.training.inference import classification_metrics, predict
from medtransfer.training.loop import Fit
from medtransfer.training.optim import ConstantSchedule, SGDConfig, TrainConfig
from medtransfer.training.selection import SelectionConfig
from medtransfer.training.supervised import SupervisedTask

AUGMENT = AugmentConfig(crop=16, hflip=0.5, intensity=0.1)
CROP = 16
CLASSES = ("healthy", "ill")
SPLITS = ("train", "train", "train", "val", "test")


class Net(nn.Module):
    """A convolution with batch norm and dropout, pooled, and a linear head."""

    width = 6

    def __init__(self, dropout=0.2):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, self.width, 3, stride=2), nn.BatchNorm2d(self.width), nn.ReLU())
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(self.width, 2)

    def features(self, x):
        return self.body(x).mean(dim=(2, 3))

    def forward(self, x):
        return self.head(self.drop(self.features(x)))


def toy_manifest() -> pd.DataFrame:
    """Forty images of twenty patients: 24 to train, 8 to select, 8 to test; classes take turns inside each split."""
    rows = []
    for patient in range(20):
        rows += [
            {
                "image_id": f"toy/{patient}_{k}",
                "patient_id": f"toy:{patient}",
                "dataset": "toy",
                "path": f"{patient}_{k}.png",
                "split": SPLITS[patient % 5],
                "label": CLASSES[(patient // 5) % 2],
            }
            for k in range(2)
        ]
    return build_manifest(rows)


def draw_pictures(manifest: pd.DataFrame, folder: Path) -> None:
    """Noise of 20 px; the ill have a brighter middle, faint enough to need some learning."""
    draw = np.random.default_rng(0)
    for path, label in zip(manifest["path"], manifest["label"], strict=True):
        image = draw.normal(110, 40, (20, 20))
        image[6:14, 6:14] += 30 * (label == "ill")
        Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / path)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than they bring on a network this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def packed(tmp_path_factory) -> Path:
    """Folder of the packed toy data set."""
    raw, out = tmp_path_factory.mktemp("raw"), tmp_path_factory.mktemp("packed") / "toy"
    manifest = toy_manifest()
    draw_pictures(manifest, raw)
    pack(manifest, raw, out, PackConfig(size=20), meta={"licence": "none", "citation": "none"})
    return out


@pytest.fixture
def data(packed) -> PackedDataset:
    return PackedDataset.open(packed)


@pytest.fixture
def engine() -> Engine:
    return Engine(HardwareConfig(device="cpu", precision="fp32"))


def train_config(**changes) -> TrainConfig:
    """Twelve steps of eight images with validation after every third."""
    defaults = {
        "steps": 12,
        "validate_every": 3,
        "batch_size": 8,
        "optimizer": SGDConfig(lr=0.1),
        "schedule": ConstantSchedule(),
        "selection": SelectionConfig(metric="val/auprc_ill", tie="val/accuracy_ill"),
        "save_every_s": 0,
    }
    return TrainConfig(**(defaults | changes))


def train_loader(data, **options) -> Loader:
    options = {"batch_size": 8, "seed": 3, "train": True, "augment": AUGMENT} | options
    return Loader(data, data.rows("train"), **options)


def validation(data, engine, split="val"):
    """A function of the task that scores it on one split."""
    loader = Loader(data, data.rows(split), batch_size=8, crop=CROP, seed=0, train=False)

    def validate(task):
        found = predict(task, loader, engine)
        return classification_metrics(found["label"], found["target"], data.meta.classes, positive="ill")

    return validate


def make_net(seed=0, **options) -> Net:
    torch.manual_seed(seed)
    return Net(**options)


@pytest.fixture
def make_fit(data, engine, tmp_path):
    """Build a fit of the toy task; every argument of ``Fit`` can be replaced."""

    def make(task=None, config=None, loaders=None, *, validate=..., **options) -> Fit:
        task = task or SupervisedTask(make_net(), CLASSES)
        config = config or train_config()
        score = validation(data, options.get("engine", engine))
        given = {
            "engine": engine,
            "tracker": MemoryTracker(),
            "scratch": tmp_path / "resume",
            "seed": 5,
            "title": "toy",
            "validate": (lambda: score(task)) if validate is ... else validate,
        }
        return Fit(task, loaders or train_loader(data, batch_size=config.batch_size), config, **(given | options))

    return make


NETWORK = NetworkConfig(backbone="test_resnet")
"""What the fits of a stage train: unlike ``Net``, its weights can be stored and loaded."""
POINTER = "outs:\n- {md5: 5d41402abc4b2a76b9719d911017c592.dir, path: data}\n"
"""What DVC's pointer of the toy data would say."""


def make_setting(engine, **changes) -> Setting:
    return Setting(**({"engine": engine, "profile": "toy", "pointers": {"toy": Path("data.dvc")}} | changes))


def make_spec(data, engine, seed=0, /, *, condition="all", task=SupervisedTask, lr=0.1, **changes) -> FitSpec:
    """Six steps of the toy task as one seed of a condition."""
    train = train_config(steps=6, optimizer=SGDConfig(lr=lr))
    classes = data.meta.classes
    given = {
        "study": "toy_study",
        "folder": "finetune",
        "variant": "net",
        "condition": condition,
        "seed": seed,
        "phase": "finetune",
        "title": f"net · {condition}",
        "paper": "nobody 2026",
        "tags": {"network": "net"},
        "settings": train,
        "train": train,
        "crop": CROP,
        "data": {"toy": data},
        "loaders": train_loader(data, seed=seed),
        "network": NETWORK,
        "task": lambda: task(build_network(NETWORK, len(classes), seed=seed), classes),
        "validate": validation(data, engine),
    }
    return FitSpec(**(given | changes))


def weights(task) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in task.module.state_dict().items()}


def equal(a, b) -> bool:
    """Bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def toys():
    """The helpers of this folder by name, for tests that build more than one fit."""
    return SimpleNamespace(
        Net=Net,
        augment=AUGMENT,
        classes=CLASSES,
        crop=CROP,
        config=train_config,
        loader=train_loader,
        validation=validation,
        net=make_net,
        weights=weights,
        equal=equal,
        setting=make_setting,
        spec=make_spec,
        network=NETWORK,
        pointer=POINTER,
    )

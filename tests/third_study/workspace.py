"""A checkout with a third study, and a workspace with drawn chest X-rays for it."""

import shutil
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from medtransfer.data.manifest import ZONES
from medtransfer.data.phantom.cxr import CxrConfig, draw_cxr, severity_zones
from medtransfer.data.phantom.scanner import CXR_SCANNERS

ROOT = Path(__file__).parent.parent.parent
STUDY = "two_heads"
NETWORKS = ("test_convnext", "test_efficientnet")
CLASSES = ("normal", "pneumonia", "covid")
COUNTS = {"train": 36, "val": 18, "test": 18}
DRAWN = CxrConfig(size=48)
SECTION = {
    "networks": list(NETWORKS),
    "seeds": [0],
    "multitask": {
        "dataset": "chest",
        "augment": {"crop": 32, "hflip": 0.5},
        "train": {
            "epochs": 2,
            "batch_size": 6,
            "optimizer": {"name": "adamw", "lr": 0.001},
            "selection": {"metric": "val/macro_auroc"},
        },
    },
}


def copy_source(target):
    """Copy ``src`` with the study's folder and its one line in the table of studies."""
    source = shutil.copytree(ROOT / "src", target / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    studies = source / "medtransfer" / "studies"
    shutil.copytree(Path(__file__).parent / STUDY, studies / STUDY, ignore=shutil.ignore_patterns("__pycache__"))
    table = studies / "__init__.py"
    before = table.read_text(encoding="utf-8")
    after = before.replace("STUDIES = (\n", f'STUDIES = (\n    "{STUDY}",\n')
    assert len(after.splitlines()) == len(before.splitlines()) + 1
    table.write_text(after, encoding="utf-8")
    return source


def write_workspace(folder):
    """Write the raw images and params.yaml: the sample's, with one data set and the study's section."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    params |= {
        "hardware": {"device": "cpu", "precision": "fp32", "threads": 1},
        "datasets": {
            "chest": {
                "source": {"name": "csv", "root": "data/chest", "classes": list(CLASSES)},
                "phantoms": True,
                "pack": {"size": 40, "channels": 1},
            }
        },
        "evaluation": {"draws": 50},
        STUDY: SECTION,
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    pointer = {"outs": [{"md5": "0" * 32 + ".dir", "path": "data", "hash": "md5"}]}
    (folder / "data.dvc").write_text(yaml.safe_dump(pointer), encoding="utf-8")
    _draw(folder / "data" / "chest")


def _draw(folder):
    """Draw one image per patient, classes in turn; of every fifth the zones are not known."""
    folder.mkdir(parents=True)
    table = [",".join(("image", "patient_id", "label", "split", *ZONES))]
    splits = [split for split, count in COUNTS.items() for _ in range(count)]
    for number, split in enumerate(splits):
        label = CLASSES[number % len(CLASSES)]
        patient, image = (np.random.default_rng([stream, number]) for stream in (1, 2))
        phantom = draw_cxr(patient, image, label, CXR_SCANNERS[number % len(CXR_SCANNERS)], DRAWN)
        Image.fromarray(phantom.image).save(folder / f"{number:02}.png")
        grades = severity_zones(phantom.mask, DRAWN.zone_share)
        known = [""] * len(ZONES) if number % 5 == 0 else [f"{grade:g}" for grade in grades]
        table.append(",".join((f"{number:02}.png", f"p{number}", label, split, *known)))
    (folder / "labels.csv").write_text("\n".join(table) + "\n", encoding="utf-8")

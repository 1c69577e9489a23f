"""A toy study in a temporary workspace: 32-pixel images, a few per class, through the real command line."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from medtransfer.data.phantom.ct import CtConfig, draw_ct
from medtransfer.data.phantom.scanner import CT_SCANNERS
from medtransfer.profiles import overlay

ROOT = Path(__file__).parent.parent.parent
SMALL = {"crop": 32, "hflip": 0.5}
ONCE = {
    "epochs": 1,
    "batch_size": 4,
    "optimizer": {"name": "adamw", "lr": 0.001},
    "schedule": {"name": "cosine", "warmup_steps": 0},
}
CLASSES = ("non-covid", "covid")


def toy_params():
    """The sample's parameters, cut down to one small network and the chain none."""
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    shipped["datasets"] = {"ct": shipped["datasets"]["ct"]}
    toy = {
        "hardware": {"device": "cpu", "precision": "fp32", "threads": 1},
        "datasets": {"ct": {"pack": {"size": 32}}},
        "attentive_transfer": {
            "networks": ["resnet18_attn1"],
            "warmed": {"networks": []},
            "chains": ["none"],
            "stl_m_after": [],
            "sstl_m_after": [],
            "methods": [],
            "methods_after": [],
            "outside": [],
            "finetune": {"augment": SMALL, "train": ONCE},
        },
        "evaluation": {"draws": 50},
    }
    return overlay(shipped, toy)


class Toy:
    """Writes images, their table and params.yaml below one folder."""

    def __init__(self, folder):
        self.folder = folder
        self.params = toy_params()

    def draw(self, counts=(8, 8, 8), rows=(), *, dataset="ct"):
        """Write ``counts`` images for train, val and test, classes in turn, plus literal table rows."""
        rng = np.random.default_rng([*dataset.encode()])
        folder = self._data_folder(dataset)
        (folder / "images").mkdir()
        table = ["image,patient_id,label,split"]
        for split, count in zip(("train", "val", "test"), counts, strict=True):
            for number in range(count):
                name = f"images/{split}{number}.png"
                self.draw_image(name, rng, dataset=dataset)
                table.append(f"{name},{split}{number},{CLASSES[number % 2]},{split}")
        (folder / "labels.csv").write_text("\n".join([*table, *rows]) + "\n", encoding="utf-8")

    def add(self, dataset, *, copied=""):
        """Add a data set of 8 × 3 images; ``copied`` is a training image of ct, also in the test split of this."""
        ct = self.params["datasets"]["ct"]
        self.params["datasets"][dataset] = ct | {"source": ct["source"] | {"root": f"data/{dataset}"}}
        self.write_params()
        self.draw(rows=["images/copy.png,someone,covid,test"] if copied else (), dataset=dataset)
        if copied:
            source = self.folder / "data" / "ct" / "images" / copied
            shutil.copyfile(source, self.folder / "data" / dataset / "images" / "copy.png")

    def draw_phantoms(self, *, masks):
        """Write 24 phantoms of 64 px and their table: 12 to train, 6 to select, 6 to test; classes take turns."""
        folder = self._data_folder()
        rows = ["image,patient_id,label,split" + ",mask" * masks]
        for number in range(24):
            label, patient = CLASSES[number % 2], number // 2 * 2 + number % 2
            rngs = [np.random.default_rng([stream, number]) for stream in (1, 2)]
            phantom = draw_ct(*rngs, label, CT_SCANNERS[number % 3], CtConfig(size=64))
            Image.fromarray(phantom.image).save(folder / f"{number:02}.png")
            Image.fromarray(phantom.mask).save(folder / f"{number:02}_mask.png")
            split = ("train", "train", "val", "test")[number // 2 % 4]
            rows.append(f"{number:02}.png,{split}{patient},{label},{split}" + f",{number:02}_mask.png" * masks)
        (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")

    def _data_folder(self, dataset="ct"):
        pointer = {"outs": [{"md5": "0" * 32 + ".dir", "path": "data", "hash": "md5"}]}
        (self.folder / "data.dvc").write_text(yaml.safe_dump(pointer), encoding="utf-8")
        folder = self.folder / "data" / dataset
        folder.mkdir(parents=True)
        return folder

    def draw_image(self, name, rng, *, dataset="ct"):
        grey = rng.integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(grey).save(self.folder / "data" / dataset / name)

    def write_params(self):
        text = yaml.safe_dump(self.params, sort_keys=False)
        (self.folder / "params.yaml").write_text(text, encoding="utf-8")


@pytest.fixture
def toy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = Toy(tmp_path)
    made.write_params()
    return made


@pytest.fixture
def checkout_copy(tmp_path, monkeypatch):
    """What the verb workspace reads of a checkout, apart from the real one."""
    for name in ("params.yaml", "dvc.yaml", "profiles"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    return tmp_path

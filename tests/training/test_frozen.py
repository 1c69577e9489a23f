"""A frozen base: its maps are kept, and training with them equals training without."""

import numpy as np
import pytest
import torch

from medtransfer.data.keras import KerasAugmentConfig
from medtransfer.data.manifest import build_manifest
from medtransfer.data.packed import DatasetMeta, PackConfig, PackedDataset
from medtransfer.models.classifier import build_network
from medtransfer.models.visual import ConvolutionHeadConfig
from medtransfer.tracking.tracker import NullTracker
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.frozen import FrozenBase, FrozenLoader, FrozenTask
from medtransfer.training.loop import Fit
from medtransfer.training.optim import AdamConfig, TrainConfig

NETWORK = ConvolutionHeadConfig(backbone="resnet18", cut="layer2", filters=4)
CHANGES = KerasAugmentConfig(horizontal_flip=True, brightness_range=(0.5, 1.2))


@pytest.fixture(scope="module")
def engine():
    return Engine(HardwareConfig(device="cpu", precision="fp32"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eleven images of two classes."""
    folder = tmp_path_factory.mktemp("toy")
    entries = [
        {
            "image_id": f"toy/{i}",
            "patient_id": f"p{i}",
            "dataset": "toy",
            "path": f"{i}.png",
            "label": "ab"[i % 2],
            "row": i,
        }
        for i in range(11)
    ]
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (11, 1, 32, 32), dtype=np.uint8))
    about = {
        "classes": ("a", "b"),
        "pack": PackConfig(size=32),
        "images": 11,
        "masks": 0,
        "mean": (0.5,),
        "std": (0.25,),
    }
    meta = DatasetMeta(name="toy", **about, statistics_of="all", files={}, content_hash="")
    return PackedDataset(folder, build_manifest(entries), meta)


class Counted(FrozenBase):
    """Counts the images that the base has seen."""

    images = 0

    def __call__(self, images):
        self.images += len(images)
        return super().__call__(images)


def loader(data, base, *, cached=True, recipe=CHANGES, views=2):
    targets = (np.arange(11) % 2).astype(np.float32)[:, None]
    options = {"batch_size": 4, "seed": 0, "train": True, "crop": 32, "targets": targets}
    return FrozenLoader(data, np.arange(11), base=base, cached=cached, recipe=recipe, views=views, **options)


def trained(data, engine, tmp_path, *, cached, recipe, views):
    model = build_network(NETWORK, 1, seed=0)
    base = Counted(model, engine)
    task = FrozenTask(model, "b")
    config = TrainConfig(epochs=5, batch_size=4, optimizer=AdamConfig(lr=0.01))
    loaders = loader(data, base, cached=cached, recipe=recipe, views=views)
    Fit(task, loaders, config, engine=engine, tracker=NullTracker(), scratch=tmp_path / str(cached), seed=0).run()
    return model, base


@pytest.mark.parametrize(("recipe", "views"), [(KerasAugmentConfig(), 1), (CHANGES, 2)])
def test_training_with_kept_maps_equals_training_without(data, engine, tmp_path, recipe, views):
    kept, few = trained(data, engine, tmp_path, cached=True, recipe=recipe, views=views)
    plain, many = trained(data, engine, tmp_path, cached=False, recipe=recipe, views=views)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, kept.state_dict()[name]), name
    assert few.images == views * 12  # eleven images, filled up to whole batches
    assert many.images == 5 * 2 * 4


def test_only_the_head_learns(data, engine, tmp_path):
    before = build_network(NETWORK, 1, seed=0).state_dict()
    after = trained(data, engine, tmp_path, cached=True, recipe=CHANGES, views=2)[0].state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith("head.")}


def test_what_is_exported_is_the_whole_network(engine):
    model = build_network(NETWORK, 1, seed=0)
    task = FrozenTask(model, "b")
    assert task.exported() is model
    assert task.module is model.head
    images = torch.rand(2, 3, 32, 32)
    maps = FrozenBase(model.eval(), engine)(images)
    with torch.no_grad():
        torch.testing.assert_close(task.outputs({"maps": maps})["label"], torch.sigmoid(model(images)))


def test_a_base_keeps_its_statistics(engine):
    model = build_network(NETWORK, 1, seed=0).train()
    base = FrozenBase(model, engine)
    before = model.trunk.bn1.running_mean.clone()
    base(torch.rand(4, 3, 32, 32))
    assert not base.trunk.training
    assert torch.equal(before, model.trunk.bn1.running_mean)

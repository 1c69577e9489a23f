"""A training step on a frozen base without ÷ with kept maps, in turn in one process, and what follows for a column.

The step is the one of ``FrozenLoader`` and ``FrozenTask``: a base below the paper's head, batches of 16, Adam. A column
of the paper's VGG16 has 1,500 steps on 193 images; with kept maps it costs its views of these images once, and 1,500
steps on maps. One thread and processor times, so that other programs disturb them less.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import record

from medtransfer.data.keras import KerasAugmentConfig
from medtransfer.data.manifest import build_manifest
from medtransfer.data.packed import DatasetMeta, PackConfig, PackedDataset
from medtransfer.models.classifier import build_network
from medtransfer.models.visual import ConvolutionHeadConfig
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.frozen import FrozenBase, FrozenLoader, FrozenTask

BATCH = 16
STEPS, IMAGES = 1500, 193
BACKBONES = {"tf_efficientnet_lite0": 9, "densenet121": 5, "vgg16": 3}
"""Base → rounds; the paper has the last two."""
SIDE, VIEWS = 160, (1, 4)


def dataset(folder: Path, side: int, images: int) -> PackedDataset:
    """Return noise as a packed data set."""
    rows = [
        {"image_id": f"n/{i}", "patient_id": f"n:{i}", "dataset": "n", "path": f"{i}", "label": "ab"[i % 2], "row": i}
        for i in range(images)
    ]
    np.save(folder / "images.npy", np.random.default_rng(0).integers(0, 256, (images, 1, side, side), dtype=np.uint8))
    about: dict[str, Any] = {"classes": ("a", "b"), "pack": PackConfig(size=side), "images": images, "masks": 0}
    about |= {"mean": (0.5,), "std": (0.5,), "statistics_of": "all", "files": {}, "content_hash": ""}
    return PackedDataset(folder, build_manifest(rows), DatasetMeta(name="n", **about))


def compare(backbone: str, views: int, *, rounds: int, side: int = SIDE) -> dict[str, Any]:
    """Return the ratio of steps, median seconds of both, and the ratio of whole columns."""
    engine = Engine(HardwareConfig(device="cpu", precision="fp32"))
    recipe = (
        KerasAugmentConfig() if views == 1 else KerasAugmentConfig(horizontal_flip=True, brightness_range=(0.5, 1.2))
    )
    model = build_network(ConvolutionHeadConfig(backbone=backbone), 1, seed=0)
    base, images = FrozenBase(model, engine), 2 * BATCH
    with tempfile.TemporaryDirectory() as folder:
        data = dataset(Path(folder), side, images)
        options: dict[str, Any] = {"batch_size": BATCH, "seed": 0, "train": True, "crop": side, "recipe": recipe}
        options |= {"targets": (np.arange(images) % 2).astype(np.float32)[:, None], "views": views}
        slow, fast = (
            step(
                FrozenTask(model, "b"),
                FrozenLoader(data, np.arange(images), base=base, cached=cached, **options),
                engine,
            )
            for cached in (False, True)
        )
        for view in range(views):
            fast(view)
        pairs = [(slow(number), fast(number)) for number in range(rounds)]
    per_slow, per_fast = (statistics.median(times) for times in zip(*pairs, strict=True))
    once = views * IMAGES / BATCH * (per_slow - per_fast)
    return {
        "base": backbone,
        "side": side,
        "views": views,
        "ratio_of_steps": statistics.median(a / b for a, b in pairs),
        "slow_s": per_slow,
        "fast_s": per_fast,
        "ratio_of_columns": STEPS * per_slow / (once + STEPS * per_fast),
    }


def step(task: FrozenTask, loader: FrozenLoader, engine: Engine) -> Callable[[int], float]:
    """Return a training step of an epoch that returns its processor seconds."""
    engine.place(task.module)
    optimizer = torch.optim.Adam(task.module.parameters(), lr=1e-3, fused=True)

    def run(epoch: int) -> float:
        start = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        batch = engine.batch(loader.batch(epoch, 0))
        with engine.autocast():
            loss = task.losses(batch)["total"]
        torch.autograd.backward(loss)
        optimizer.step()
        return time.process_time() - start

    return run


def main() -> None:
    """Measure every base and number of views and write the results."""
    torch.set_num_threads(1)
    rows = [compare(name, views, rounds=rounds) for name, rounds in BACKBONES.items() for views in VIEWS]
    record("frozen", rows, goal="a frozen column trains at least 20 times faster with kept maps, with equal results")


if __name__ == "__main__":
    main()

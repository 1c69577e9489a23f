"""Training steps on a processor: a thread that loads ahead against loading in turn, as ``Loader.epoch`` does there."""

import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from bench_loader import open_packed, write_pictures
from harness import interleave, record
from torchvision.datasets import ImageFolder

from medtransfer.data.loaders import Batch, Loader, prefetch
from medtransfer.data.transforms import AugmentConfig
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.training.engine import Engine, HardwareConfig

NETWORKS = (("resnet18", 64), ("tf_efficientnet_lite0", 160), ("resnet50", 112))
BATCH, STEPS, ROUNDS = 32, 4, 7


def train(network: torch.nn.Module, engine: Engine, batches: Iterable[Batch]) -> None:
    """Pass forward and backward for every batch."""
    for batch in batches:
        with engine.autocast():
            loss = network(engine.batch(batch)["image"]).float().square().mean()
        loss.backward()
        network.zero_grad()


def compare(root: Path, backbone: str, crop: int) -> dict[str, Any]:
    """Return one row of the table."""
    data = open_packed(root, ImageFolder(str(root)))
    augment = AugmentConfig(crop=crop, hflip=0.5, rotate=10.0, jitter=(0.4, 0.4, 0.0, 0.0), jitter_p=0.5)
    loader = Loader(data, data.rows("train"), batch_size=BATCH, seed=0, train=True, augment=augment)
    engine = Engine(HardwareConfig(device="cpu"))
    network = engine.place(build_network(NetworkConfig(backbone=backbone), 2, seed=0)).train()
    make = partial(loader.batch, 0)
    steps = [n % loader.steps for n in range(STEPS)]
    times = interleave(
        lambda: train(network, engine, prefetch(make, steps)),
        lambda: train(network, engine, map(make, steps)),
        rounds=ROUNDS,
    )
    alone = interleave(lambda: list(map(make, steps)), lambda: None, rounds=ROUNDS)["slow_s"]
    shape = {"network": backbone, "crop": crop, "batch": BATCH, "steps": STEPS}
    return {**shape, **times, "loading_alone_s": alone}


def main() -> None:
    """Compare the networks."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "pictures"
        write_pictures(root, 256)
        rows = [compare(root, *network) for network in NETWORKS]
    record("prefetch", rows, goal="loading in turn is no slower than with a thread (ratio at least 1)")
    if any(row["ratio"] < 1 for row in rows):
        raise SystemExit("prefetch: the goal is missed")


if __name__ == "__main__":
    main()

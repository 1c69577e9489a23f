"""MoCo v2 end to end against lightly's documented recipe, on the same network, picture size, batch, queue and threads.

Theirs: ``LightlyDataset`` over PNG files, ``MoCoV2Transform``, a ``DataLoader`` with a worker a thread,
``NTXentLoss`` with a memory bank, ``update_momentum`` and SGD, in fp32 and contiguous memory. Ours: the training loop
itself on the packed images with the same augmentation: with our defaults, with keys normalised by moving averages,
and in fp32 and contiguous memory.
A turn is one whole epoch of 416 images (COVID-CT trains on 425), from the start of loading to its last step, since
batches that workers prepare before a shorter window opens would not be counted. A turn of each follows a turn of the
others and leaves nothing at work in the background. Before, one step of each is done without timing, and both compute
the loss of the same tensors with equal weights.

OMP_NUM_THREADS sets the threads of both sides. Use no more than there are free cores: with two threads on two cores
that other work kept busy, a bf16 backward pass of ResNet-18 took 1.6 to 2.7 s of processor time instead of 0.23 s with
one, and our defaults lost; threads that wait for each other are the likely reason, not proven.
"""

import copy
import os
import statistics
import tempfile
import time
from collections.abc import Generator
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from harness import record
from PIL import Image

from medtransfer.data.manifest import build_manifest
from medtransfer.data.packed import PackConfig, PackedDataset, pack
from medtransfer.data.transforms import AugmentConfig
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.ssl.moco import MoCo, MoCoConfig
from medtransfer.tracking.tracker import NullTracker
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.loop import Fit
from medtransfer.training.optim import SGDConfig, TrainConfig
from medtransfer.training.self_supervised import SelfSupervisedTask, self_supervised_loader

ROUNDS, STEPS, BATCH, CROP, SIDE, QUEUE = 3, 13, 32, 112, 128, 256
THREADS = torch.get_num_threads()
LR, MOMENTUM, TEMPERATURE = 0.06, 0.99, 0.2
HOW = (
    "lightly: not installed here; in an environment that has this project: "
    "pip install --no-deps lightly lightly_utils lightning_utilities"
)


class Phase:
    """The settings that our loader reads: MoCo v2's augmentation, which is lightly's too."""

    dataset = "waves"
    augment = AugmentConfig(
        crop=CROP, crop_style="resized", hflip=0.5, jitter=(0.4, 0.4, 0.4, 0.1), jitter_p=0.8, grayscale=0.2, blur=0.5
    )
    train = TrainConfig(
        steps=10**6, validate_every=10**6, batch_size=BATCH, optimizer=SGDConfig(lr=LR), save_every_s=10**9
    )


def pictures(root: Path) -> PackedDataset:
    """Write smooth grey PNG files, which decode as fast as slices do, and pack them."""
    generator, rows = np.random.default_rng(0), []
    for number in range(STEPS * BATCH):
        coarse = Image.fromarray(generator.integers(0, 255, (8, 8), dtype=np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(root / f"{number}.png")
        names = {"image_id": f"waves/{number}", "patient_id": f"waves:{number}", "dataset": "waves"}
        rows.append(names | {"path": f"{number}.png", "modality": "CT", "split": "train", "label": "ab"[number % 2]})
    packed = root.parent / "packed"
    pack(pd.DataFrame(build_manifest(rows)), root, packed, PackConfig(size=SIDE), meta={"classes": ("a", "b")})
    return PackedDataset.open(packed)


OURS: dict[str, tuple[HardwareConfig, Literal["groups", "moving_average"]]] = {
    "defaults": (HardwareConfig(), "groups"),
    "moving averages": (HardwareConfig(), "moving_average"),
    "fp32 contiguous": (HardwareConfig(precision="fp32", channels_last=False), "groups"),
}
"""Name of a setting → hardware, and how keys are normalised. Theirs normalises keys by their batch."""


class Theirs:
    """Momentum contrast put together from lightly's parts as its documentation does."""

    def __init__(self, backbone: str, files: Path) -> None:
        from lightly.data import LightlyDataset
        from lightly.loss import NTXentLoss
        from lightly.models.modules import MoCoProjectionHead
        from lightly.models.utils import deactivate_requires_grad
        from lightly.transforms.moco_transform import MoCoV2Transform

        self.network = build_network(NetworkConfig(backbone=backbone), 2, seed=0).train()
        width = self.network.width
        self.head = MoCoProjectionHead(width, width, 128)
        self.key_network, self.key_head = copy.deepcopy(self.network), copy.deepcopy(self.head)
        deactivate_requires_grad(self.key_network)
        deactivate_requires_grad(self.key_head)
        self.criterion = NTXentLoss(temperature=TEMPERATURE, memory_bank_size=(QUEUE, 128))
        self.optimizer = torch.optim.SGD([*self.network.parameters(), *self.head.parameters()], lr=LR)
        self.loader = torch.utils.data.DataLoader(
            LightlyDataset(str(files), transform=MoCoV2Transform(input_size=CROP)),
            batch_size=BATCH,
            shuffle=True,
            drop_last=True,
            num_workers=THREADS,
        )

    def loss(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Move the key network, pass both views and compare them with the bank."""
        from lightly.models.utils import update_momentum

        update_momentum(self.network, self.key_network, m=MOMENTUM)
        update_momentum(self.head, self.key_head, m=MOMENTUM)
        queries = self.head(self.network.features(query))
        keys = self.key_head(self.key_network.features(key)).detach()
        return self.criterion(queries, keys)

    def steps(self) -> Generator[None, None, None]:
        """Train, one step a turn of the iterator."""
        for (query, key), *_ in self.loader:
            self.loss(query, key).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            yield


def ours(backbone: str, data: PackedDataset, root: Path, kind: str) -> Fit:
    """Return a fit of MoCo v2. Steps alone are timed and no step tracks anything, so it has no tracker."""
    hardware, norm = OURS[kind]
    engine = Engine(hardware)
    encoder = build_network(NetworkConfig(backbone=backbone), 2, seed=0)
    config = MoCoConfig(head="mlp", temperature=TEMPERATURE, momentum=MOMENTUM, queue=QUEUE, key_norm=norm)
    task = SelfSupervisedTask(MoCo(config, encoder, images=len(data.manifest), batch_size=BATCH), data.meta.classes)
    loader = self_supervised_loader(data, Phase, 0, engine, regions=None)
    fit = Fit(task, loader, Phase.train, engine=engine, tracker=NullTracker(), scratch=root / kind, seed=0)
    task.module.train()
    return fit


def our_steps(fit: Fit) -> Generator[None, None, None]:
    """Train, one step a turn of the iterator."""
    with closing(fit._stream("")) as stream:
        while True:
            fit._step(fit._next({"": stream}))
            yield


def turn(steps: Generator[None, None, None], count: int = STEPS) -> tuple[float, float]:
    """Return the seconds of ``count`` steps with the start of their loading, and the processor's seconds.

    The latter count every thread and worker; they hardly change when the machine has other work to do.
    """
    start, before = time.perf_counter(), sum(os.times()[:4])
    with closing(steps):
        for _ in range(count):
            next(steps)
        seconds = time.perf_counter() - start
    return seconds, sum(os.times()[:4]) - before


def losses(backbone: str, files: Path, images: int) -> dict[str, float]:
    """Return both losses of the same views, weights and queue, in fp32 with plain batch norm on both sides."""
    theirs, generator = Theirs(backbone, files), torch.Generator().manual_seed(0)
    encoder = build_network(NetworkConfig(backbone=backbone), 2, seed=0)
    config = MoCoConfig(head="mlp", temperature=TEMPERATURE, momentum=MOMENTUM, queue=QUEUE, key_groups=1)
    method = MoCo(config, encoder, images=images, batch_size=BATCH).train()
    for head, state in ((method.contrast.head, theirs.head), (method.contrast.key_head, theirs.key_head)):
        head.load_state_dict(dict(zip(head.state_dict(), state.state_dict().values(), strict=True)))
    keys = torch.nn.functional.normalize(torch.randn(QUEUE, 128, generator=generator), dim=1)
    method.contrast.queue.keys.copy_(keys)
    method.contrast.queue.owner.fill_(images)
    theirs.criterion.memory_bank.bank.copy_(keys)
    query, key = (torch.randn(BATCH, 3, CROP, CROP, generator=generator) for _ in range(2))
    batch = {"query": query, "key": key, "index": torch.arange(BATCH)}
    with torch.no_grad():
        found = {"our_loss": float(method(batch)["total"])}
    return found | {"their_loss": float(theirs.loss(query, key).detach())}


def compare(backbone: str, data: PackedDataset, files: Path, root: Path) -> list[dict[str, Any]]:
    """Return a row for each of our settings."""
    equal, seconds = losses(backbone, files, len(data.manifest)), []
    theirs = Theirs(backbone, files)
    fits = [ours(backbone, data, root, kind) for kind in OURS]
    for start in (theirs.steps(), *map(our_steps, fits)):
        turn(start, 1)
    for fit in fits:
        fit.progress.step = 0  # at the start of an epoch again, like the other side
    for _ in range(ROUNDS):
        seconds.append([turn(theirs.steps()), *(turn(our_steps(fit)) for fit in fits)])
    rows = []
    for number, (kind, (hardware, norm)) in enumerate(OURS.items(), start=1):
        wall, processor = (sorted(turns[0][of] / turns[number][of] for turns in seconds) for of in (0, 1))
        row = {"network": backbone, "ours": kind, "precision": Engine(hardware).precision, "crop": CROP, "batch": BATCH}
        row |= {"key_norm": norm}
        row |= {"threads": THREADS, "ratio": statistics.median(wall), "lowest": wall[0], "highest": wall[-1]}
        row |= {"processor_ratio": statistics.median(processor), "rounds": ROUNDS, "load": os.getloadavg()[0]}
        for side, of in (("their", 0), ("our", number)):
            row[f"{side}_pairs_per_s"] = STEPS * BATCH / statistics.median(turns[of][0] for turns in seconds)
        rows.append(row | equal | {"lightly": version("lightly")})
    return rows


def main() -> None:
    """Measure ResNet-18 and ResNet-50."""
    try:
        import lightly  # noqa: F401
    except ImportError:
        print(HOW)
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        files = root / "files"
        files.mkdir()
        data = pictures(files)
        rows = [row for backbone in ("resnet18", "resnet50") for row in compare(backbone, data, files, root / backbone)]
    record("lightly", rows, goal="defaults at least 2.5x, fp32 contiguous at least 1.0x; losses equal to 1e-4")
    if not all(abs(row["our_loss"] - row["their_loss"]) < 1e-4 for row in rows):
        raise SystemExit("lightly: the losses differ")


if __name__ == "__main__":
    main()

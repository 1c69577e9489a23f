"""Step efficiency: bare passes of the same networks on the same tensors ÷ the real training step.

The real step is the loop's own: loading, augmentation, loss, gradient, optimiser, EMA and queue, progress, journal. The
bare passes are, supervised: forward and backward; SSTL-M: query forward and backward, key forward, five regions forward
and backward. Both run in the run's precision and memory format, in turn, in one process.
"""

import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from harness import record
from PIL import Image

from medtransfer.data.manifest import build_manifest
from medtransfer.data.packed import PackConfig, PackedDataset, pack
from medtransfer.data.transforms import AugmentConfig
from medtransfer.models.classifier import Classifier, NetworkConfig, build_network
from medtransfer.models.insertion import AttentionConfig
from medtransfer.ssl.methods import build
from medtransfer.ssl.multiscale import MultiScaleConfig
from medtransfer.ssl.regions import locate
from medtransfer.tracking.mlflow_tracker import open_run
from medtransfer.tracking.tracker import RunSpec
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.loading import self_supervised_loader, supervised_loader
from medtransfer.training.loop import Fit
from medtransfer.training.optim import SGDConfig, TrainConfig
from medtransfer.training.task import SelfSupervisedTask, SupervisedTask

ROUNDS, BATCH, CROP = 9, 32, 64
JITTER = {"jitter": (0.4, 0.4, 0.0, 0.0), "jitter_p": 0.5}


class Phase:
    """The settings that a loader reads, as a study's phase has them."""

    dataset = "noise"
    augment = AugmentConfig(crop=CROP, hflip=0.5, **JITTER)
    region_size = CROP
    region_augment = AugmentConfig(crop=CROP, **JITTER)
    train = TrainConfig(
        steps=10**6, validate_every=10**6, batch_size=BATCH, optimizer=SGDConfig(lr=0.001), save_every_s=10**9
    )


def noise_data(root: Path) -> PackedDataset:
    """Pack grey noise pictures: what a step costs does not depend on what they show."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(4 * BATCH):
        file = root / f"{number}.png"
        Image.fromarray(generator.integers(0, 255, (72, 72), dtype=np.uint8)).save(file)
        names = {"image_id": f"noise/{number}", "patient_id": f"noise:{number}", "dataset": "noise", "path": file.name}
        rows.append(names | {"modality": "CT", "split": "train", "label": "ab"[number % 2]})
    pack(pd.DataFrame(build_manifest(rows)), root, root / "packed", PackConfig(size=72), meta={"classes": ("a", "b")})
    return PackedDataset.open(root / "packed")


def passes(engine: Engine, jobs: list[tuple[Classifier, torch.Tensor, bool]]) -> Callable[[], None]:
    """Return forward and (where asked) backward passes of features, nothing else."""

    def run() -> None:
        for network, images, backward in jobs:
            with torch.set_grad_enabled(backward), engine.autocast():
                features = network.features(images)
            if backward:
                features.float().square().mean().backward()
                network.zero_grad(set_to_none=True)

    return run


def compare(name: str, fit: Fit, bare: Callable[[], None]) -> dict[str, Any]:
    """Time bare passes and real steps in turn; the ratio of the medians of pairs is the efficiency."""
    with closing(fit._stream("")) as stream:
        streams = {"": stream}
        bare()
        fit._step(fit._next(streams))
        pairs = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            bare()
            middle = time.perf_counter()
            fit._step(fit._next(streams))
            pairs.append((middle - start, time.perf_counter() - middle))
    ratios = sorted(a / b for a, b in pairs)
    return {
        "step": name,
        "efficiency": ratios[ROUNDS // 2],
        "p10": ratios[ROUNDS // 10],
        "p90": ratios[-1 - ROUNDS // 10],
        "bare_s": sorted(a for a, _ in pairs)[ROUNDS // 2],
        "step_s": sorted(b for _, b in pairs)[ROUNDS // 2],
    }


def main() -> None:
    """Measure supervised and SSTL-M steps of ResNet-50 with 0 and 5 ATTN layers."""
    engine, rows = Engine(HardwareConfig()), []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        data = noise_data(root)
        for count in (0, 5):
            network = NetworkConfig(backbone="resnet50", attention=AttentionConfig(count=count))
            for kind in ("supervised", "sstl_m"):
                spec = RunSpec(experiment="bench", name=f"{kind} {count}")
                with open_run(spec, root / f"{kind}{count}", uri=f"sqlite:///{root}/bench.db") as tracker:
                    model = build_network(network, 2, seed=0)
                    method = build(
                        MultiScaleConfig(queue=2 * BATCH), model, images=len(data.manifest), batch_size=BATCH
                    )
                    task = SupervisedTask(model) if kind == "supervised" else SelfSupervisedTask(method)
                    loader = (
                        supervised_loader(data, Phase, 0, engine)
                        if kind == "supervised"
                        else self_supervised_loader(data, Phase, 0, engine, boxes=locate)
                    )
                    fit = Fit(task, loader, Phase.train, engine=engine, tracker=tracker, scratch=root / "s", seed=0)
                    twin = engine.place(build_network(network, 2, seed=0)).train()
                    pictures = engine.batch({"x": torch.rand(BATCH, 3, CROP, CROP)})["x"]
                    jobs = [(twin, pictures, True)]
                    if kind == "sstl_m":
                        crops = engine.batch({"x": torch.rand(5 * BATCH, 3, CROP, CROP)})["x"]
                        jobs += [(twin, pictures, False), (twin, crops, True)]
                    rows.append(
                        compare(f"{kind} resnet50+{count}attn {CROP}px {engine.precision}", fit, passes(engine, jobs))
                    )
    record("steps", rows, goal="efficiency at least 0.90 supervised, at least 0.85 SSTL-M")


if __name__ == "__main__":
    main()

"""Step efficiency: bare passes of the same networks on the same tensors ÷ the real training step.

The real step is the loop's own: loading, augmentation, loss, gradient, optimiser, EMA and queue, progress, journal. The
bare passes are, supervised: forward and backward; SSTL-M: query forward and backward, key forward, five regions forward
and backward; MoCo: the same without regions; SimCLR: both views in one batch, forward and backward. Both run in the
run's precision and memory format, in turn, in one process. Region generation (cutting, resizing and augmenting the five
crops of every image of a batch) is timed beside the SSTL-M step that needs them.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from harness import noise_data, record
from torch import Tensor

from medtransfer.data.loaders import Loader
from medtransfer.data.packed import PackedDataset
from medtransfer.data.transforms import AugmentConfig
from medtransfer.models.classifier import Classifier, NetworkConfig, build_network
from medtransfer.models.insertion import AttentionConfig
from medtransfer.ssl.methods import SSLConfig, build
from medtransfer.ssl.moco import MoCoConfig
from medtransfer.ssl.multiscale import MultiScaleConfig
from medtransfer.ssl.regions import locate
from medtransfer.ssl.simclr import SimCLRConfig
from medtransfer.tracking.mlflow_tracker import open_run
from medtransfer.tracking.tracker import RunSpec
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.loading import supervised_loader
from medtransfer.training.loop import Fit
from medtransfer.training.optim import SGDConfig, TrainConfig
from medtransfer.training.self_supervised import SelfSupervisedTask, self_supervised_loader, training_regions
from medtransfer.training.supervised import SupervisedTask
from medtransfer.training.task import Task

ROUNDS, BATCH, CROP = 5, 32, 64
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


def passes(engine: Engine, jobs: list[tuple[Classifier, Tensor, bool]]) -> Callable[[], None]:
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


def methods() -> dict[str, SSLConfig]:
    """Return every self-supervised recipe by name, with heads and temperatures of its paper."""
    queue = 2 * BATCH
    return {
        "sstl_m": MultiScaleConfig(queue=queue),
        "sstl_m image only": MultiScaleConfig(queue=queue, alpha2=0),
        "sstl_m regions only": MultiScaleConfig(queue=queue, alpha1=0),
        "moco_v1": MoCoConfig(queue=queue),
        "moco_v1 moving averages": MoCoConfig(queue=queue, key_norm="moving_average"),
        "moco_v2": MoCoConfig(queue=queue, head="mlp", temperature=0.2),
        "simclr": SimCLRConfig(),
    }


def bare_jobs(method: SSLConfig | None, network: Classifier, engine: Engine) -> list[tuple[Classifier, Tensor, bool]]:
    """Return the passes that a method cannot do without, as (network, pictures, with backward); None is supervised."""
    images, views, crops = (engine.batch({"x": torch.rand(n * BATCH, 3, CROP, CROP)})["x"] for n in (1, 2, 5))
    match method:
        case SimCLRConfig():
            return [(network, views, True)]
        case MoCoConfig():
            return [(network, images, True), (network, images, False)]
        case MultiScaleConfig():
            contrast = [(network, images, True), (network, images, False)] if method.alpha1 else []
            return contrast + ([(network, crops, True)] if method.alpha2 else [])
    return [(network, images, True)]


def region_seconds(loader: Loader) -> float:
    """Return the median seconds that cutting, resizing and augmenting the five crops of every image of a batch take."""
    rows = loader.rows[:BATCH]
    pictures, times = torch.from_numpy(loader.data.images[rows]), []
    if loader.regions is None:
        raise ValueError("the loader cuts no regions")
    for step in range(ROUNDS):
        start = time.perf_counter()
        loader._cut(loader.regions, pictures, rows, torch.Generator().manual_seed(step))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(name: str, method: SSLConfig | None, count: int, *, data: PackedDataset, root: Path) -> dict[str, Any]:
    """Return the row of one method on ResNet-50 with ``count`` ATTN layers."""
    engine = Engine(HardwareConfig())
    network = NetworkConfig(backbone="resnet50", attention=AttentionConfig(count=count))
    model, twin = (build_network(network, 2, seed=0) for _ in range(2))
    regions = isinstance(method, MultiScaleConfig) and method.alpha2 > 0
    if method is None:
        task: Task = SupervisedTask(model, data.meta.classes)
        loader = supervised_loader(data, Phase, 0, engine)
    else:
        task = SelfSupervisedTask(
            build(method, model, images=len(data.manifest), batch_size=BATCH, seed=0), data.meta.classes
        )
        located = training_regions(data, locate) if regions else None
        loader = self_supervised_loader(data, Phase, 0, engine, regions=located)
    spec, folder = RunSpec(experiment="bench", name=f"{name} {count}"), root / f"{name}{count}"
    with open_run(spec, folder, uri=f"sqlite:///{root}/bench.db") as tracker:
        fit = Fit(task, loader, Phase.train, engine=engine, tracker=tracker, scratch=folder / "scratch", seed=0)
        engine.place(twin)
        jobs = bare_jobs(method, twin.train(), engine)
        row = compare(f"{name} resnet50+{count}attn {CROP}px {engine.precision}", fit, passes(engine, jobs))
    return row | ({"region_share": region_seconds(loader) / row["step_s"]} if regions else {})


def main() -> None:
    """Measure the steps of every method on ResNet-50 with 0 and 5 ATTN layers."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        data = noise_data(root, side=72, count=4 * BATCH)
        rows = [
            measure(name, method, count, data=data, root=root)
            for count in (0, 5)
            for name, method in ({"supervised": None} | methods()).items()
        ]
    record(
        "steps",
        rows,
        goal="efficiency at least 0.90; region_share under 0.05 of the step",
    )


if __name__ == "__main__":
    main()

"""Real training steps by precision, memory format and compilation, and after how many steps compiling pays.

``python benchmarks/bench_hardware.py [ROUNDS]``, on a GPU where torch sees one, else on the CPU. Batches of noise come
from the loader, 64 images of 224 px on a GPU, 16 of 160 px on a CPU. What is compiled or contiguous runs in the
precision that ``auto`` chooses. Bare passes beside the steps show what loader, loss, optimiser and journal take. Every
round waits for the GPU. Torch keeps compiled code between processes; here it goes to an empty folder, so that
``first_s`` is what a machine pays that has never compiled the network.
"""

import os
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from harness import noise_data, record

from medtransfer.data.packed import PackedDataset
from medtransfer.data.transforms import AugmentConfig
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.tracking.tracker import NullTracker
from medtransfer.training.engine import Engine, HardwareConfig, fast_bf16
from medtransfer.training.loading import supervised_loader
from medtransfer.training.loop import Fit
from medtransfer.training.optim import SGDConfig, TrainConfig
from medtransfer.training.supervised import SupervisedTask

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
BATCH, SIDE, ROUNDS = (64, 224, 30) if DEVICE == "cuda" else (16, 160, 7)
NETWORKS = ("resnet50", "tf_efficientnet_lite0", "densenet121")
AUTO = "bf16" if DEVICE == "cuda" or fast_bf16() else "fp32"
"""The precision that ``hardware.precision: auto`` chooses."""
COMPILED = f"{AUTO}, compiled"
SETTINGS: dict[str, dict[str, Any]] = {
    "fp32": {"precision": "fp32"},
    **({"fp16": {"precision": "fp16"}} if DEVICE == "cuda" else {}),
    "bf16": {"precision": "bf16"},
    f"{AUTO}, contiguous": {"precision": AUTO, "channels_last": False},
    COMPILED: {"precision": AUTO, "compile": True},
}


def phase() -> Any:
    """Return the settings that a loader reads, as a study's phase has them."""
    optimizer = SGDConfig(lr=0.001)
    train = TrainConfig(steps=10**6, validate_every=10**6, batch_size=BATCH, optimizer=optimizer, save_every_s=10**9)
    return SimpleNamespace(dataset="noise", augment=AugmentConfig(crop=SIDE, hflip=0.5), train=train)


def seconds(call: Any) -> float:
    """Return how long a call takes until the GPU is done."""
    _wait()
    begun = time.perf_counter()
    call()
    _wait()
    return time.perf_counter() - begun


def _wait() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


def measure(backbone: str, name: str, data: PackedDataset, *, rounds: int) -> dict[str, Any]:
    """Return the row of one network under one setting: its first step, and medians of steps and of bare passes."""
    engine, settings = Engine(HardwareConfig(device=DEVICE, **SETTINGS[name])), phase()
    task = SupervisedTask(build_network(NetworkConfig(backbone=backbone), 2, seed=0), data.meta.classes)
    loader = supervised_loader(data, settings, 0, engine)
    with tempfile.TemporaryDirectory() as scratch:
        fit = Fit(task, loader, settings.train, engine=engine, tracker=NullTracker(), scratch=Path(scratch), seed=0)
        twin = engine.wrap(engine.place(build_network(NetworkConfig(backbone=backbone), 2, seed=0)).train())
        images = engine.batch({"image": torch.rand(BATCH, 3, SIDE, SIDE)})["image"]

        def bare() -> None:
            with engine.autocast():
                output = twin(images)
            output.float().square().mean().backward()
            twin.zero_grad(set_to_none=True)

        with closing(fit._stream("")) as stream:
            streams = {"": stream}

            def step() -> None:
                fit._step(fit._next(streams))

            first = seconds(step)
            for _ in range(3):
                step()
                bare()
            pairs = [(seconds(bare), seconds(step)) for _ in range(rounds)]
    bare_s, step_s = (statistics.median(values) for values in zip(*pairs, strict=True))
    return {
        "step": f"{backbone} {SIDE}px batch {BATCH} {DEVICE} {name}",
        "first_s": first,
        "step_s": step_s,
        "bare_s": bare_s,
        "images_per_s": BATCH / step_s,
        "efficiency": statistics.median(a / b for a, b in pairs),
    }


def break_even(plain: dict[str, Any], compiled: dict[str, Any]) -> float | None:
    """Return the steps after which compiling has paid; None where the compiled step is not the faster one."""
    gain = plain["step_s"] - compiled["step_s"]
    steps: float | None = (compiled["first_s"] - plain["first_s"]) / gain if gain > 0 else None
    return steps


def main() -> None:
    """Measure every network under every setting; compiled rows say after how many steps they are ahead."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{temporary}/compiled"
        data = noise_data(Path(temporary), side=SIDE + 16, count=4 * BATCH)
        for backbone in NETWORKS:
            found = {name: measure(backbone, name, data, rounds=rounds) for name in SETTINGS}
            if COMPILED in found:
                found[COMPILED]["break_even_steps"] = break_even(found[AUTO], found[COMPILED])
            rows.extend(found.values())
    record(
        f"hardware_{DEVICE}", rows, goal="step efficiency at least 0.90; compiled rows: steps until compiling has paid"
    )


if __name__ == "__main__":
    main()

"""What logging costs: its share of a training step's time.

Two costs are added, as if they never ran beside the training: recording in the training thread, and the delivery of
what 5 s of training recorded to a SQLite store, which the run leaves to a thread. Steps and logging take turns. Each is
timed by itself, as a hundredth of a step drowns in the noise of whole steps, and in processor seconds of one core,
which other work on the machine hardly changes. On more cores or a GPU a step is shorter, its share larger by as much.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import torch
from harness import record

from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.tracking import RunSpec
from medtransfer.tracking.journal import Journal
from medtransfer.tracking.mlflow_tracker import _begin
from medtransfer.tracking.recorder import Recorder
from medtransfer.tracking.shipping import FLUSH_SECONDS, Shipment

ROUNDS, STEPS, BATCH, SIDE = 9, 3, 16, 64
NAMES = ("loss", "auroc", "auprc", "f1", "mse", "brier", "ece", "accuracy", "sensitivity", "specificity")
POINTS = {f"{split}/{name}": 0.5 for split in ("train", "val") for name in NAMES}


def training_step() -> Callable[[], None]:
    """Return one update of a ResNet-18, the smallest network of the sample pipeline, in fp32 on one core."""
    torch.set_num_threads(1)
    network = build_network(NetworkConfig(backbone="resnet18"), 2, seed=0).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.9)
    pictures = torch.rand(BATCH, 3, SIDE, SIDE)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        network.features(pictures).square().mean().backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def seconds(call: Callable[[], Any], times: int = 1) -> float:
    """Return the processor seconds of one call."""
    start = time.thread_time()
    for _ in range(times):
        call()
    return (time.thread_time() - start) / times


def measure(folder: Path, step: Callable[[], None], every: int) -> dict[str, Any]:
    """Time training steps in turn with recording and delivering what ``FLUSH_SECONDS`` of such steps log."""
    found: dict[str, list[float]] = {"share": [], "step_s": [], "recording_s": [], "delivery_s": []}
    with closing(Journal(folder)) as journal:
        _begin(journal, RunSpec(experiment="bench", name="logging"))
        tracker, shipment, count = Recorder(journal), Shipment(folder, f"sqlite:///{folder}/runs.db"), 0
        tracker.metrics(POINTS, count)
        shipment.deliver()  # tables, experiment and run are made once
        for _ in range(ROUNDS):
            step_s = seconds(step, STEPS)
            recording_s = 0.0
            for _ in range(max(1, round(FLUSH_SECONDS / step_s / every))):
                count += 1
                recording_s += seconds(partial(tracker.metrics, POINTS, count))
            delivery_s = seconds(shipment.deliver)
            share = (recording_s + delivery_s) / FLUSH_SECONDS
            for name, value in zip(found, (share, step_s, recording_s, delivery_s), strict=True):
                found[name].append(value)
    row = {name: statistics.median(values) for name, values in found.items()}
    shares = sorted(found["share"])
    spread = {"p10": shares[ROUNDS // 10], "p90": shares[-1 - ROUNDS // 10], "rounds": ROUNDS}
    return {"step": f"resnet18 {SIDE}px batch {BATCH}, {len(POINTS)} points each {every} steps"} | row | spread


def main() -> None:
    """Measure the sample's cadence (a validation each 10 steps) and the worst that a loop could do (every step)."""
    step = training_step()
    seconds(step, STEPS)
    with tempfile.TemporaryDirectory() as temporary:
        rows = [measure(Path(temporary) / str(every), step, every) for every in (10, 1)]
    record("logging", rows, goal="share of a training step at most 0.01")


if __name__ == "__main__":
    main()

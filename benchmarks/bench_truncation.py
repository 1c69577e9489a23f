"""A training step of the whole DenseNet-121 ÷ that of the network cut after an early block, in turn in one process.

A step is forward, cross-entropy, backward and Adam on pictures in memory; its ratio stands with and without Adam, which
walks through all weights whatever the pictures' size, and beside both the ratio of multiply-adds, which no machine
changes. Before, each cut network's map is checked against the whole network's at the cut, from the same seed. With one
thread, times are processor times of it, so that other programs disturb them less; they still share caches and memory,
which the large maps of early blocks feel most.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from harness import record

from medtransfer.models.block_features import block_features
from medtransfer.models.classifier import Classifier, build_network
from medtransfer.models.cost import count_cost
from medtransfer.models.networks import network_config

CUTS = {
    "features.denseblock1": "denseblock1",
    "features.transition1": "Dens-T1, after transition 1",
    "features.transition2": "Dens-T2, after transition 2",
}
"""Where the network is cut → how the row is called; Dens-T1 is the paper's cut after block 1."""
SIZES = ((64, 8), (112, 8), (224, 2))
ROUNDS = 25

Times = tuple[float, float]
"""Seconds of a step without the optimiser, and with it."""


def step(model: Classifier, pictures: torch.Tensor) -> Callable[[], Times]:
    """Return a training step that returns its seconds."""
    optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-5)
    target = torch.arange(len(pictures)) % 2
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter

    def run() -> Times:
        start = clock()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(F.cross_entropy(model(pictures), target))
        passed = clock()
        optimizer.step()
        return passed - start, clock() - start

    return run


def compare(side: int, batch: int) -> list[dict[str, Any]]:
    """Return a row a cut: ratios of multiply-adds and of step times (median, p10, p90), median seconds."""
    pictures = torch.randn(batch, 3, side, side)
    names = ["densenet121", *(f"densenet121_to_{cut}" for cut in CUTS)]
    models = [build_network(network_config(name), 2, seed=0) for name in names]
    seen = block_features(models[0], pictures)
    for cut, model in zip(CUTS, models[1:], strict=True):
        torch.testing.assert_close(block_features(model, pictures)[cut], seen[cut])
    work = [count_cost(model, side).multiply_adds for model in models]
    steps = [step(model, pictures) for model in models]
    whole, *others = zip(*[[run() for run in steps] for _ in range(ROUNDS + 1)][1:], strict=True)
    rows = []
    for (cut, title), times, adds in zip(CUTS.items(), others, work[1:], strict=True):
        row = {"cut": title, "block": cut, "side": side, "batch": batch, "multiply_adds_ratio": work[0] / adds}
        row |= ratios("", [t for _, t in whole], [t for _, t in times])
        row |= ratios("_without_optimizer", [t for t, _ in whole], [t for t, _ in times])
        rows.append(row | {"threads": torch.get_num_threads(), "rounds": ROUNDS})
    return rows


def ratios(suffix: str, whole: Sequence[float], cut: Sequence[float]) -> dict[str, float]:
    """Return the ratio of times round by round, its median, p10 and p90, and the median seconds of both."""
    each = sorted(a / b for a, b in zip(whole, cut, strict=True))
    found = {"ratio": statistics.median(each), "p10": each[len(each) // 10], "p90": each[-1 - len(each) // 10]}
    found |= {"whole_s": statistics.median(whole), "cut_s": statistics.median(cut)}
    return {f"{name}{suffix}": value for name, value in found.items()}


def main() -> None:
    """Measure three cuts at three picture sizes."""
    rows = [row for side, batch in SIZES for row in compare(side, batch)]
    record("truncation", rows, goal="cut after block 1, a training step is at least 3.5 times faster than whole")


if __name__ == "__main__":
    main()

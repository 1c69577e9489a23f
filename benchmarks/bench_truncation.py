"""A training step of the whole DenseNet-121 ÷ that of the network cut after an early block, in turn in one process.

A step is forward, cross-entropy, backward and Adam on pictures in memory. Before, each cut network's map is checked
against the whole network's at the cut, from the same seed. With one thread, times are processor times of it, so that
other programs disturb them less; they still share caches and memory, which the large maps of early blocks feel most.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from harness import record

from medtransfer.models.block_features import block_features
from medtransfer.models.classifier import Classifier, build_network
from medtransfer.models.cost import count_cost
from medtransfer.models.networks import network_config

CUTS = ("features.denseblock1", "features.transition1", "features.transition2")
SIZES = ((64, 8), (112, 8), (224, 2))
ROUNDS = 9


def step(model: Classifier, pictures: torch.Tensor) -> Callable[[], float]:
    """Return a training step that returns its seconds."""
    optimizer = torch.optim.Adam(model.train().parameters(), lr=1e-5)
    target = torch.arange(len(pictures)) % 2
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter

    def run() -> float:
        start = clock()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(F.cross_entropy(model(pictures), target))
        optimizer.step()
        return clock() - start

    return run


def compare(side: int, batch: int) -> list[dict[str, Any]]:
    """Return a row a cut: ratio of step times (median, p10, p90) and of multiply-adds, median seconds."""
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
    for cut, times, adds in zip(CUTS, others, work[1:], strict=True):
        ratios = sorted(a / b for a, b in zip(whole, times, strict=True))
        rows.append(
            {
                "cut": cut,
                "side": side,
                "batch": batch,
                "ratio": statistics.median(ratios),
                "p10": ratios[ROUNDS // 10],
                "p90": ratios[-1 - ROUNDS // 10],
                "multiply_adds_ratio": work[0] / adds,
                "whole_s": statistics.median(whole),
                "cut_s": statistics.median(times),
                "threads": torch.get_num_threads(),
                "rounds": ROUNDS,
            }
        )
    return rows


def main() -> None:
    """Measure three cuts at three picture sizes."""
    rows = [row for side, batch in SIZES for row in compare(side, batch)]
    record("truncation", rows, goal="cut after block 1, a training step is at least 3.5 times faster than whole")


if __name__ == "__main__":
    main()

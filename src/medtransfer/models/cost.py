"""What a network costs: parameters, multiply-adds, and measured seconds of inference and of a training step."""

import copy
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from medtransfer.models.classifier import Classifier
from medtransfer.models.heads import joined

_ROUNDS = 3
"""Times that every network of a table is timed, so that other work on the machine falls on all alike."""


@dataclass(frozen=True)
class Cost:
    """Size and work of a network for images of one side."""

    trunk: int
    """Parameters below the head, ATTN layers among them."""
    head: int
    """Parameters of the head: linear, or all that reads the last map."""
    multiply_adds: int
    """Multiply-adds of convolutions and matrix products of one image's forward pass; FLOPs are twice that."""

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.trunk + self.head


@dataclass(frozen=True)
class MeasuredCost:
    """One row of a table of costs: size, work of one image's forward pass, and times on this machine in seconds."""

    parameters: int
    multiply_adds: int
    step_seconds: float
    latency_seconds: float
    """Of one forward pass of one image."""


def measure_costs(models: Mapping[str, Classifier], side: int, *, batch: int) -> dict[str, MeasuredCost]:
    """Return the costs of networks by name; their times compare because the networks are timed in turn.

    Args:
        models: timed on the device that each is on.
        side: of the square images, in pixels.
        batch: images of a training step.
    """
    steps: dict[str, list[float]] = {name: [] for name in models}
    latencies: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(_ROUNDS):
        for name, model in models.items():
            steps[name].append(step_seconds(model, side, batch=batch, repeats=1))
            latencies[name].append(inference_seconds(model, side, repeats=5))
    return {
        name: MeasuredCost(
            parameters=(cost := count_cost(model, side)).parameters,
            multiply_adds=cost.multiply_adds,
            step_seconds=statistics.median(steps[name]),
            latency_seconds=statistics.median(latencies[name]),
        )
        for name, model in models.items()
    }


@torch.no_grad()
def count_cost(model: Classifier, side: int) -> Cost:
    """Return size and work of a network for square images of ``side`` pixels."""
    from torch.utils.flop_counter import FlopCounterMode

    head = sum(parameter.numel() for parameter in model.head.parameters())
    everything = sum(parameter.numel() for parameter in model.parameters())
    twin = copy.deepcopy(model).eval()
    with FlopCounterMode(display=False) as counter:
        twin(_images(twin, 1, side))
    return Cost(trunk=everything - head, head=head, multiply_adds=counter.get_total_flops() // 2)


def inference_seconds(model: Classifier, side: int, *, repeats: int = 15) -> float:
    """Return the median time of a forward pass of one image in evaluation mode, on the network's device."""
    twin = copy.deepcopy(model).eval()
    images = _images(twin, 1, side)

    def run() -> None:
        with torch.inference_mode():
            twin(images)

    return _median_seconds(run, images, repeats)


def step_seconds(model: Classifier, side: int, *, batch: int = 8, repeats: int = 5) -> float:
    """Return the median time of a training step of ``batch`` images: forward, cross-entropy, backward, Adam.

    A copy is trained; the network stays as it is.
    """
    twin = copy.deepcopy(model).train()
    images, optimizer = _images(twin, batch, side), torch.optim.Adam(twin.parameters(), lr=1e-5)
    target = torch.arange(batch, device=images.device) % model.head.out_features

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(F.cross_entropy(joined(twin(images)), target))
        optimizer.step()

    return _median_seconds(run, images, repeats)


def _images(model: Classifier, batch: int, side: int) -> Tensor:
    """Return noise from a generator of its own: measuring must not move anyone's random numbers."""
    noise = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(0))
    return noise.to(next(model.parameters()))


def _median_seconds(run: Callable[[], None], images: Tensor, repeats: int) -> float:
    """Time a call after one that warms up; on a GPU each time includes the work it has started."""
    with torch.random.fork_rng(devices=[images.device] if images.is_cuda else []):
        times = [_seconds(run, images) for _ in range(repeats + 1)]
    return statistics.median(times[1:])


def _seconds(run: Callable[[], None], images: Tensor) -> float:
    if images.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    if images.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start

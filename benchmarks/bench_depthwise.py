"""A training step of networks with depthwise convolutions: torch's bf16 autocast against the engine's, and fp32."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from harness import interleave, record

from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.training.engine import Engine, HardwareConfig

NETWORKS = (("tf_efficientnet_lite0", 160), ("mobilenetv3_small_100", 112), ("convnext_atto", 112), ("resnet50", 112))
BATCH, ROUNDS = 16, 5


def step(network: torch.nn.Module, pictures: torch.Tensor, context: Callable[[], AbstractContextManager[Any]]) -> None:
    """Pass forward and backward once."""
    with context():
        loss = network(pictures).float().square().mean()
    loss.backward()
    network.zero_grad()


def compare(backbone: str, crop: int) -> dict[str, Any]:
    """Return one row of the table."""
    half, whole = (Engine(HardwareConfig(device="cpu", precision=name)) for name in ("bf16", "fp32"))
    network = half.place(build_network(NetworkConfig(backbone=backbone), 2, seed=0)).train()
    pictures = half.batch({"image": torch.randn(BATCH, 3, crop, crop)})["image"]
    turns = [
        partial(step, network, pictures, context)
        for context in (partial(torch.autocast, "cpu", torch.bfloat16), half.autocast, whole.autocast)
    ]
    times, against = interleave(turns[0], turns[1], rounds=ROUNDS), interleave(turns[2], turns[1], rounds=ROUNDS)
    return {"network": backbone, "crop": crop, "batch": BATCH, **times, "ratio_fp32": against["ratio"]}


def main() -> None:
    """Compare the networks; the last has no depthwise convolution."""
    rows = [compare(*network) for network in NETWORKS]
    record("depthwise", rows, goal="no network slower than with torch's bf16 (ratio at least 0.95)")
    if any(row["ratio"] < 0.95 for row in rows):
        raise SystemExit("depthwise: the goal is missed")


if __name__ == "__main__":
    main()

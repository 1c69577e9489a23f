"""Grad-CAM of 64 images against one forward and backward pass of the same network on them: ratios, interleaved.

Times are processor times of one thread, so that other programs disturb them little.
"""

import time
from collections.abc import Callable

import torch
from harness import record

from medtransfer.explain.gradcam import grad_cam, layer_grad_cam
from medtransfer.models.classifier import Classifier, NetworkConfig, build_network
from medtransfer.models.insertion import AttentionConfig

IMAGES, ROUNDS, GOAL = 64, 7, 1.3
NETWORKS = {
    "resnet18": (NetworkConfig(backbone="resnet18"), 112, "trunk.layer4"),
    "resnet18 + 5 ATTN": (NetworkConfig(backbone="resnet18", attention=AttentionConfig(count=5, gamma=0.1)), 112, ""),
    "densenet121": (NetworkConfig(backbone="densenet121"), 64, ""),
    "tf_efficientnet_lite0": (NetworkConfig(backbone="tf_efficientnet_lite0"), 112, ""),
}


def one_pass(network: Classifier, images: torch.Tensor) -> None:
    network.zero_grad()
    logits = network(images)
    (logits[:, 1] - logits[:, 0]).sum().backward()


def seconds(call: Callable[[], object]) -> float:
    start = time.thread_time()
    call()
    return time.thread_time() - start


def compare(name: str, config: NetworkConfig, side: int, layer: str) -> dict[str, object]:
    network = build_network(config, 2, seed=0).eval()
    images = torch.randn(IMAGES, 3, side, side, generator=torch.Generator().manual_seed(0))
    calls: dict[str, Callable[[], object]] = {
        "pass": lambda: one_pass(network, images),
        "last map": lambda: grad_cam(network, images, 1),
    }
    if layer:
        calls[layer] = lambda: layer_grad_cam(network, images, 1, layer)
    for call in calls.values():
        call()
    rounds = [{key: seconds(call) for key, call in calls.items()} for _ in range(ROUNDS)]
    found: dict[str, object] = {"network": name, "images": IMAGES, "side": side, "goal": GOAL}
    for key in list(calls)[1:]:
        ratios = sorted(one[key] / one["pass"] for one in rounds)
        found |= {f"{key}, ratio": ratios[ROUNDS // 2], f"{key}, largest": ratios[-1]}
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = [compare(name, *chosen) for name, chosen in NETWORKS.items()]
    record("gradcam", rows, goal="Grad-CAM of 64 images costs at most 1.3 times one forward and backward pass of them")

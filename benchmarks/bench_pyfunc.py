"""What the registered model costs beside its bare network: 64 images and one, files and arrays.

The bare side is the network in inference mode on tensors that are ready, after decoding the same files (for arrays:
alone). Both sides use one thread, and CPU time is compared, so that other work on the machine counts less.

    OMP_NUM_THREADS=1 PYTHONPATH=src python benchmarks/bench_pyfunc.py
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import record
from PIL import Image

from medtransfer.data.given import prepare
from medtransfer.data.images import read_image
from medtransfer.files import read_json
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.heads import Head
from medtransfer.models.insertion import AttentionConfig
from medtransfer.models.weights import save_weights
from medtransfer.tracking import registry

GOAL = (
    "CPU time of the pyfunc at most 1.15 × that of decoding and the bare network on 64 images, 1.3 × on one; "
    "one thread, on a machine with other load"
)
NETWORKS = {
    "resnet18_attn5": NetworkConfig(backbone="resnet18", attention=AttentionConfig(count=5)),
    "resnet18_to_layer2": NetworkConfig(backbone="resnet18", cut="layer2"),
    "tf_efficientnet_lite0": NetworkConfig(backbone="tf_efficientnet_lite0"),
}
PACKED, CROP = 72, 64
"""Sides of the packed images and of the view, those of the sample: the smaller, the more the other work counts."""
BATCHES = {64: 9, 1: 41}
"""Images in a call → rounds."""


def main() -> None:
    """Measure every network at its sizes and write the result."""
    torch.set_num_threads(1)
    rows = []
    for name in NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            rows += measured(name, Path(folder))
    record("pyfunc", rows, goal=GOAL)


def measured(name: str, folder: Path) -> list[dict[str, Any]]:
    """Return one row per number of images and kind of input."""
    import mlflow.pyfunc

    preprocessing = {"size": PACKED, "crop": CROP, "channels": 1, "depth": 8, "mean": [0.3], "std": [0.3]}
    preprocessing |= {"equalize": False, "window": None}
    heads = {"label": Head(outputs=("non-covid", "covid"), kind="probability", activation="softmax", trained=True)}
    network = NETWORKS[name]
    model = build_network(network, 2, seed=0).eval()
    save_weights(model, folder / "w", config=network, heads=heads, preprocessing=preprocessing, extra={})
    registry._save(folder / "model", folder / "w", read_json(folder / "w" / "config.json"))
    served = mlflow.pyfunc.load_model(str(folder / "model"))
    rows = []
    for count, rounds in BATCHES.items():
        images = np.random.default_rng(0).integers(0, 256, (count, 1, 360, 400), dtype=np.uint8)
        files, ready = [_png(image[0]) for image in images], prepare(images, preprocessing).contiguous()
        given = {"files": files, "uint8 arrays": images, "float32 arrays": images.astype(np.float32)}
        for kind, each in given.items():
            row = _compared(partial(served.predict, each), _bare(model, ready, files if each is files else []), rounds)
            rows.append({"network": name, "crop": CROP, "images": count, "input": kind, **row})
    return rows


def _bare(model: torch.nn.Module, ready: torch.Tensor, files: list[bytes]) -> Callable[[], Any]:
    def call() -> None:
        for file in files:
            read_image(file, channels=1)
        with torch.inference_mode():
            model(ready)

    return call


def _compared(served: Callable[[], Any], bare: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Call both in turn; return the median of the ratios of CPU time, and the medians in milliseconds."""
    for call in (served, bare):
        call()
    pairs = [(_cpu(served), _cpu(bare)) for _ in range(rounds)]
    ratios = [a / b for a, b in pairs]
    ours, theirs = (1000 * statistics.median(side) for side in zip(*pairs, strict=True))
    return {"ratio": statistics.median(ratios), "pyfunc_ms": ours, "bare_ms": theirs, "rounds": rounds}


def _cpu(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def _png(image: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


if __name__ == "__main__":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    main()

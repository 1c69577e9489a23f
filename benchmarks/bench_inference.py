"""``evaluate`` and ``predict`` on PNG and JPEG files of 512² against what is needed: decoding, one forward pass.

The floor is the larger of decoding every file with two threads and passing every image through the network (fp32, in
batches, ready in memory): with both at once, the faster one hides behind the slower. All four take turns in one
process; ``predict`` is called with 256 files at a time, its limit. Peak memory is that of a process of its own that
evaluates N, and 10 N files: hard links to the same N, so that drawing them takes no time.

    python benchmarks/bench_inference.py [--images 1000] [--rounds 3] [--network tf_efficientnet_lite0]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from bench_gate import peak_gb
from harness import record
from PIL import Image

SIDE, PACKED, CROP, BATCH, MOST = 512, 180, 160, 64, 256
KINDS: dict[str, dict[str, Any]] = {"png": {"compress_level": 3}, "jpg": {"quality": 90}}
GOAL = "evaluate and predict within 1.3 times the larger of decoding (two threads) and the forward pass; bounded memory"


def draw(folder: Path, kind: str, count: int) -> None:
    """Write smooth grey images with fine noise, which compress about as far as a radiograph, in class folders."""
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(rng.integers(20, 236, (12, 12), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)
        image = np.clip(smooth + rng.normal(0, 2, (SIDE, SIDE)), 0, 255).astype(np.uint8)
        file = folder / ("covid", "non-covid")[number % 2] / f"{number}.{kind}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file, **KINDS[kind])


def multiply(folder: Path, to: Path, times: int) -> None:
    """Give every file more names in another folder."""
    for file in folder.rglob("*.*"):
        for number in range(times):
            target = to / file.parent.name / f"{number}_{file.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, target)


def store_model(folder: Path, images: Path, network: str) -> None:
    """Write an untrained network as a fit does, with the statistics of its training images as registering does."""
    from medtransfer.data.add import scan_to_manifest
    from medtransfer.data.packed import PackConfig, PackedDataset, pack
    from medtransfer.data.sources import ImageFolderSource
    from medtransfer.evaluation.shift import write_shift
    from medtransfer.models.classifier import NetworkConfig, build_network
    from medtransfer.models.heads import Head
    from medtransfer.models.weights import save_weights
    from medtransfer.tracking.gates import SHIFT
    from medtransfer.training.seen import training_shift

    source = ImageFolderSource(root=images, modality="CT")
    manifest, _ = scan_to_manifest(source, "drawn")
    manifest["split"] = np.where(np.arange(len(manifest)) % 2, "train", "val")
    config = PackConfig(size=PACKED)
    pack(manifest, images, folder / "packed", config, meta={"classes": ("non-covid", "covid")})
    data = PackedDataset.open(folder / "packed")
    prepared = config.model_dump(mode="json") | {"crop": CROP, "mean": data.meta.mean, "std": data.meta.std}
    structure = NetworkConfig(backbone=network)
    model = build_network(structure, 2, seed=0)
    heads = {"label": Head(outputs=data.meta.classes, kind="probability", activation="softmax", trained=True)}
    fit = {"study": "bench", "condition": "none", "seed": "0"}
    extra = {"fit": fit, "dataset": "drawn", "positive": "covid"}
    save_weights(model, folder / "model", config=structure, heads=heads, preprocessing=prepared, extra=extra)
    write_shift(training_shift(model, prepared, data, images), folder / "model" / SHIFT)


def seconds(call: Callable[[], Any]) -> tuple[float, float]:
    """Return wall and processor seconds of a call."""
    wall, processor = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - processor


def measure(model: Path, images: Path, rounds: int) -> dict[str, Any]:
    """Time both verbs and both floors in turn; return medians and ratios to the larger floor, round by round."""
    import torch

    from medtransfer.api import evaluate, load_model, predict
    from medtransfer.data.images import read_image

    loaded, files = load_model(model), sorted(images.rglob("*.*"))
    ready = torch.randn(BATCH, 3, CROP, CROP)

    def decode() -> None:
        with ThreadPoolExecutor(2) as pool:
            for _ in pool.map(partial(read_image, channels=1), files):
                pass

    def forward() -> None:
        with torch.inference_mode():
            for start in range(0, len(files), BATCH):
                loaded.network(ready[: min(BATCH, len(files) - start)])

    def predict_all() -> None:
        for start in range(0, len(files), MOST):
            predict(loaded, files[start : start + MOST])

    calls: dict[str, Callable[[], Any]] = {"evaluate": partial(evaluate, loaded, images=images)}
    calls |= {"predict": predict_all, "decode": decode, "forward": forward}
    turns = [{name: seconds(call) for name, call in calls.items()} for _ in range(rounds + 1)][1:]
    found: dict[str, Any] = {"images": len(files), "rounds": rounds}
    for place, kind in enumerate(("", "_processor")):
        for verb in ("evaluate", "predict"):
            ratios = [turn[verb][place] / max(turn[each][place] for each in ("decode", "forward")) for turn in turns]
            found[f"{verb}{kind}_ratio"] = statistics.median(ratios)
        found |= {f"{name}{kind}_s": statistics.median(turn[name][place] for turn in turns) for name in calls}
    return found


def memory(model: Path, images: Path) -> dict[str, Any]:
    """Evaluate once and return the largest memory of this process, also that of what it needs without images."""
    from medtransfer.api import evaluate, load_model

    loaded = load_model(model)
    before = peak_gb()
    found = evaluate(loaded, images=images)
    return {"images": found.facts["images"], "peak_gb": peak_gb(), "before_gb": before}


def child(*words: object) -> dict[str, Any]:
    """Run one of the two in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *map(str, words)], capture_output=True, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main(words: list[str] | None = None) -> None:
    """Measure both kinds of files, or with ``--child`` be one measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", default="tf_efficientnet_lite0")
    parser.add_argument("--child", nargs=2, type=Path, help="model and images; --rounds 0 measures memory")
    options = parser.parse_args(words)
    if options.child:
        model, images = options.child
        found = measure(model, images, options.rounds) if options.rounds else memory(model, images)
        print(json.dumps(found))
        return
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for kind in KINDS:
            few, many, model = root / kind, root / f"{kind}10", root / f"{kind}_model"
            draw(few, kind, options.images)
            multiply(few, many, 10)
            store_model(model, few, options.network)
            row = {"files": kind, "side": SIDE, "network": options.network, "crop": CROP}
            row |= child("--child", model / "model", few, "--rounds", options.rounds)
            for images in (few, many):
                peak = child("--child", model / "model", images, "--rounds", 0)
                row |= {f"peak_gb_{peak['images']}": peak["peak_gb"], "before_gb": peak["before_gb"]}
            rows.append(row | {"load": os.getloadavg()[0]})
    record("inference", rows, goal=GOAL)


if __name__ == "__main__":
    main()

"""The multi-task ViT at the paper's size, 512 px on a CPU: forward in bf16 against fp32, memory, two loaders.

``forward``: the whole network with lung masks, in turn with fp32. ``memory``: largest memory of a process that trains
three steps of four images, optimiser included. ``loaders``: forward and backward passes of 16 + 4 images of 128 px on
tensors in memory against the same through the loop's loaders with augmentation, in turn.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from harness import interleave, record

SIDE, SMALL, ROUNDS = 512, 128, 5


def network(side: int, **changes: Any) -> Any:
    """Return DenseNet-121 under ViT-B with both heads."""
    from medtransfer.models.classifier import NetworkConfig, build_network
    from medtransfer.models.multitask import MultitaskConfig

    config = MultitaskConfig(corpus=NetworkConfig(backbone="densenet121"), side=side, **changes)
    return build_network(config, 9, seed=0)


def forward() -> dict[str, Any]:
    """Time one image in both precisions, and compare decisions."""
    import torch

    from medtransfer.training.engine import Engine, HardwareConfig

    engines = {name: Engine(HardwareConfig(device="cpu", precision=name)) for name in ("fp32", "bf16")}
    model = engines["fp32"].place(network(SIDE)).eval()
    image = engines["fp32"].batch({"image": torch.randn(1, 3, SIDE, SIDE)})["image"]
    lungs = torch.ones(1, SIDE, SIDE, dtype=torch.bool)

    def call(name: str) -> Callable[[], Any]:
        def run() -> Any:
            with torch.inference_mode(), engines[name].autocast():
                return model(image, lungs)

        return run

    both = {name: call(name)() for name in engines}
    same = both["fp32"]["label"].argmax() == both["bf16"]["label"].argmax()
    zones = (both["fp32"]["zones"] >= 0) == (both["bf16"]["zones"] >= 0)
    timed = interleave(call("fp32"), call("bf16"), rounds=ROUNDS)
    return {"what": "forward", "side": SIDE, **timed, "same_class": bool(same), "same_zones": int(zones.sum())}


def step(side: int, **changes: Any) -> tuple[Any, Callable[[dict[str, Any]], None]]:
    """Return a task at the paper's size and one update of it."""
    import torch

    from medtransfer.training.engine import Engine, HardwareConfig
    from medtransfer.training.multitask import MultitaskTask

    engine = Engine(HardwareConfig(device="cpu"))
    model: Any = engine.place(network(side, **changes)).train()
    task = MultitaskTask(model, ("normal", "other", "covid"))
    optimizer = torch.optim.SGD(task.module.parameters(), lr=1e-3, momentum=0.9, fused=True)

    def update(batch: dict[str, Any]) -> None:
        optimizer.zero_grad()
        with engine.autocast():
            loss: Any = task.losses({name: engine.batch(part) for name, part in batch.items()})["total"]
        loss.backward()
        optimizer.step()

    return task, update


def memory() -> dict[str, Any]:
    """Train three steps of three images with a class and one with zones, and return the peak of this process."""
    import torch

    _, update = step(SIDE)
    image = torch.randn(4, 3, SIDE, SIDE)
    batch = {
        "label": {"image": image[:3], "target": torch.tensor([0, 1, 2])},
        "zones": {"image": image[3:], "target": torch.ones(1, 6), "lungs": torch.ones(1, SIDE, SIDE).bool()},
    }
    for _ in range(3):
        update(batch)
    return {
        "what": "memory",
        "side": SIDE,
        "batch": 4,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }


def loaders() -> dict[str, Any]:
    """Time steps through both loaders against steps on their first batches."""
    with TemporaryDirectory() as folder:
        ours = _loaders(Path(folder))
        _, update = step(SMALL, transformer={"width": 192, "layers": 4, "heads": 6})
        kept = {name: loader.batch(0, 0) for name, loader in ours.items()}
        place = [0]

        def through() -> None:
            place[0] += 1
            update({name: loader.batch(*divmod(place[0], loader.steps)) for name, loader in ours.items()})

        timed = interleave(lambda: update(kept), through, rounds=3 * ROUNDS)
    return {"what": "loaders", "side": SMALL, "efficiency": timed["ratio"], **timed}


def _loaders(folder: Path) -> dict[str, Any]:
    import numpy as np
    from PIL import Image

    from medtransfer.data.loaders import Loader
    from medtransfer.data.manifest import ZONES, build_manifest
    from medtransfer.data.packed import PackConfig, PackedDataset, pack
    from medtransfer.data.transforms import AugmentConfig
    from medtransfer.training.loading import mirrored_columns

    draw, rows = np.random.default_rng(0), []
    for number in range(64):
        for kind in ("image", "mask"):
            Image.fromarray(
                draw.integers(0, 255, (SMALL, SMALL)).astype(np.uint8) // (1 if kind == "image" else 43)
            ).save(folder / f"{kind}{number}.png")
        rows.append(
            {"image_id": f"x/{number}", "patient_id": f"x:{number}", "dataset": "x", "path": f"image{number}.png"}
            | {"mask": f"mask{number}.png", "split": "train", "label": "abc"[number % 3]}
            | dict.fromkeys(ZONES, 1.0)
        )
    pack(build_manifest(rows), folder, folder / "packed", PackConfig(size=SMALL), meta={"classes": tuple("abc")})
    data = PackedDataset.open(folder / "packed")
    recipe = AugmentConfig(crop=SMALL, hflip=0.5, translate=0.05, rotate=10.0)
    shared: dict[str, Any] = {"augment": recipe, "seed": 0, "train": True}
    zones: dict[str, Any] = {"targets": data.targets(ZONES), "mirror": mirrored_columns(ZONES), "lungs": True}
    return {
        "label": Loader(data, data.rows("train"), batch_size=16, **shared),
        "zones": Loader(data, data.rows("train"), batch_size=4, **shared, **zones),
    }


def main() -> None:
    """Measure each in a process of its own, one after the other."""
    if len(sys.argv) > 1:
        print(json.dumps({"forward": forward, "memory": memory, "loaders": loaders}[sys.argv[1]]()))
        return
    rows = []
    for name in ("forward", "memory", "loaders"):
        done = subprocess.run([sys.executable, __file__, name], capture_output=True, check=True, text=True)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    record(
        "multitask",
        rows,
        goal="forward at 512 px at least 1.5 times faster in bf16, with equal decisions; training at batch 4 under "
        "12 GB; efficiency with two loaders at least 0.90",
    )


if __name__ == "__main__":
    main()

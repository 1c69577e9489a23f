"""A supervised step with freed memory kept for the next step against glibc's default, a process of its own each turn.

The setting cannot be taken back within a process, so processes follow each other: default, kept, default, kept, …
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

from harness import record

NETWORKS = (("resnet18", 64), ("resnet50", 112), ("tf_efficientnet_lite0", 160))
ROUNDS, STEPS, BATCH = 3, 6, 32


def steps(backbone: str, crop: int) -> dict[str, float]:
    """Return median seconds and page faults of a step in this process, and its largest memory in MB."""
    import torch

    from medtransfer.models.classifier import NetworkConfig, build_network
    from medtransfer.training.engine import Engine, HardwareConfig

    engine = Engine(HardwareConfig(device="cpu"))
    network = engine.place(build_network(NetworkConfig(backbone=backbone), 2, seed=0)).train()
    batch = engine.batch({"image": torch.randn(BATCH, 3, crop, crop)})["image"]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, fused=True)
    seconds: list[float] = []
    before = 0
    for number in range(-2, STEPS):
        if number == 0:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        start = time.perf_counter()
        with engine.autocast():
            loss = network(batch).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "seconds": statistics.median(seconds[2:]),
        "faults": (used.ru_minflt - before) / STEPS,
        "peak_mb": used.ru_maxrss / 1024,
    }


def child(how: str, backbone: str, crop: int) -> dict[str, float]:
    """Measure in a new process; ``default`` leaves the allocator as it is."""
    done = subprocess.run([sys.executable, __file__, how, backbone, str(crop)], capture_output=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def compare(backbone: str, crop: int) -> dict[str, Any]:
    """Return one row of the table."""
    pairs = [(child("default", backbone, crop), child("kept", backbone, crop)) for _ in range(ROUNDS)]
    ratios = sorted(default["seconds"] / kept["seconds"] for default, kept in pairs)
    row: dict[str, Any] = {"network": backbone, "crop": crop, "batch": BATCH, "ratio": statistics.median(ratios)}
    row |= {"lowest": ratios[0], "highest": ratios[-1], "rounds": ROUNDS}
    for of, how in enumerate(("default", "kept")):
        row |= {f"{how}_{what}": statistics.median(pair[of][what] for pair in pairs) for what in pairs[0][of]}
    return row


def main() -> None:
    """Compare the networks, or with arguments measure one as a child."""
    if len(sys.argv) > 1:
        how, backbone, crop = sys.argv[1:]
        if how == "default":
            from medtransfer.models import memory

            memory.MALLOC.clear()
        print(json.dumps(steps(backbone, int(crop))))
        return
    rows = [compare(*network) for network in NETWORKS]
    record("memory", rows, goal="keeping freed memory makes no step slower and takes no more than 10 % more memory")
    if any(row["ratio"] < 1 or row["kept_peak_mb"] > 1.1 * row["default_peak_mb"] for row in rows):
        raise SystemExit("memory: the goal is missed")


if __name__ == "__main__":
    main()

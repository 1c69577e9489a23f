"""Interleaved ratios: A, B, A, B, … in one process; the median ratio counts, never a single time."""

import json
import os
import platform
import re
import statistics
import subprocess
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[1]


def interleave(
    slow: Callable[[], Any], fast: Callable[[], Any], *, rounds: int = 15, warmup: int = 1
) -> dict[str, float]:
    """Time two callables in turn; return the ratio slow ÷ fast pair by pair (median, p10, p90), both medians in s."""
    for _ in range(warmup):
        slow()
        fast()
    pairs = [(_seconds(slow), _seconds(fast)) for _ in range(rounds)]
    ratios = sorted(a / b for a, b in pairs)
    return {
        "ratio": statistics.median(ratios),
        "p10": ratios[int(0.1 * (rounds - 1))],
        "p90": ratios[int(0.9 * (rounds - 1))],
        "slow_s": statistics.median(a for a, _ in pairs),
        "fast_s": statistics.median(b for _, b in pairs),
        "rounds": rounds,
    }


def record(name: str, rows: list[dict[str, Any]], *, goal: str) -> Path:
    """Write ``results/<name>.json``: rows, goal in words, commit, machine and versions; print a line per row.

    A result of another CPU is left as it is; this one's then has the CPU in its name.
    """
    RESULTS.mkdir(exist_ok=True)
    measured_on = machine()
    found = {"goal": goal, "commit": commit(), "machine": measured_on, "rows": rows}
    path, cpu = RESULTS / f"{name}.json", measured_on["cpu"]
    if path.exists() and json.loads(path.read_text())["machine"]["cpu"] != cpu:
        path = RESULTS / f"{name}_{re.sub(r'[^a-z0-9]+', '_', cpu.replace('(R)', '').lower()).strip('_')}.json"
    path.write_text(json.dumps(found, indent=2) + "\n")
    for row in rows:
        print(name, " ".join(f"{k}={v:.3g}" if isinstance(v, float) else f"{k}={v}" for k, v in row.items()))
    return path


def commit() -> str:
    """Return the commit whose code is measured, with a remark when files differ from it; empty outside a checkout."""
    changed = _git("status", "--porcelain", "--", "src", "tests", "benchmarks/*.py")
    return _git("rev-parse", "--short", "HEAD") + (" with uncommitted changes" if changed else "")


def machine() -> dict[str, Any]:
    """Describe the processor, the operating system and the versions that matter for speed."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    flags = next((line for line in _lines("/proc/cpuinfo") if line.startswith("flags")), "")
    return {
        "cpu": cpu or platform.processor(),
        "bf16_units": "avx512_bf16" in flags or "amx_bf16" in flags,
        "gpu": _gpu(),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision", "numpy", "scikit-learn", "timm")},
    }


def noise_data(root: Path, *, side: int, count: int) -> Any:
    """Return ``count`` packed noise images: what a step costs does not depend on what they show."""
    import numpy as np
    import pandas as pd
    from PIL import Image

    from medtransfer.data.manifest import build_manifest
    from medtransfer.data.packed import PackConfig, PackedDataset, pack

    generator = np.random.default_rng(0)
    rows = []
    for number in range(count):
        file = root / f"{number}.png"
        Image.fromarray(generator.integers(0, 255, (side, side), dtype=np.uint8)).save(file)
        names = {"image_id": f"noise/{number}", "patient_id": f"noise:{number}", "dataset": "noise", "path": file.name}
        rows.append(names | {"modality": "CT", "split": "train", "label": "ab"[number % 2]})
    pack(pd.DataFrame(build_manifest(rows)), root, root / "packed", PackConfig(size=side), meta={"classes": ("a", "b")})
    return PackedDataset.open(root / "packed")


def _git(*words: str) -> str:
    command = ["git", "-C", str(ROOT), *words]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _lines(path: str) -> list[str]:
    file = Path(path)
    return file.read_text().splitlines() if file.exists() else []

"""LEEP of 40,000 images and 1,000 source labels in single precision, against the plain form in double precision.

Outputs of both sides are checked before anything is timed. Run with OMP_NUM_THREADS=1: the passes wait for memory.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from harness import interleave, record

from medtransfer.evaluation.transferability import leep, logme

IMAGES, LABELS, WIDTH, CLASSES = 40_000, 1_000, 512, 2


def cases() -> tuple[np.ndarray, np.ndarray]:
    """Return softmax outputs that lean on the target, and target labels."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, CLASSES, IMAGES)
    theta = rng.normal(size=(IMAGES, LABELS), scale=2).astype(np.float32)
    theta[:, :CLASSES] += 4 * np.eye(CLASSES, dtype=np.float32)[target]
    np.exp(theta, out=theta)
    theta /= theta.sum(1, keepdims=True)
    return theta, target


def plain_leep(theta: np.ndarray, target: np.ndarray) -> float:
    """Return LEEP as written: joint, conditional and expected predictions as whole float64 arrays."""
    joint = np.stack([theta[target == k].sum(0) for k in range(CLASSES)]) / IMAGES
    expected = theta @ (joint / joint.sum(0)).T
    return float(np.log(expected[np.arange(IMAGES), target]).mean())


def processor_seconds(call: Callable[[], Any], *, rounds: int = 15) -> float:
    """Return the median processor time of a call; on a shared machine wall time measures the neighbours as well."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return statistics.median(times)


def leep_row() -> dict[str, Any]:
    """Time both forms and say how far they lie apart; the goal is seconds of the fast one."""
    theta, target = cases()
    double = theta.astype(np.float64)
    gap = abs(plain_leep(double, target) - leep(theta, target).nats)
    assert gap < 1e-6, f"the two forms differ by {gap}"
    times = interleave(lambda: plain_leep(double, target), lambda: leep(theta, target))
    times["fast_processor_s"] = processor_seconds(lambda: leep(theta, target))
    return {"name": f"LEEP, {IMAGES} images, {LABELS} labels", "goal": 0.1, "largest_gap": gap, **times}


def logme_row() -> dict[str, Any]:
    """Time LogME through the Gram matrix against a singular value decomposition, which the first step needs alone."""
    rng = np.random.default_rng(1)
    features, target = rng.normal(size=(IMAGES // 10, WIDTH)), rng.integers(0, CLASSES, IMAGES // 10)
    times = interleave(lambda: np.linalg.svd(features, full_matrices=False), lambda: logme(features, target), rounds=5)
    return {"name": f"LogME, {IMAGES // 10} images, {WIDTH} features", "goal": None, "largest_gap": None, **times}


if __name__ == "__main__":
    record(
        "transferability",
        [leep_row(), logme_row()],
        goal="LEEP under 100 ms on one core, equal to the form in double precision to 1e-6",
    )

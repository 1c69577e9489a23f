"""DeLong by sorting against all pairs at 7,000 cases; patient bootstrap against a loop over scikit-learn at 500.

Outputs of both sides are checked before anything is timed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from harness import interleave, record
from sklearn.metrics import average_precision_score, roc_auc_score

from medtransfer.evaluation.chance import patients_by_class
from medtransfer.evaluation.compare import delong_test
from medtransfer.evaluation.intervals import patient_counts
from medtransfer.evaluation.summary import RULES, Sample, patient_interval

DRAWS = 1000
CALLS = 20
"""Calls a round where one takes less than a millisecond: alone it would time the caches that the other side emptied."""
ORACLES = {"auroc": roc_auc_score, "auprc": average_precision_score}


def cases(count: int, predictors: int) -> tuple[np.ndarray, np.ndarray]:
    """Return labels and tied scores that overlap, as those of real predictors do."""
    rng = np.random.default_rng(0)
    target = rng.integers(0, 2, count)
    return target, np.round(rng.normal(size=(predictors, count)) + target, 3)


def psi(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Return DeLong's kernel as written, Eq. 2: 1, one half or 0 for every pair."""
    kernel: np.ndarray = np.heaviside(positive[:, None] - negative, 0.5)
    return kernel


def psi_by_comparing(positive: np.ndarray, negative: np.ndarray) -> np.ndarray:
    """Return the same kernel from two comparisons, the fastest form over all pairs that we know."""
    kernel: np.ndarray = (positive[:, None] > negative) + 0.5 * (positive[:, None] == negative)
    return kernel


def pairwise_z(kernel: Callable[..., np.ndarray], target: np.ndarray, scores: np.ndarray) -> float:
    """Return the paired DeLong z from all pairs, vectorised (DeLong 1988, Eq. 2-6)."""
    kernels = (kernel(score[target == 1], score[target == 0]) for score in scores)
    uppers, lowers = zip(*((pairs.mean(1), pairs.mean(0)) for pairs in kernels), strict=True)
    covariance = np.cov(uppers) / target.sum() + np.cov(lowers) / (1 - target).sum()
    variance = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    return float((uppers[0].mean() - uppers[1].mean()) / np.sqrt(variance))


def loop_interval(metric: str, target: np.ndarray, score: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Return the interval from one scikit-learn call a draw, for the same draws."""
    counts = np.concatenate(list(patient_counts(target, draws=DRAWS, seed=0)), axis=1).astype(int)
    rows = np.arange(len(target))
    values = [ORACLES[metric](target[again], score[again]) for again in (np.repeat(rows, c) for c in counts.T)]
    patients = patients_by_class(target, groups)
    sample = Sample(np.array([ORACLES[metric](target, score)]), np.array([values]), "", patients, RULES[metric])
    return sample.bounds(level=0.95)


def delong_row(name: str, kernel: Callable[..., np.ndarray], goal: int | None) -> dict[str, Any]:
    """Time the paired test and say how far its two forms lie apart; the fast side runs ``CALLS`` times a round."""
    target, scores = cases(7000, 2)
    gap = abs(pairwise_z(kernel, target, scores) - delong_test(target, *scores).z)
    assert gap < 1e-9, f"the two forms of z differ by {gap}"

    def fast() -> None:
        for _ in range(CALLS):
            delong_test(target, *scores)

    times = interleave(lambda: pairwise_z(kernel, target, scores), fast, rounds=11)
    times |= {key: times[key] * CALLS for key in ("ratio", "p10", "p90")} | {"fast_s": times["fast_s"] / CALLS}
    return {"name": f"paired DeLong, 7000 cases, pairs by {name}", "goal": goal, "largest_gap": gap, **times}


def bootstrap_row(metric: str) -> dict[str, Any]:
    """Time one interval and say how far the two sides' bounds lie apart."""
    target, scores = cases(500, 1)
    groups = np.arange(500)
    arguments = (metric, target, scores[0], groups)
    interval = patient_interval(*arguments, draws=DRAWS)
    gap = float(np.abs(np.subtract(loop_interval(*arguments), (interval.low, interval.high))).max())
    assert gap < 1e-12, f"the bounds differ by {gap}"
    fast = interleave(lambda: loop_interval(*arguments), lambda: patient_interval(*arguments, draws=DRAWS), rounds=3)
    return {"name": f"bootstrap of {metric}, 500 cases, {DRAWS} draws", "goal": 80, "largest_gap": gap, **fast}


if __name__ == "__main__":
    record(
        "statistics",
        [
            delong_row("the step function", psi, 200),
            delong_row("two comparisons", psi_by_comparing, None),
            bootstrap_row("auroc"),
            bootstrap_row("auprc"),
        ],
        goal="DeLong at least 200x the pairwise form, bootstrap at least 80x a loop over scikit-learn; outputs equal",
    )

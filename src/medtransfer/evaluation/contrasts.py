"""Linear contrasts of cells that share their seeds and patient resamples, and what an interval says about a claim."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from medtransfer.evaluation.summary import Sample, summarise

CellT = TypeVar("CellT", bound=Hashable)
Verdict = Literal["holds", "does not hold", "not decidable"]


@dataclass(frozen=True)
class Judged:
    """Verdict on a contrast, its reason, its estimate and interval (None where they do not exist)."""

    verdict: Verdict
    reason: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None


def difference(first: Mapping[CellT, float], second: Mapping[CellT, float]) -> dict[CellT, float]:
    """Return the contrast ``first − second``."""
    return {cell: first.get(cell, 0.0) - second.get(cell, 0.0) for cell in {**first, **second}}


def mean_contrast(contrasts: Sequence[Mapping[CellT, float]]) -> dict[CellT, float]:
    """Return the mean of contrasts."""
    cells = {cell: None for contrast in contrasts for cell in contrast}
    return {cell: sum(contrast.get(cell, 0.0) for contrast in contrasts) / len(contrasts) for cell in cells}


def combine(contrast: Mapping[CellT, float], samples: Mapping[CellT, Sample]) -> Sample:
    """Return the contrast of samples that share their seeds and patient resamples, hence a paired comparison."""
    points = sum(weight * samples[cell].points for cell, weight in contrast.items())
    values = sum(weight * samples[cell].values for cell, weight in contrast.items())
    reason = next((samples[cell].reason for cell in contrast if samples[cell].reason), "")
    return Sample(np.asarray(points), np.asarray(values), reason)


def judge(
    contrast: Mapping[CellT, float],
    samples: Mapping[CellT, Sample],
    *,
    margin: float = 0.0,
    level: float,
    seed: int = 0,
) -> Judged:
    """Judge the claim that a contrast lies above ``−margin``.

    It holds when the whole interval (seeds × patients from two seeds on, else patients) lies above ``−margin``, does
    not hold when no part of it does, and is otherwise not decidable. With a margin of 0 the claim is *better*, with a
    positive one *at least as good* (non-inferiority).

    Args:
        contrast: weight of every cell.
        samples: one metric of the cells that were run; same seeds, same patient resamples.
        margin: the largest loss that still counts as none.
        level: coverage of the interval.
        seed: of the resampling of seeds.
    """
    missing = [str(cell) for cell in contrast if cell not in samples]
    if missing or not contrast:
        return Judged("not decidable", f"not run: {', '.join(missing)}" if missing else "nothing to compare was run")
    found = summarise(combine(contrast, samples), level=level, seed=seed)
    low, high = found.get("low_seeds", found["low"]), found.get("high_seeds", found["high"])
    if low is None or high is None:
        return Judged("not decidable", found.get("reason", ""), found["mean"])
    border = f"−{margin:g}" if margin else "zero"
    if low > -margin:
        return Judged("holds", f"the whole interval lies above {border}", found["mean"], low, high)
    if high <= -margin:
        return Judged("does not hold", f"no part of the interval lies above {border}", found["mean"], low, high)
    return Judged("not decidable", f"the interval holds {border}", found["mean"], low, high)

"""Claims about cells: linear contrasts on the same images and seeds, and the verdicts that follow from intervals."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from medtransfer.errors import DataError
from medtransfer.evaluation.cells import Cell, Cells, Key
from medtransfer.evaluation.summary import LEVEL, Sample, summarise

Contrast = Mapping[Key, float]
"""Weight of each (variant, condition)."""
Verdict = Literal["holds", "does not hold", "not decidable"]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of a paper: a contrast is above ``−margin``.

    Attributes:
        key: short name.
        statement: the claim in one sentence.
        source: where the paper makes the claim.
        how: how it is computed, in words.
        contrast: weights; empty if the study has no such variants.
        margin: the largest loss that still counts as none. With 0 the claim is *better*, with a positive margin *at
            least as good* (non-inferiority).
        setting: the condition that the claim is about; empty if it is about several.
        unanswered: why the contrast is empty.
    """

    key: str
    statement: str
    source: str
    how: str
    contrast: Contrast
    margin: float = 0.0
    setting: str = ""
    unanswered: str = "nothing to compare was run"


@dataclass(frozen=True)
class Judgement:
    """Verdict on a claim and its reason; estimate, interval and the paper's value are None if they do not exist.

    ``excluded`` are the cells because of which the estimate decides nothing.
    """

    verdict: Verdict
    reason: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    paper: float | None = None
    excluded: tuple[Key, ...] = ()


Judged = tuple[Claim, Mapping[str, Judgement]]
"""A claim and its judgements by what was measured, for example by metric or by data set."""


def difference(first: Contrast, second: Contrast) -> dict[Key, float]:
    """Return the contrast ``first − second``."""
    return {key: first.get(key, 0.0) - second.get(key, 0.0) for key in {**first, **second}}


def mean_contrast(contrasts: Sequence[Contrast]) -> dict[Key, float]:
    """Return the mean of contrasts; empty when there is none."""
    keys = {key: None for contrast in contrasts for key in contrast}
    return {key: sum(contrast.get(key, 0.0) for contrast in contrasts) / len(contrasts) for key in keys}


def combine(contrast: Contrast, cells: Cells, metric: str) -> Sample:
    """Return the contrast of a metric over cells, per seed and resample: a paired comparison.

    Raises:
        DataError: the cells differ in their seeds or images.
    """
    require_alike([cells[key] for key in contrast])
    samples = {key: cells[key].samples[metric] for key in contrast}
    points = sum(weight * samples[key].points for key, weight in contrast.items())
    values = sum(weight * samples[key].values for key, weight in contrast.items())
    reason = next((one.reason for one in samples.values() if one.reason), "")
    return Sample(np.asarray(points), np.asarray(values), reason)


def require_alike(cells: Collection[Cell]) -> None:
    """Refuse cells that differ in their seeds or images: their comparison would not be paired.

    Raises:
        DataError: they differ; the message names the first two.
    """
    first, *others = cells
    for other in others:
        for column, same in (
            ("image_id", np.array_equal(first.images, other.images)),
            ("seed", first.seeds == other.seeds),
        ):
            if not same:
                raise DataError(
                    f"predictions table: {other.variant} {other.condition} has other {column} values on "
                    f"{other.dataset} than {first.variant} {first.condition}, expected the same in both; predict the "
                    "missing ones"
                )


def judge(
    claim: Claim,
    cells: Cells,
    metric: str,
    *,
    level: float = LEVEL,
    seed: int = 0,
    title: Callable[[Key], str] = " ".join,
    excluded: Mapping[Key, str] = {},
    paper: Mapping[Key, float] = {},
) -> Judgement:
    """Judge a claim on one metric.

    It holds when the whole interval (seeds × patients from two seeds on, else patients) is above ``−margin``, does
    not hold when no part of it is, and is otherwise not decidable. It is also not decidable when one of its cells was
    not run or is excluded.

    Args:
        claim: what to judge.
        cells: the cells that were run.
        metric: the metric of the contrast.
        level: coverage of the interval.
        seed: of the resampling of seeds.
        title: how the reason names a cell that was not run.
        excluded: cells that cannot decide this claim, each with the reason.
        paper: the paper's values of the metric; the judgement has their contrast if all are printed.

    Raises:
        DataError: the cells of the contrast differ in their seeds or images.
    """
    printed = _printed(claim.contrast, paper)
    if not claim.contrast:
        return Judgement("not decidable", claim.unanswered)
    missing = dict.fromkeys(title(key) for key in sorted(claim.contrast.keys() - cells.keys()))
    if missing:
        return Judgement("not decidable", f"not run: {', '.join(missing)}", paper=printed)
    estimate = summarise(combine(claim.contrast, cells, metric), level=level, seed=seed)
    low, high = estimate.get("low_seeds", estimate["low"]), estimate.get("high_seeds", estimate["high"])
    values = (estimate["mean"], low, high, printed)
    unusable = tuple(sorted(claim.contrast.keys() & excluded.keys()))
    if unusable:
        return Judgement("not decidable", ", ".join(excluded[key] for key in unusable), *values, unusable)
    if low is None or high is None:
        return Judgement("not decidable", estimate.get("reason", ""), estimate["mean"], paper=printed)
    border = f"−{claim.margin:g}" if claim.margin else "zero"
    if low > -claim.margin:
        return Judgement("holds", f"the whole interval is above {border}", *values)
    if high <= -claim.margin:
        return Judgement("does not hold", f"no part of the interval is above {border}", *values)
    return Judgement("not decidable", f"the interval includes {border}", *values)


def _printed(contrast: Contrast, paper: Mapping[Key, float]) -> float | None:
    if not contrast or contrast.keys() - paper.keys():
        return None
    return round(sum(weight * paper[key] for key, weight in contrast.items()), 4)

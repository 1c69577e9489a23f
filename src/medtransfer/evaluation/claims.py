"""Claims about cells: linear contrasts on the same images and seeds, and the verdicts that follow from intervals."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from medtransfer.errors import DataError
from medtransfer.evaluation.cells import Cell, Cells, Key
from medtransfer.evaluation.summary import LEVEL, Sample, summarise

Contrast = Mapping[Key, float]
"""Weight of each (variant, condition)."""
Verdict = Literal["holds", "does not hold", "no difference", "not decidable"]
ONE_SEED = "one seed"
ROUNDING = 1e-12
"""Below it a difference of metrics is rounding: the terms of a contrast cancel to it where predictions are equal."""


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

    ``excluded`` are the cells because of which the estimate decides nothing. ``left_out`` says which chance the
    interval does not include; empty if none.
    """

    verdict: Verdict
    reason: str
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    paper: float | None = None
    excluded: tuple[Key, ...] = ()
    left_out: str = ""


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
    points, values = (np.where(np.abs(part) < ROUNDING, 0.0, part) for part in (points, values))
    patients = min((one.patients for one in samples.values()), key=min)
    rules = max((one.rules for one in samples.values()), key=lambda rules: rules.difference.fewest)
    known = all(one.patients_known for one in samples.values())
    return Sample(points, values, reason, patients, rules, contrast=True, patients_known=known)


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
    title: Callable[[Key], str] = " ".join,
    excluded: Mapping[Key, str] = {},
    paper: Mapping[Key, float] = {},
) -> Judgement:
    """Judge a claim on one metric.

    It holds when the whole interval over patients and seeds is above ``−margin`` and does not hold when the whole
    interval is below. Where all points and resamples are zero, the predictions are equal and the verdict is *no
    difference*, whatever the margin. Everything else is not decidable: an interval that reaches the border, that has no
    width or rests on too few draws, a cell that was not run or is excluded, unknown patients, and one seed, which
    says nothing about what another training would give. The verdicts on *A is better than B* and *B is better than A*
    are thus each other's mirror image.

    Args:
        claim: what to judge.
        cells: the cells that were run.
        metric: the metric of the contrast.
        level: coverage of the interval.
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
    one = combine(claim.contrast, cells, metric)
    estimate = summarise(one, level=level)
    values = (estimate["mean"], *_bounds(estimate), printed)
    unusable = tuple(sorted(claim.contrast.keys() & excluded.keys()))
    if unusable:
        return Judgement("not decidable", ", ".join(excluded[key] for key in unusable), *values, unusable)
    return Judgement(*_verdict(one, estimate, level=level, border=-claim.margin), *values)


def _bounds(estimate: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Return the interval over patients and seeds; that over patients where there is one seed."""
    return estimate.get("low_seeds", estimate["low"]), estimate.get("high_seeds", estimate["high"])


def _verdict(one: Sample, estimate: Mapping[str, Any], *, level: float, border: float) -> tuple[Verdict, str]:
    """Return the verdict on a contrast being above a border, with its reason."""
    low, high = _bounds(estimate)
    if not one.patients_known:
        return "not decidable", one.no_interval
    if len(one.points) == 1:
        return "not decidable", "; ".join([ONE_SEED, *([one.reason] if one.reason else [])])
    if _zero(one):
        return "no difference", "every seed and every resample gives the same value"
    if low is None or high is None:
        return "not decidable", estimate.get("reason", "")
    needed = math.ceil(2 / (1 - level) - ROUNDING)
    if estimate["draws"] < needed:
        return "not decidable", f"{estimate['draws']} resamples have a value, the interval needs {needed}"
    if estimate["high"] - estimate["low"] < ROUNDING:
        return "not decidable", "the interval has no width"
    return _side(low, high, border)


def _zero(one: Sample) -> bool:
    """Return whether all points and all resamples that have a value are zero."""
    resamples = one.values[~np.isnan(one.values)]
    return bool(resamples.size) and not one.points.any() and not resamples.any()


def _side(low: float, high: float, border: float) -> tuple[Verdict, str]:
    """Return the verdict of an interval on being above a border, with its reason."""
    name = f"−{-border:g}" if border else "zero"
    if low > border:
        return "holds", f"the whole interval is above {name}"
    if high < border:
        return "does not hold", f"the whole interval is below {name}"
    return "not decidable", f"the interval includes {name}"


def _printed(contrast: Contrast, paper: Mapping[Key, float]) -> float | None:
    if not contrast or contrast.keys() - paper.keys():
        return None
    return round(sum(weight * paper[key] for key, weight in contrast.items()), 4)

"""From predictions of the test images to a ranking: intervals, verdicts against the highest, what could be told."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medtransfer.comparing.question import Question
from medtransfer.evaluation.cells import BINARY, Cell, EvaluationConfig, Row, measure
from medtransfer.evaluation.claims import Claim, combine, judge
from medtransfer.evaluation.summary import LEVEL, Sample, brief

POWER = 0.8
HIGHEST, WORSE, ALIKE = "highest", "worse than the highest", "not distinguishable"


@dataclass(frozen=True)
class Place:
    """One candidate's place.

    Attributes:
        cell: its predictions on the test images.
        numbers: of the ranking metric, as in ``summary.brief``.
        verdict: ``highest`` (a place, no verdict), ``worse than the highest`` or ``not distinguishable`` from it.
        reason: of the verdict.
        behind: numbers of highest − candidate; None for the highest.
        detectable: the smallest difference to the highest that the data could show; NaN where it cannot be told.
    """

    cell: Cell
    numbers: Row
    verdict: str
    reason: str
    behind: Row | None
    detectable: float


def ranking(table: pd.DataFrame, question: Question) -> list[Place]:
    """Return the candidates of a predictions table, highest first by their mean over seeds.

    The highest is compared with every other on the same images and seeds; the level of these intervals is raised so
    that all together are wrong in 5 % (Bonferroni).
    """
    cells = measure(table, EvaluationConfig(threshold="half"), splits=("test",), metrics=BINARY)
    metric = question.metric
    order = sorted(cells, key=lambda cell: -_mean(cell.samples[metric]))
    first, others = order[0], order[1:]
    level = 1 - (1 - LEVEL) / max(len(others), 1)
    places = [Place(first, brief(first.samples[metric]), HIGHEST, "", None, math.nan)]
    by_key = {cell.key: cell for cell in cells}
    for cell in others:
        contrast = {first.key: 1.0, cell.key: -1.0}
        claim = Claim(key="gap", statement="the highest is better", source="", how="", contrast=contrast)
        judged = judge(claim, by_key, metric, level=level)
        gap = combine(contrast, by_key, metric)
        verdict = WORSE if judged.verdict == "holds" else ALIKE
        row = {**brief(gap), "low_seeds": judged.low, "high_seeds": judged.high}
        smallest = detectable(gap, level=level)
        places.append(Place(cell, brief(cell.samples[metric]), verdict, judged.reason, row, smallest))
    return places


def detectable(gap: Sample, *, level: float) -> float:
    """Return the smallest true difference that such an interval would show in 80 % of repetitions.

    ``reach(1 − level) + reach of power``: the normal sample-size formula (Obuchowski 1998) solved for the difference,
    with the variance of patients and of training and Student's quantiles of :mod:`medtransfer.evaluation.chance`. NaN
    where the difference has no interval or one seed.
    """
    if gap.no_interval or len(gap.points) < 2 or np.isnan(gap.points).any():
        return math.nan
    chance = gap.chance()
    return chance.reach(1 - level) + chance.reach(2 * (1 - POWER))


def smallest_difference(places: Sequence[Place]) -> float:
    """Return the largest of the detectable differences to the highest: what all comparisons together could show."""
    known = [place.detectable for place in places[1:] if not math.isnan(place.detectable)]
    return max(known, default=math.nan)


def _mean(sample: Sample) -> float:
    mean = float(sample.points.mean())
    return -math.inf if math.isnan(mean) else mean

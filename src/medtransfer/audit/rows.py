"""One number of an audit with its interval over patients, and what it is a sign of."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medtransfer.audit.cases import Floats
from medtransfer.evaluation.summary import AUROC, LEVEL, Sample, sample, summarise

Verdict = Literal["no sign", "suspicious", "confounded", "cannot tell"]
DRAWS = 500
FEWEST = AUROC.alone.fewest
"""Patients of the smallest class below which there is no interval, and so no sign."""


@dataclass(frozen=True)
class Row:
    """One question of an audit and its answer.

    Attributes:
        name: of the question.
        about: what is measured, in one sentence.
        value: AUROC, macro AUROC, or a difference of two AUROC; ``None`` where there is none.
        low: lower end of the interval over patients.
        high: upper end.
        images: number that the value is of.
        sign: what the row says where the rule judges it, else ``None``: it is shown beside the others.
        reason: why there is no value or no sign.
    """

    name: str
    about: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    images: int = 0
    sign: Verdict | None = None
    reason: str = ""

    def plain(self) -> dict[str, Any]:
        """Return the row for JSON."""
        return asdict(self)


def auroc_row(name: str, about: str, target: NDArray[np.int64], score: Floats, patients: NDArray[np.object_]) -> Row:
    """Return how well a score ``[N]`` tells two classes ``[N]`` apart."""
    if score.ndim > 1 and score.shape[1] > 2:
        return _row(name, about, _sampled("macro_auroc", target, score[None], patients), len(target))
    one = score[:, -1] if score.ndim > 1 else score
    return _row(name, about, _sampled("auroc", target, one[None], patients), len(target))


def loss_row(
    name: str, about: str, target: NDArray[np.int64], scores: tuple[Floats, Floats], patients: NDArray[np.object_]
) -> Row:
    """Return by how much the AUROC of the first scores is above that of the second, on the same images."""
    both = _sampled("auroc", target, np.stack(scores), patients)
    return _row(name, about, _difference(both, both), len(target))


def strata_row(
    name: str, about: str, target: NDArray[np.int64], score: Floats, patients: NDArray[np.object_], strata: NDArray[Any]
) -> Row:
    """Return the AUROC among pairs of images of one stratum, strata weighted by their pairs."""
    return _row(name, about, _within(target, score, patients, strata), len(target))


def excess_row(
    name: str, about: str, target: NDArray[np.int64], score: Floats, patients: NDArray[np.object_], strata: NDArray[Any]
) -> Row:
    """Return by how much the AUROC over all pairs is above that within strata, under the same resamples."""
    pooled = _sampled("auroc", target, score[None], patients, stratified=False)
    within = _within(target, score, patients, strata, stratified=False)
    pair = replace(pooled, points=np.stack([pooled.points[0], within.points[0]]))
    pair = replace(pair, values=np.stack([pooled.values[0], within.values[0]]))
    return _row(
        name,
        about,
        replace(_difference(pair, pair), patients=min(pooled.patients, within.patients, key=min)),
        len(target),
    )


def _sampled(
    metric: str,
    target: NDArray[np.int64],
    scores: Floats,
    patients: NDArray[np.object_],
    *,
    population: NDArray[np.object_] | None = None,
    stratified: bool = True,
) -> Sample:
    names = patients.astype(str)
    everyone = names if population is None else population.astype(str)
    options: dict[str, Any] = {"draws": DRAWS, "seed": 0, "population": everyone, "stratified": stratified}
    return sample([metric], target, scores, names, thresholds=[0.5] * len(scores), **options)[metric]


def _within(
    target: NDArray[np.int64],
    score: Floats,
    patients: NDArray[np.object_],
    strata: NDArray[Any],
    *,
    stratified: bool = True,
) -> Sample:
    """Return the mean of the AUROC of each stratum with both classes, weighted by its pairs of images."""
    parts, pairs = [], []
    for one in np.unique(strata):
        rows = strata == one
        positive = int(target[rows].sum())
        if 0 < positive < rows.sum():
            options: dict[str, Any] = {"population": patients, "stratified": stratified}
            parts.append(_sampled("auroc", target[rows], score[None, rows], patients[rows], **options))
            pairs.append(positive * (int(rows.sum()) - positive))
    weight = np.array(pairs, np.float64) / sum(pairs)
    points, values = (
        sum(w * getattr(one, what) for w, one in zip(weight, parts, strict=True)) for what in ("points", "values")
    )
    together = tuple(int(n) for n in np.sum([one.patients for one in parts], axis=0))
    return replace(parts[0], points=np.asarray(points), values=np.asarray(values), patients=together)


def _difference(first: Sample, second: Sample) -> Sample:
    """Return row 0 of the first − row 1 of the second."""
    return replace(
        first,
        points=first.points[:1] - second.points[1:],
        values=first.values[:1] - second.values[1:],
        contrast=True,
    )


def _row(name: str, about: str, one: Sample, images: int) -> Row:
    found = summarise(one, level=LEVEL)
    value, low, high = found["mean"], found["low"], found["high"]
    reason = found.get("reason", "")
    if value in (0.0, 1.0) and not one.contrast and not one.no_interval:
        # all pairs are in order: as for a share that is 1 of as many patients as the smallest class has
        far = ((1 - LEVEL) / 2) ** (1 / min(one.patients))
        low, high, reason = (far, 1.0, "") if value else (0.0, 1 - far, "")
    if value is not None and one.contrast and low is None and not one.no_interval and np.nanstd(one.values) == 0:
        low, high, reason = value, value, ""  # the change alters no ranking
    return Row(name, about, value, low, high, images, reason=reason)


def unasked(name: str, about: str, reason: str) -> Row:
    """Return a row that is not applicable, and why."""
    return Row(name, about, reason=f"not applicable: {reason}")


def names_of(rows: Sequence[Row], sign: Verdict) -> str:
    """Return the names of the rows with a sign, joined for a sentence."""
    return ", ".join(row.name for row in rows if row.sign == sign)

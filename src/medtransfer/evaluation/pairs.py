"""Differences between pairs of cells on the same images, as rows, and their tests."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.evaluation.cells import Cell, Cells, Key, Row
from medtransfer.evaluation.checks import Floats
from medtransfer.evaluation.claims import combine, require_alike
from medtransfer.evaluation.compare import DelongTest, delong_test, holm, smallest_detectable_difference
from medtransfer.evaluation.summary import Sample, brief, drawn_means

Pair = tuple[Key, Key]


def differences(
    cells: Cells, pairs: Iterable[Pair], metrics: Sequence[str], *, seed: int, relative: bool = False
) -> list[Row]:
    """Return first − second for pairs of cells that were both run; with ``relative`` as a share of the second.

    One row per pair and metric: ``variant, condition, variant_b, condition_b, metric`` and the numbers.

    Raises:
        DataError: the cells of a pair differ in their seeds or images.
    """
    return [
        {"variant": a[0], "condition": a[1], "variant_b": b[0], "condition_b": b[1], "metric": metric}
        | brief(_difference(cells, (a, b), metric, relative=relative), seed=seed)
        for a, b in pairs
        if a in cells and b in cells and a != b
        for metric in metrics
    ]


def paired_tests(cells: Cells, pairs: Iterable[Pair], metrics: Sequence[str], *, seed: int) -> list[Row]:
    """Return the rows of :func:`differences` with ``p``, ``p_holm`` (over all pairs of a metric) and ``test``.

    AUROC of one output: DeLong's test of scores averaged over seeds, with the variance of whole patients. Otherwise the
    two-sided p that inverts the percentile interval: twice the smaller share of resamples on one side of zero (Davison
    & Hinkley 1997, section 4.4), with 1 added to numerator and denominator so that it is never 0.
    """
    rows = differences(cells, pairs, metrics, seed=seed)
    for row in rows:
        a, b = (row["variant"], row["condition"]), (row["variant_b"], row["condition_b"])
        if row["metric"] == "auroc" and len(cells[a].outputs) == 1:
            row["p"], row["test"] = delong(cells[a], cells[b]).p, "DeLong"
        else:
            resampled = drawn_means(_difference(cells, (a, b), row["metric"], relative=False), seed=seed)
            row["p"], row["test"] = bootstrap_p(resampled), "bootstrap"
    for metric in metrics:
        same = [row for row in rows if row["metric"] == metric]
        for row, adjusted in zip(same, holm([row["p"] for row in same]), strict=True):
            row["p_holm"] = float(adjusted)
    return rows


def delong(first: Cell, second: Cell) -> DelongTest:
    """Test whether two cells of one output have the same AUROC: scores averaged over seeds, variance of whole patients.

    Raises:
        DataError: the cells differ in their images or seeds.
    """
    return delong_test(*_averaged(first, second))


def detectable(first: Cell, second: Cell) -> float:
    """Return the smallest true difference in AUROC that these images could detect (``smallest_detectable_difference``).

    Raises:
        DataError: the cells differ in their images or seeds.
    """
    return smallest_detectable_difference(*_averaged(first, second))


def bootstrap_p(resampled: ArrayLike) -> float:
    """Return the two-sided p of resampled differences ``[draws]`` against zero; NaN if none is defined."""
    valid = np.asarray(resampled, np.float64)
    valid = valid[~np.isnan(valid)]
    if not valid.size:
        return float("nan")
    side = min((valid <= 0).sum(), (valid >= 0).sum())
    return float(min(1.0, 2 * (1 + side) / (1 + valid.size)))


def _averaged(first: Cell, second: Cell) -> tuple[ArrayLike, ArrayLike, ArrayLike, ArrayLike]:
    """Return target, both cells' scores averaged over seeds, and patients, ``[known images]`` each."""
    require_alike([first, second])
    target, scores, patients = first.column(first.outputs[0])
    return target, scores.mean(0), second.column(second.outputs[0])[1].mean(0), patients


def _difference(cells: Cells, pair: Pair, metric: str, *, relative: bool) -> Sample:
    one = combine({pair[0]: 1.0, pair[1]: -1.0}, cells, metric)
    if not relative:
        return one
    base = cells[pair[1]].samples[metric]
    return Sample(_share(one.points, base.points), _share(one.values, base.values), one.reason)


def _share(part: Floats, whole: Floats) -> Floats:
    """Return part ÷ whole, NaN where the whole is 0 or undefined."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)

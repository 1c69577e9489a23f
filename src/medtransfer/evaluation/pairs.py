"""Differences between pairs of cells on the same images, as rows, and their tests."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from medtransfer.evaluation.cells import Cell, Cells, Key, Row
from medtransfer.evaluation.checks import Floats
from medtransfer.evaluation.claims import combine, require_alike
from medtransfer.evaluation.compare import DelongTest, delong_test, holm, smallest_detectable_difference
from medtransfer.evaluation.summary import Sample, brief

Pair = tuple[Key, Key]


def differences(cells: Cells, pairs: Iterable[Pair], metrics: Sequence[str], *, relative: bool = False) -> list[Row]:
    """Return first − second for pairs of cells that were both run; with ``relative`` as a share of the second.

    One row per pair and metric: ``variant, condition, variant_b, condition_b, metric`` and the numbers.

    Raises:
        DataError: the cells of a pair differ in their seeds or images.
    """
    return [
        {"variant": a[0], "condition": a[1], "variant_b": b[0], "condition_b": b[1], "metric": metric}
        | brief(_difference(cells, (a, b), metric, relative=relative))
        for a, b in pairs
        if a in cells and b in cells and a != b
        for metric in metrics
    ]


def paired_tests(cells: Cells, pairs: Iterable[Pair], metrics: Sequence[str]) -> list[Row]:
    """Return the rows of :func:`differences` with ``p``, ``p_holm`` and ``p_images``, each NaN where it does not exist.

    ``p`` belongs to the interval over patients and seeds: with one seed there is none. ``p_holm`` is adjusted over all
    pairs of a metric. ``p_images`` is that of DeLong's test for AUROC of one output: scores averaged over seeds, with
    the variance of whole patients. It holds no chance in training.
    """
    rows = differences(cells, pairs, metrics)
    for row in rows:
        a, b = (row["variant"], row["condition"]), (row["variant_b"], row["condition_b"])
        one = _difference(cells, (a, b), row["metric"], relative=False)
        known = len(one.points) > 1 and row["mean"] is not None and row["low"] is not None
        row["p"] = one.chance().p(row["mean"]) if known else math.nan
        tested = row["metric"] == "auroc" and len(cells[a].outputs) == 1
        row["p_images"] = delong(cells[a], cells[b]).p if tested else math.nan
    for metric in metrics:
        same = [row for row in rows if row["metric"] == metric]
        for row, adjusted in zip(same, holm([row["p"] for row in same]), strict=True):
            row["p_holm"] = float(adjusted)
    return rows


def delong(first: Cell, second: Cell) -> DelongTest:
    """Test whether two cells of one output have the same AUROC: scores averaged over seeds, variance of whole patients.

    Variance, z and p are NaN where patients are not known.

    Raises:
        DataError: the cells differ in their images or seeds.
    """
    target, a, b, patients = _averaged(first, second)
    if first.patient_count is None:
        return replace(delong_test(target, a, b), variance=math.nan, z=math.nan, p=math.nan)
    return delong_test(target, a, b, patients)


def detectable(first: Cell, second: Cell) -> float:
    """Return the smallest true difference in AUROC that these images could detect (``smallest_detectable_difference``).

    NaN where patients are not known.

    Raises:
        DataError: the cells differ in their images or seeds.
    """
    if first.patient_count is None:
        return math.nan
    return smallest_detectable_difference(*_averaged(first, second))


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
    points, values = _share(one.points, base.points), _share(one.values, base.values)
    return replace(one, points=points, values=values)


def _share(part: Floats, whole: Floats) -> Floats:
    """Return part ÷ whole, NaN where the whole is 0 or undefined."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)

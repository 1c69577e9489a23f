"""What every table and figure of the study is made of: values of variants and differences of pairs, as rows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.evaluation.binary import auprc_trapezoid
from medtransfer.evaluation.checks import Floats
from medtransfer.evaluation.compare import delong_test, holm
from medtransfer.evaluation.contrasts import combine, difference
from medtransfer.evaluation.predictions import validate_predictions
from medtransfer.evaluation.scorecard import EvaluationConfig, Fits, align
from medtransfer.evaluation.summary import Sample, brief, drawn_means
from medtransfer.studies.truncated_transfer.claims import METRICS, Key, Measured, claims, measure, measured_outputs
from medtransfer.studies.truncated_transfer.config import Condition, TruncatedTransferConfig

Pair = tuple[Key, Key]
Row = dict[str, Any]
"""One metric of a variant on a condition, or of a pair: names, ``mean, sd, low, high, low_seeds, high_seeds``."""


@dataclass(frozen=True)
class Results:
    """The test results of a study.

    ``measured``: metric → (variant, condition) → sample; ``fits``: (variant, condition) → scores and targets.
    """

    config: TruncatedTransferConfig
    settings: EvaluationConfig
    measured: Measured
    fits: Mapping[Key, Fits]

    @property
    def conditions(self) -> list[Condition]:
        """The conditions that any variant was tested on, in the order of the study."""
        tested = {condition for _, condition in self.fits}
        return [condition for condition in self.config.conditions() if condition in tested]


def results(predictions: pd.DataFrame, config: TruncatedTransferConfig, settings: EvaluationConfig) -> Results:
    """Measure every variant on every condition of a predictions table.

    Raises:
        DataError: the table is not valid, or a seed lacks an image.
    """
    table = validate_predictions(predictions)
    parts = dict(tuple(table[table["split"] == "test"].groupby("variant")))
    wanted = [(variant, condition) for condition in config.conditions() for variant in config.variants]
    names = {(variant, condition): f"{variant}-{condition.name}" for variant, condition in wanted}
    found = {key: parts[name] for key, name in names.items() if name in parts}
    fits = {key: align(rows, sorted(set(rows["output"]))) for key, rows in found.items()}
    return Results(config, settings, measure(table, config, settings), fits)


def values(found: Results) -> list[Row]:
    """Return a row a condition, variant and metric: ``variant, condition, metric`` and the numbers."""
    return [
        {"variant": variant, "condition": condition, "metric": metric}
        | brief(found.measured[metric][variant, condition], seed=found.settings.seed)
        for variant, condition in found.fits
        for metric in METRICS
    ]


def trapezoids(found: Results) -> dict[Key, tuple[float, float | None]]:
    """Return mean and sd over seeds of AUPRC by the trapezoid, of several outputs the mean."""
    result = {}
    for key, fits in found.fits.items():
        negatives = found.config.neg_pos_ratio(key[1])
        points = np.mean([_of_output(fits, column, negatives) for column in measured_outputs(fits)], axis=0)
        result[key] = (float(points.mean()), float(points.std(ddof=1)) if len(points) > 1 else None)
    return result


def pairs(config: TruncatedTransferConfig, claim: str) -> list[Pair]:
    """Return the pairs of (variant, condition) that a claim subtracts: ``a1``, ``b`` or ``b_transfusion``."""
    found: list[Pair] = []
    for one in claims(config):
        if one.key == claim:
            first = [key for key, weight in one.contrast.items() if weight > 0]
            second = [key for key, weight in one.contrast.items() if weight < 0]
            found += zip(first, second, strict=True)
    return found


def differences(found: Results, wanted: Iterable[Pair], *, relative: bool = False) -> list[Row]:
    """Return first − second of pairs that were both tested, as shares of the second with ``relative``.

    A row a pair and metric: ``variant, variant_b, condition, metric`` and the numbers; seeds and resamples are shared.
    """
    return [
        {"variant": a[0], "variant_b": b[0], "condition": a[1], "metric": metric}
        | brief(_difference(found.measured[metric], (a, b), relative=relative), seed=found.settings.seed)
        for a, b in wanted
        if a in found.fits and b in found.fits
        for metric in METRICS
    ]


def paired_tests(found: Results, wanted: Iterable[Pair]) -> list[Row]:
    """Return the rows of :func:`differences` with ``p``, ``p_holm`` (over all pairs of a metric) and ``test``.

    AUROC of one output: DeLong's test of scores averaged over seeds, the variance that of whole patients. Otherwise the
    two-sided p that inverts the percentile interval: twice the smaller share of resamples on one side of zero (Davison
    & Hinkley 1997, section 4.4), +1 in numerator and denominator, so that it is never 0.
    """
    rows = differences(found, wanted)
    for row in rows:
        row["p"], row["test"] = _p(
            found, (row["variant"], row["condition"]), (row["variant_b"], row["condition"]), row["metric"]
        )
    for metric in METRICS:
        same = [row for row in rows if row["metric"] == metric]
        for row, adjusted in zip(same, holm([row["p"] for row in same]), strict=True):
            row["p_holm"] = float(adjusted)
    return rows


def by_pair(rows: Iterable[Row]) -> list[tuple[Row, ...]]:
    """Return the rows of every pair of variants on a condition together, one a metric."""
    return list(zip(*[iter(rows)] * len(METRICS), strict=True))


def _difference(samples: Mapping[Key, Sample], pair: Pair, *, relative: bool) -> Sample:
    one = combine(difference({pair[0]: 1.0}, {pair[1]: 1.0}), samples)
    if not relative:
        return one
    base = samples[pair[1]]
    return Sample(_share(one.points, base.points), _share(one.values, base.values), one.reason)


def _share(part: Floats, whole: Floats) -> Floats:
    """Return part ÷ whole, NaN where the whole is 0 or not defined."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def _p(found: Results, a: Key, b: Key, metric: str) -> tuple[float, str]:
    first, second = found.fits[a], found.fits[b]
    if metric == "auroc" and len(first.outputs) == 1:
        known = ~np.isnan(first.target[:, 0])
        one, other = (fits.scores[:, known, 0].mean(0) for fits in (first, second))
        return delong_test(first.target[known, 0], one, other, groups=first.patients[known]).p, "DeLong"
    paired = _difference(found.measured[metric], (a, b), relative=False)
    return bootstrap_p(drawn_means(paired, seed=found.settings.seed)), "bootstrap"


def bootstrap_p(drawn: Any) -> float:
    """Return the two-sided p of resampled differences ``[draws]`` against zero; NaN where none is defined."""
    valid = np.asarray(drawn, np.float64)
    valid = valid[~np.isnan(valid)]
    if not valid.size:
        return float("nan")
    side = min((valid <= 0).sum(), (valid >= 0).sum())
    return float(min(1.0, 2 * (1 + side) / (1 + valid.size)))


def _of_output(fits: Fits, column: int, negatives: float | None) -> list[float]:
    known = ~np.isnan(fits.target[:, column])
    target = fits.target[known, column]
    return [auprc_trapezoid(target, scores[known, column], negatives=negatives) for scores in fits.scores]

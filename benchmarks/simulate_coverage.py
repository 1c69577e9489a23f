"""How often 95 % intervals of test metrics cover the truth, by method, metric and number of patients.

Two networks score patients of 1 to 8 images each. Scores are normal, shifted where a patient is ill, correlated by 0.5
between images of a patient and by 0.5 between the networks. The numbers of ill and well patients are fixed, 1 : 1 or
1 : 16. The first network has the AUROC of the row, the second 0.05 less; metrics with a threshold take the one that is
best for balanced classes. Whole patients are resampled, ill and well ones apart. The truth is that of infinitely many
images.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from coverage_table import read, write
from scipy.sparse import csr_matrix
from scipy.special import expit, logit, ndtr, ndtri, stdtrit

from medtransfer.evaluation.intervals import patient_counts
from medtransfer.evaluation.summary import AUPRC, AUPRC_AT_BALANCE, AUROC, USUAL, Sample

Floats = np.ndarray
Values = dict[str, tuple[Floats, Floats | None]]
"""Metric → value ``[draws]`` and influence of each patient ``[patients, draws]``."""
PATIENTS, BALANCES, AUROCS = (20, 30, 50, 100, 200), (1, 16), (0.6, 0.76, 0.9, 0.97)
GAP, CORRELATION, WEIGHT, AT_16 = 0.05, 0.5, 16, "auprc at 1:16"
DRAWS, PIECE, STUDENTISED = 400, 50, 250
"""Resamples; repetitions that are saved together; repetitions that have the slow bootstrap-t."""
TAILS = np.array([0.025, 0.975])


class Network:
    """The scores of one network, prepared for all draws of patients; the first patients are ill."""

    def __init__(self, target: Floats, patient: Floats, score: Floats, threshold: float, *, weighted: bool) -> None:
        rows, others = np.flatnonzero(target), np.flatnonzero(~target)
        rows = rows[np.argsort(-score[rows])]
        self.owner, self.ill, self.weighted = patient[rows], int(patient[rows].max()) + 1, weighted
        count, place = int(patient.max()) + 1, np.searchsorted(-score[rows], -score[others])
        alarms = (np.ones(len(others)), (place, patient[others] - self.ill))
        self.alarms = csr_matrix(alarms, shape=(len(rows) + 1, count - self.ill))
        owned = (np.ones(len(rows)), (self.owner, np.arange(len(rows))))
        self.owned = csr_matrix(owned, shape=(self.ill, len(rows)))
        called, hit, all_ = score >= threshold, (score >= threshold) & target, np.ones(len(score))
        parts = {"accuracy": (called == target, all_), "f1": (2.0 * hit, 1.0 * called + target)}
        parts |= {"sensitivity": (hit, target)}
        self.ratios = {name: [np.bincount(patient, part, count) for part in pair] for name, pair in parts.items()}

    def metrics(self, counts: Floats, *, influence: bool) -> Values:
        """Return every metric of every draw, ``counts`` ``[patients, draws]``."""
        weight, alarm = counts[: self.ill][self.owner], self.alarms @ counts[self.ill :]
        hits, alarms = weight.cumsum(0), alarm.cumsum(0)
        p, n, alarms = hits[-1], alarms[-1], alarms[:-1]
        auroc = 1 - (weight * alarms).sum(0) / (p * n)
        values: Values = {"auroc": (auroc, None)}
        if influence:
            below = np.vstack([np.zeros_like(p), hits / p])
            values["auroc"] = (auroc, self._by_patient((1 - alarms / n - auroc) / p, (below - auroc) / n))
        values["auprc"] = self._precision(hits, alarms, weight, p, influence=influence)
        if self.weighted:
            values[AT_16] = self._precision(hits / p, WEIGHT * alarms / n, weight / p, p, n, influence=influence)
        for name, (above, below) in self.ratios.items():
            total = below @ counts
            value = above @ counts / total
            values[name] = (value, (above[:, None] - value * below[:, None]) / total if influence else None)
        return values

    def _precision(
        self, hits: Floats, alarms: Floats, weight: Floats, p: Floats, n: Floats | None = None, *, influence: bool
    ) -> tuple[Floats, Floats | None]:
        """Return average precision; with ``n``, classes have a given balance, whatever was drawn of them."""
        total = np.maximum(hits + alarms, 1e-100)
        precision = hits / total
        value = (weight * precision).sum(0) / (p if n is None else 1.0)
        if not influence:
            return value, None
        more, less = weight * alarms / total**2, weight * hits / total**2
        after = [np.vstack([part[::-1].cumsum(0)[::-1], np.zeros_like(p)]) for part in (more, less)]
        if n is None:
            return value, self._by_patient((precision - value + after[0][:-1]) / p, -after[1] / p)
        positive = (precision - value + after[0][:-1] - (more * hits).sum(0)) / p
        negative = (-WEIGHT * after[1] + (less * alarms).sum(0)) / n
        return value, self._by_patient(positive, negative)

    def _by_patient(self, rows: Floats, segments: Floats) -> Floats:
        return np.vstack([self.owned @ rows, self.alarms.T @ segments])


def variance(influence: Floats, counts: Floats, ill: int) -> tuple[Floats, Floats]:
    """Return the variance that patients make, the classes apart, and its degrees of freedom, ``[draws]``."""
    parts, sizes = [], []
    for own in (slice(None, ill), slice(ill, None)):
        weight, size = counts[own], counts[own].sum(0)
        deviation = influence[own] - (weight * influence[own]).sum(0) / size
        parts.append((weight * deviation**2).sum(0) * size / (size - 1))
        sizes.append(size - 1)
    total = np.maximum(parts[0] + parts[1], 1e-300)
    return total, total**2 / np.maximum(parts[0] ** 2 / sizes[0] + parts[1] ** 2 / sizes[1], 1e-300)


@cache
def truth(auroc: float, balance: int) -> dict[str, float]:
    """Return the metrics of infinitely many images."""
    shift = float(np.sqrt(2) * ndtri(auroc))
    limits = np.linspace(-9, 9 + shift, 200_001)
    hits = ndtr(shift - limits)

    def average_precision(ratio: int) -> float:
        precision = hits / (hits + ratio * ndtr(-limits) + 1e-300)
        return float(-(np.diff(hits) * (precision[1:] + precision[:-1]) / 2).sum())

    right, wrong = float(ndtr(shift / 2)), float(ndtr(-shift / 2))
    values = {"auroc": auroc, "auprc": average_precision(balance), AT_16: average_precision(WEIGHT)}
    return values | {"accuracy": right, "f1": 2 * right / (right + balance * wrong + 1), "sensitivity": right}


def study(
    rng: np.random.Generator, ill: int, well: int, aurocs: tuple[float, float], *, weighted: bool
) -> list[Network]:
    """Draw the images of a test set and the scores of two networks."""
    size = rng.integers(1, 9, ill + well)
    patient = np.repeat(np.arange(ill + well), size)
    target = patient < ill

    def field(count: int) -> Floats:
        own = np.sqrt(1 - CORRELATION) * rng.standard_normal((count, len(patient)))
        return np.asarray(own + np.sqrt(CORRELATION) * rng.standard_normal((count, len(size)))[:, patient])

    noise, shifts = np.sqrt(CORRELATION) * field(1) + np.sqrt(1 - CORRELATION) * field(2), np.sqrt(2) * ndtri(aurocs)
    scores = noise + shifts[:, None] * target
    return [Network(target, patient, s, c / 2, weighted=weighted) for s, c in zip(scores, shifts, strict=True)]


def covered(
    setting: tuple[int, int, float], rng: np.random.Generator, *, studentised: bool
) -> Iterator[tuple[Any, ...]]:
    """Yield (metric, of, method), whether its interval of one study covers the truth, and its width."""
    balance, ill, auroc = setting
    well, aurocs = ill * balance, (auroc, auroc - GAP)
    networks = study(rng, ill, well, aurocs, weighted=balance == 1)
    strata = np.repeat([0, 1], [ill, well])
    seed = int(rng.integers(2**31))
    counts = np.concatenate(list(patient_counts(strata, draws=DRAWS, seed=seed)), axis=1)
    whole = np.ones((ill + well, 1))
    points = [one.metrics(whole, influence=True) for one in networks]
    drawn = [one.metrics(counts, influence=studentised) for one in networks]
    for metric in points[0]:
        for of, signs in (("alone", (1, 0)), ("difference", (1, -1))):
            value, values = (combined([part[metric][0] for part in parts], signs) for parts in (points, drawn))
            target = sum(sign * truth(one, balance)[metric] for sign, one in zip(signs, aurocs, strict=True))
            influence = combined([part[metric][1] for part in points], signs)
            changes = [part[metric][1] for part in drawn]
            errors = variance(combined(changes, signs), counts, ill)[0] if studentised else None
            bounds = intervals(metric, float(value[0]), values, influence, errors, whole, ill, alone=of == "alone")
            for method, (low, high) in bounds.items():
                yield (metric, of, method), bool(low <= target <= high), float(high - low)


def combined(parts: list[Any], signs: tuple[int, int]) -> Floats:
    """Return a value of the first network, or the difference of both."""
    return np.asarray(parts[0] if not signs[1] else parts[0] - parts[1])


def intervals(
    metric: str,
    value: float,
    values: Floats,
    influence: Floats,
    errors: Floats | None,
    whole: Floats,
    ill: int,
    *,
    alone: bool,
) -> dict[str, tuple[float, float]]:
    """Return the interval of every method; ``errors`` are the variances of the draws."""
    (own,), (freedom,) = variance(influence, whole, ill)
    flat = influence[:, 0]
    skew = (flat**3).sum() / 6 / max((flat**2).sum(), 1e-30) ** 1.5
    middle = ndtri(
        np.clip((values < value).mean() + (values == value).mean() / 2, 0.5 / len(values), 1 - 0.5 / len(values))
    )
    shifted = middle + ndtri(TAILS)
    places = np.clip(np.nan_to_num(ndtr(middle + shifted / (1 - skew * shifted)), nan=0.5), 0, 1)
    result = {"percentile": np.quantile(values, TAILS), "BCa": np.quantile(values, places)}
    half = float(stdtrit(max(freedom, 1), TAILS[1])) * np.sqrt(own)
    if alone and 0 < value < 1:
        half /= value * (1 - value)
        result["linearised variance"] = expit(logit(value) + half * np.array([-1, 1]))
    else:
        result["linearised variance"] = value + half * np.array([-1, 1])
    if errors is not None:
        ratios = np.quantile(
            np.divide(values - value, np.sqrt(errors), where=errors > 1e-200, out=np.zeros_like(values)), TAILS
        )
        result["bootstrap-t"] = value - ratios[::-1] * np.sqrt(own)
    patients = (ill, len(whole) - ill)
    rules = {"auroc": AUROC, "auprc": AUPRC, AT_16: AUPRC_AT_BALANCE}.get(metric, USUAL)
    sample = Sample(np.array([value]), values[None], "", patients, USUAL, contrast=not alone)
    result["bootstrap variance"] = sample.bounds(level=0.95)
    result["in use"] = replace(sample, rules=rules).bounds(level=0.95)
    return {name: (float(low), float(high)) for name, (low, high) in result.items()}


def run(setting: tuple[int, int, float], piece: int, *, studentised: bool) -> dict[tuple[Any, ...], tuple[int, float]]:
    """Return (metric, of, method) → covered, sum of widths, of the repetitions of one piece."""
    balance, ill, auroc = setting
    rng = np.random.default_rng([balance, ill, round(1000 * auroc), piece])
    sums: dict[tuple[Any, ...], tuple[int, float]] = {}
    for _ in range(PIECE):
        for key, hit, width in covered(setting, rng, studentised=studentised):
            before = sums.get(key, (0, 0.0))
            sums[key] = (before[0] + hit, before[1] + width)
    return sums


def main() -> None:
    """Add repetitions until every setting has as many as asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("repetitions", type=int, nargs="?", default=2000)
    parser.add_argument("--patients", type=int, nargs="*", default=PATIENTS)
    parser.add_argument("--balances", type=int, nargs="*", default=BALANCES)
    asked = parser.parse_args()
    settings = [(b, p, a) for p in asked.patients for b in asked.balances for a in AUROCS]
    for setting in settings:
        while (
            done := max((row[0] for key, row in read().items() if key[:3] == setting), default=0)
        ) < asked.repetitions:
            sums = run(setting, done // PIECE, studentised=done < STUDENTISED)
            write({(*setting, *key): (PIECE, *part) for key, part in sums.items()}, " ".join(str(__doc__).split()))


if __name__ == "__main__":
    main()

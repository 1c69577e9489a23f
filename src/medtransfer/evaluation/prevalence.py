"""What a fixed threshold means where the disease is rarer: predictive values, predicted negatives, net benefit."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.calibration import at_temperature, fit_temperature
from medtransfer.evaluation.checks import Floats, binary_rows
from medtransfer.evaluation.thresholds import Rule, choose_threshold, known_validation_rows

PREVALENCES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)
CUTS = tuple(number / 100 for number in range(1, 100))
"""Probabilities at which a decision curve is computed."""


@dataclass(frozen=True)
class AtPrevalence:
    """What is expected at one prevalence, and what cohorts of this size give by chance.

    Attributes:
        prevalence: share of the cohort that has the disease.
        npv, negatives: negative predictive value and share of predicted negatives, in closed form.
        npv_low, npv_high: percentiles of simulated cohorts; NaN where no cohort has a predicted negative.
        negatives_low, negatives_high: the same of predicted negatives.
        npv_mean, negatives_mean: means of the simulated cohorts.
    """

    prevalence: float
    npv: float
    negatives: float
    npv_mean: float
    npv_low: float
    npv_high: float
    negatives_mean: float
    negatives_low: float
    negatives_high: float


@dataclass(frozen=True)
class OverPrevalence:
    """One output of one fit at a threshold that was fixed on validation rows.

    Attributes:
        threshold: a row is called positive when its score is at least this.
        temperature: of the probabilities of the decision curve, fitted on the same validation rows.
        sensitivity, specificity: of the evaluated rows.
        own: share of positive rows among them.
        points: one per prevalence, in rising order.
        curve: net benefit at the rows' own prevalence, see :func:`decision_curve`.
    """

    threshold: float
    temperature: float
    sensitivity: float
    specificity: float
    own: float
    points: tuple[AtPrevalence, ...]
    curve: Mapping[str, Floats]

    def table(self) -> pd.DataFrame:
        """Return one row per prevalence: the fields of ``AtPrevalence``, and the operating point in each row."""
        point = {name: getattr(self, name) for name in ("threshold", "sensitivity", "specificity")}
        return pd.DataFrame([asdict(one) | point for one in self.points])


def over_prevalence(
    validation: pd.DataFrame,
    rows: pd.DataFrame,
    *,
    rule: Rule = "sensitivity_80",
    prevalences: Sequence[float] = PREVALENCES,
    draws: int = 1000,
    seed: int = 0,
) -> OverPrevalence:
    """Fix threshold and temperature on validation rows and return what they give on other rows over prevalence.

    Args:
        validation: validation rows of the predictions table, of one fit and one output.
        rows: rows to evaluate, of the same fit and output; those without a known target do not count.
        rule: how the threshold is chosen.
        prevalences: from 0 to 1; the rows' own is added.
        draws: simulated cohorts.
        seed: of the cohorts.

    Raises:
        ConfigError: see :func:`simulate_prevalence`.
        DataError: validation holds other rows, either table lacks a class, or a score is no probability.
    """
    fixed, known = known_validation_rows("prevalence", validation), rows[rows["target"].notna()]
    threshold = choose_threshold(rule, fixed["target"], fixed["score"])
    temperature = fit_temperature(fixed["target"], fixed["score"])
    target, score = known["target"].to_numpy(), known["score"].to_numpy()
    sensitivity, specificity, _ = _shares(target, score, threshold)
    own = float(target.mean())
    shares = sorted({*prevalences, own})
    return OverPrevalence(
        threshold,
        temperature,
        sensitivity,
        specificity,
        own,
        simulate_prevalence(target, score, threshold=threshold, prevalences=shares, draws=draws, seed=seed),
        decision_curve(target, at_temperature(score, temperature), CUTS),
    )


def negative_predictive_value(sensitivity: float, specificity: float, prevalence: float) -> float:
    """Return ``sp(1−π) / (sp(1−π) + (1−se)π)``, NaN where nothing is called negative."""
    right, wrong = specificity * (1 - prevalence), (1 - sensitivity) * prevalence
    return right / (right + wrong) if right + wrong else float("nan")


def predicted_negatives(sensitivity: float, specificity: float, prevalence: float) -> float:
    """Return the share that is called negative, ``sp(1−π) + (1−se)π``."""
    return specificity * (1 - prevalence) + (1 - sensitivity) * prevalence


def simulate_prevalence(
    target: ArrayLike,
    score: ArrayLike,
    *,
    threshold: float,
    prevalences: Sequence[float],
    draws: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[AtPrevalence, ...]:
    """Return what a threshold gives at other prevalences, by closed form and by the bootstrap of Park et al. 2022.

    A cohort has as many rows as there are here, ``round(πN)`` of them drawn with replacement from the positive rows,
    the others from the negative ones. How many of these are called positive is binomial, so that no row need be drawn.
    Rows count as independent, also those of one patient.

    Args:
        target: ``[rows]`` of 0 and 1.
        score: ``[rows]``; a row is called positive when ``score >= threshold``.
        threshold: fixed before, on validation rows.
        prevalences: from 0 to 1.
        draws: cohorts.
        level: coverage of the percentiles.
        seed: of the draws.

    Raises:
        ConfigError: a prevalence is not from 0 to 1, or there is no draw.
        DataError: a class has no row.
    """
    if draws < 1 or any(not 0 <= one <= 1 for one in prevalences):
        raise ConfigError(f"prevalence: {draws} draws at {list(prevalences)}, expected 1 or more at shares from 0 to 1")
    sensitivity, specificity, count = _shares(target, score, threshold)
    results = []
    for place, prevalence in enumerate(prevalences):
        generator = np.random.default_rng([seed, place])
        positives = round(prevalence * count)
        missed = generator.binomial(positives, 1 - sensitivity, draws)
        right = generator.binomial(count - positives, specificity, draws)
        called = missed + right
        share = called / count
        values = right[called > 0] / called[called > 0]
        results.append(
            AtPrevalence(
                prevalence,
                negative_predictive_value(sensitivity, specificity, prevalence),
                predicted_negatives(sensitivity, specificity, prevalence),
                *_summary(values, level),
                *_summary(share, level),
            )
        )
    return tuple(results)


def decision_curve(
    target: ArrayLike, score: ArrayLike, thresholds: ArrayLike, *, prevalence: float | None = None
) -> dict[str, Floats]:
    """Return the net benefit ``π·se − (1−π)(1−sp)·t/(1−t)`` at probabilities ``t`` (Vickers & Elkin 2006).

    Args:
        target: ``[rows]`` of 0 and 1.
        score: calibrated probability, ``[rows]``.
        thresholds: probabilities ``t`` from 0 to below 1 at which one would act.
        prevalence: ``π``; that of these rows when not given.

    Returns:
        ``threshold``, ``model``, and for comparison ``all`` (everyone is called positive) and ``none`` (0), each
        ``[thresholds]``.

    Raises:
        ConfigError: a threshold is not a probability below 1. DataError: a class has no row.
    """
    cuts = np.asarray(thresholds, np.float64)
    if cuts.ndim != 1 or (cuts < 0).any() or (cuts >= 1).any():
        raise ConfigError("decision curve: expected a list of thresholds from 0 to below 1")
    truth, _ = binary_rows(target, score)
    shares = np.array([_shares(target, score, cut)[:2] for cut in cuts]).reshape(-1, 2)
    share = float(truth.mean()) if prevalence is None else prevalence
    harm = (1 - share) * cuts / (1 - cuts)
    model = share * shares[:, 0] - (1 - shares[:, 1]) * harm
    return {"threshold": cuts, "model": model, "all": share - harm, "none": np.zeros(len(cuts))}


def _shares(target: ArrayLike, score: ArrayLike, threshold: float) -> tuple[float, float, int]:
    """Return sensitivity, specificity and the number of rows."""
    truth, scores = binary_rows(target, score)
    if truth.all() or not truth.any():
        raise DataError(f"prevalence: {truth.sum()} of {len(truth)} rows are positive, expected rows of both classes")
    called = scores >= threshold
    return float(called[truth].mean()), float((~called[~truth]).mean()), len(truth)


def _summary(values: Floats, level: float) -> tuple[float, float, float]:
    """Return mean and percentiles, NaN of nothing."""
    if not values.size:
        return (float("nan"),) * 3
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(values.mean()), float(low), float(high)

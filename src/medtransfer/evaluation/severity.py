"""The severity score of Park et al. 2022: how many of six lung zones are affected, and how far readers disagree."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from medtransfer.errors import DataError
from medtransfer.evaluation.cells import VALUES
from medtransfer.evaluation.checks import Floats
from medtransfer.evaluation.intervals import Interval
from medtransfer.evaluation.predictions import KEY
from medtransfer.evaluation.summary import patient_interval

ZONES = 6


def severity_score(zones: ArrayLike, *, threshold: float | None = 0.5) -> Floats:
    """Return the score 0–6 of images ``[rows]``: the number of zones at or above the threshold (P-12).

    Args:
        zones: severity of each zone from 0 to 1, ``[rows, 6]``; NaN in a zone leaves the score unknown, NaN.
        threshold: ``None`` sums the severities themselves.

    Raises:
        DataError: the shape is another, or a severity is not from 0 to 1.
    """
    values = np.asarray(zones, np.float64)
    if values.ndim != 2 or values.shape[1] != ZONES or (values < 0).any() or (values > 1).any():
        raise DataError(f"severity: shape {values.shape}, expected [rows, {ZONES}] of numbers from 0 to 1")
    counted = values if threshold is None else np.where(np.isnan(values), np.nan, values >= threshold)
    score: Floats = counted.sum(1)
    return score


def score_rows(zones: pd.DataFrame, *, threshold: float | None = 0.5) -> pd.DataFrame:
    """Return one row per image of the predictions table, output ``score``, from the rows of its six zones.

    Args:
        zones: rows of one head of severities from 0 to 1; images with fewer known zones have no known target.
        threshold: as for ``severity_score``; targets are sums of 0 and 1 anyway.

    Raises:
        DataError: an image does not have six rows.
    """
    keys = [name for name in KEY if name != "output"]
    ordered = zones.sort_values([*keys, "output"])
    sizes = ordered.groupby(keys, sort=True, dropna=False).size()
    if (sizes != ZONES).any():
        raise DataError(
            f"severity: an image has {int(sizes[sizes != ZONES].iloc[0])} zones, expected {ZONES} rows each"
        )
    parts = {name: ordered[name].to_numpy(np.float64).reshape(-1, ZONES) for name in ("score", "target")}
    rows = ordered.iloc[::ZONES].reset_index(drop=True)
    return rows.assign(
        output="score",
        kind="value",
        score=severity_score(parts["score"], threshold=threshold),
        target=severity_score(parts["target"], threshold=0.5),
    )


def severity_card(
    target: ArrayLike, score: ArrayLike, groups: ArrayLike, *, draws: int = 1000, seed: int = 0
) -> Mapping[str, Interval]:
    """Return MSE, MAE, Pearson's correlation and R² with their intervals over patients.

    A second reader's scores are scored in the same way: the disagreement of two readers beside a model's error.

    Args:
        target: score of the reader who counts, ``[rows]``.
        score: score of the model or of another reader, ``[rows]``.
        groups: patient of each row.
        draws: resamples.
        seed: of the resamples; equal for the same patients, so that intervals compare.
    """
    return {name: patient_interval(name, target, score, groups, draws=draws, seed=seed) for name in VALUES}

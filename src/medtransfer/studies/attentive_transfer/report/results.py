"""Networks × chains × data sets measured once: every table and comparison is arithmetic on these cells.

All cells of a data set share their patient resamples, so the difference of two cells is a paired comparison.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from medtransfer.config import Config
from medtransfer.errors import DataError
from medtransfer.evaluation.binary import auroc
from medtransfer.evaluation.checks import Floats
from medtransfer.evaluation.contrasts import combine, difference
from medtransfer.evaluation.predictions import ATTENTION_OFF, validate_predictions
from medtransfer.evaluation.scorecard import align
from medtransfer.evaluation.summary import Sample, brief, sample
from medtransfer.evaluation.thresholds import Rule, threshold_from_validation
from medtransfer.studies.attentive_transfer.paper.values import Cell

METRICS = ("accuracy", "f1", "auroc")
INACTIVE_BELOW = 0.01
"""Largest change of a probability, on switching ATTN off, at which a row still counts as *attention inactive*."""


class ReportSettings(Config):
    """What the report shows: networks and chains in order, outside data sets, budgets, and how intervals are drawn."""

    positive: str = "covid"
    networks: tuple[str, ...]
    chains: tuple[str, ...]
    outside: tuple[str, ...] = ()
    threshold: Rule = "youden"
    pretraining_runs: int = Field(default=1, ge=1)
    budgets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Parameters ``train`` of every self-supervised method that is compared, by its step in a chain."""
    draws: int = Field(default=1000, ge=1)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Measured:
    """One network after one chain on the test images of one data set.

    ``target [images]``; ``score [images]`` is the mean over seeds; ``patient [images]`` tells whose image it is;
    ``samples`` has one entry a metric.
    """

    seeds: tuple[int, ...]
    images: int
    patients: int
    target: Floats
    patient: NDArray[np.object_]
    score: Floats
    samples: dict[str, Sample]


Grid = dict[str, dict[Cell, Measured]]
"""Data set → (network, chain) → measured; the study's own test set comes first, then the outside sets in order."""


def measure(predictions: pd.DataFrame, settings: ReportSettings) -> Grid:
    """Measure every cell that the predictions table holds; thresholds are chosen on validation rows of the same fit.

    Raises:
        DataError: the table is not valid, has no test rows, an outside set has none, or cells of one data set differ
            in their images or seeds and could not be compared.
    """
    table = validate_predictions(predictions)
    rows = table[table["output"] == settings.positive]
    test = rows[rows["split"] == "test"]
    names = [_own_test_set(test, settings), *settings.outside]
    limits = _thresholds(rows[(rows["split"] == "val") & (rows["dataset"] == names[0])], settings)
    grid = {name: _measure_set(test[test["dataset"] == name], name, limits, settings) for name in names}
    for name, cells in grid.items():
        if not cells:
            raise DataError(f"predictions table: no test row of data set {name}; predict it or leave it out of outside")
    return grid


def estimates(grid: Grid, settings: ReportSettings) -> pd.DataFrame:
    """Return one row a data set, network, chain and metric.

    Columns: ``dataset, network, chain, metric, images, patients, seeds, mean, sd, low, high, low_seeds, high_seeds``:
    ``low`` and ``high`` from drawing patients, ``…_seeds`` from drawing seeds and patients (None with one seed).
    """
    rows = [
        {"dataset": name, "network": network, "chain": chain, "metric": metric}
        | {"images": cell.images, "patients": cell.patients, "seeds": len(cell.seeds)}
        | brief(cell.samples[metric], seed=settings.seed)
        for name, cells in grid.items()
        for (network, chain), cell in cells.items()
        for metric in METRICS
    ]
    return pd.DataFrame(rows)


def paired(
    cells: Mapping[Cell, Measured], pairs: Sequence[tuple[Cell, Cell]], settings: ReportSettings
) -> pd.DataFrame:
    """Return first − second for pairs of cells, both measured; a pair with an unmeasured cell is left out.

    Columns: ``network, chain`` of the first, ``metric, mean, sd, low, high, low_seeds, high_seeds``.
    """
    rows = []
    for first, second in pairs:
        if first in cells and second in cells and first != second:
            for metric in METRICS:
                samples = {cell: cells[cell].samples[metric] for cell in (first, second)}
                found = combine(difference({first: 1.0}, {second: 1.0}), samples)
                rows.append(
                    {"network": first[0], "chain": first[1], "metric": metric} | brief(found, seed=settings.seed)
                )
    columns = ["network", "chain", "metric", "mean", "sd", "low", "high", "low_seeds", "high_seeds"]
    return pd.DataFrame(rows, columns=columns)


def attention_change(predictions: pd.DataFrame, settings: ReportSettings) -> pd.DataFrame:
    """Return how much switching the ATTN layers off changes the probabilities, and what they add to the AUROC.

    Compares the outputs ``<positive>`` and ``<positive>_attention_off`` over all images and seeds of a fit. Columns:
    ``network, chain, largest`` (change of a probability), ``mean`` and ``sd`` over seeds of the images' mean change
    (``sd`` NaN with one seed), ``auroc`` (on − off, mean over seeds, on the study's own test images), ``inactive``
    (``largest`` < 0.01).
    """
    key = ["network", "chain", "seed", "dataset", "split", "image_id"]
    on, off = (
        predictions[predictions["output"] == f"{settings.positive}{suffix}"].set_index(key)[["score", "target"]]
        for suffix in ("", ATTENTION_OFF)
    )
    on = on.loc[off.index]
    seeds = (on["score"] - off["score"]).abs().groupby(["network", "chain", "seed"]).agg(["mean", "max"])
    fits = seeds.groupby(["network", "chain"])
    change = pd.DataFrame({"largest": fits["max"].max(), "mean": fits["mean"].mean(), "sd": fits["mean"].std()})
    change["auroc"] = _mean_auroc(on, settings) - _mean_auroc(off, settings)
    return change.assign(inactive=change["largest"] < INACTIVE_BELOW).reset_index()


def _mean_auroc(rows: pd.DataFrame, settings: ReportSettings) -> pd.Series:
    """AUROC of a network after a chain on its own test images, mean over seeds."""
    own = rows.query("split == 'test' and dataset not in @settings.outside and target.notna()")
    seeds = own.groupby(["network", "chain", "seed"])
    return (
        pd.Series({fit: auroc(part["target"], part["score"]) for fit, part in seeds}, dtype=float)
        .groupby(level=[0, 1])
        .mean()
    )


def _own_test_set(test: pd.DataFrame, settings: ReportSettings) -> str:
    names = sorted(set(test["dataset"]) - set(settings.outside))
    if len(names) != 1:
        raise DataError(
            f"predictions table: output {settings.positive} has test rows of {len(names)} data sets "
            f"({', '.join(names)}) besides the outside ones, expected one; name the others in outside"
        )
    return str(names[0])


def _thresholds(validation: pd.DataFrame, settings: ReportSettings) -> dict[tuple[str, str, int], float]:
    if settings.threshold == "half":
        return {}
    fits = validation.groupby(["network", "chain", "seed"])
    return {key: threshold_from_validation(settings.threshold, part) for key, part in fits}


def _measure_set(
    rows: pd.DataFrame, name: str, limits: Mapping[tuple[str, str, int], float], settings: ReportSettings
) -> dict[Cell, Measured]:
    known = rows[rows["target"].notna()]
    _require_alike(known, name)
    parts = dict(tuple(known.groupby(["network", "chain"])))
    wanted = [(network, chain) for network in settings.networks for chain in settings.chains]
    return {cell: _measure_cell(parts[cell], limits, settings) for cell in wanted if cell in parts}


def _require_alike(rows: pd.DataFrame, name: str) -> None:
    """Refuse cells of one data set that differ in their images or seeds: their comparison would not be paired."""
    for what in ("image_id", "seed"):
        sets = {cell: frozenset(part[what]) for cell, part in rows.groupby(["network", "chain"])}
        other = next((cell for cell, found in sets.items() if found != next(iter(sets.values()))), None)
        if other is not None:
            raise DataError(
                f"predictions table: {' after '.join(other)} has other {what} values on {name} than "
                f"{' after '.join(next(iter(sets)))}, expected the same in both; predict the missing ones"
            )


def _measure_cell(
    rows: pd.DataFrame, limits: Mapping[tuple[str, str, int], float], settings: ReportSettings
) -> Measured:
    fits = align(rows, [settings.positive])
    network, chain = rows["network"].iloc[0], rows["chain"].iloc[0]
    thresholds = [_threshold(limits, (network, chain, seed), settings) for seed in fits.seeds]
    target, scores = fits.target[:, 0], fits.scores[:, :, 0]
    samples = sample(
        METRICS,
        target,
        scores,
        fits.patients,
        thresholds=thresholds,
        population=fits.patients,
        draws=settings.draws,
        seed=settings.seed,
    )
    patients = len(np.unique(fits.patients))
    return Measured(fits.seeds, len(target), patients, target, fits.patients, scores.mean(0), samples)


def _threshold(
    limits: Mapping[tuple[str, str, int], float], fit: tuple[str, str, int], settings: ReportSettings
) -> float:
    if settings.threshold == "half":
        return 0.5
    if fit not in limits:
        raise DataError(
            f"predictions table: {fit[0]} after {fit[1]}, seed {fit[2]}, has no validation row to choose a threshold "
            "on; predict its validation split or set the threshold rule to half"
        )
    return limits[fit]

"""From the predictions table to numbers: every metric of every fit with its spread over seeds and its intervals."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from medtransfer.config import Config
from medtransfer.errors import DataError
from medtransfer.evaluation.checks import Floats, UndefinedMetricWarning
from medtransfer.evaluation.intervals import Interval, percentile_interval
from medtransfer.evaluation.predictions import validate_predictions
from medtransfer.evaluation.summary import LEVEL, Sample, average, sample, summarise
from medtransfer.evaluation.thresholds import Rule, threshold_from_validation

BINARY = ("auroc", "auprc", "f1", "f1_negative", "accuracy", "sensitivity", "specificity", "brier", "ece", "mse")
MULTICLASS = ("macro_auroc", "macro_auprc", "macro_f1", "top_1", "macro_ece", "macro_mse")
VALUES = ("mse", "mae", "pearson", "r2")
FIT = ["variant", "network", "chain"]
ENTRY = [*FIT, "dataset", "split"]


class EvaluationConfig(Config):
    """How scores become numbers: threshold rule, resamples, seed of the resampling."""

    threshold: Rule = "youden"
    draws: int = Field(default=1000, ge=1)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Fits:
    """Rows of several seeds of one variant laid over each other, images in the order of their ids."""

    seeds: tuple[int, ...]
    outputs: tuple[str, ...]
    scores: Floats
    """``[seeds, images, outputs]``"""
    target: Floats
    """``[images, outputs]``, NaN = not known"""
    patients: NDArray[np.object_]
    """``[images]``"""


def align(rows: pd.DataFrame, outputs: Sequence[str]) -> Fits:
    """Lay the seeds of one entry over each other.

    Raises:
        DataError: there is no such output, or a seed or output lacks an image that another has.
    """
    rows = rows[rows["output"].isin(outputs)]
    absent = [name for name in outputs if name not in set(rows["output"])]
    if absent:
        raise DataError(f"predictions table: no rows of output {', '.join(absent)}; name an output of the fit")
    if rows.duplicated(["image_id", "seed", "output"]).any():
        raise DataError(
            "predictions table: an image occurs twice, expected rows of one entry; select variant and split"
        )
    wide = rows.pivot(index="image_id", columns=["seed", "output"], values="score")
    seeds = tuple(sorted({int(seed) for seed in rows["seed"]}))
    wide = wide.reindex(columns=pd.MultiIndex.from_product([seeds, outputs]))
    gaps = np.argwhere(wide.isna().to_numpy())
    if gaps.size:
        seed, output = wide.columns[gaps[0, 1]]
        raise DataError(
            f"predictions table: image {wide.index[gaps[0, 0]]} lacks output {output} of seed {seed}, expected every "
            "seed and output for every image; predict that seed again"
        )
    once = rows.drop_duplicates(["image_id", "output"])
    target = once.pivot(index="image_id", columns="output", values="target")[list(outputs)].to_numpy()
    scores = wide.to_numpy().reshape(len(wide), len(seeds), len(outputs)).swapaxes(0, 1)
    patients = once.drop_duplicates("image_id").set_index("image_id")["patient_id"][wide.index].to_numpy(object)
    return Fits(seeds, tuple(outputs), scores, target, patients)


def score_binary(
    rows: pd.DataFrame, *, positive: str, threshold: float, draws: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Return every metric of ``BINARY`` for the output ``positive`` of one fit on one split, intervals over patients.

    Rows whose target is not known do not count. A metric that does not exist is NaN with a warning that says why.

    Raises:
        DataError: the rows hold more than one seed or no such output.
    """
    fits = _single(align(rows, [positive]))
    samples = _of_output(fits, 0, BINARY, [threshold], EvaluationConfig(draws=draws, seed=seed))
    return _intervals(samples, level)


def score_multiclass(
    rows: pd.DataFrame, *, draws: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Return every metric of ``MULTICLASS`` of one fit on one split, whose outputs are exclusive classes.

    Raises:
        DataError: the rows hold more than one seed, or targets are not one-hot.
    """
    fits = _single(align(rows, list(dict.fromkeys(rows["output"]))))
    if not _exclusive(fits):
        raise DataError(
            "predictions table: targets or scores of the outputs do not sum to one, expected exclusive classes; "
            "score such outputs one by one"
        )
    return _intervals(_of_classes(fits, EvaluationConfig(draws=draws, seed=seed)), level)


def scorecard(table: pd.DataFrame, config: EvaluationConfig, *, negatives: Mapping[str, float] = {}) -> dict[str, Any]:
    """Return all numbers of a study's predictions table, ready for JSON.

    One entry a (variant, network, chain, data set, split), keyed by these joined with ``/``, with its seeds, images,
    patients and one block a kind of output. A block has ``task``, ``outputs`` and ``metrics``; where there are several
    outputs that are not exclusive classes, ``metrics`` is their mean and ``by_output`` has a block for each. Several
    probabilities that sum to one are exclusive classes. Thresholds are chosen on the validation rows of the same fit
    (of the same data set where it has any), so thresholded metrics of a ``val`` entry flatter.

    Args:
        table: the predictions of one study.
        config: how scores become numbers.
        negatives: variant → negatives to one positive that its test rows are weighted to (``intervals.at_balance``);
            its test entries say so under ``negatives``.

    Raises:
        DataError: the table is not valid, holds two studies, or lacks the validation rows the threshold rule needs.
    """
    table = validate_predictions(table)
    if table["study"].nunique() > 1:
        raise DataError(
            f"predictions table: holds studies {', '.join(table['study'].unique())}, expected one; split it"
        )
    validation = dict(tuple(table[table["split"] == "val"].groupby(FIT)))
    card = {}
    for key, rows in table.groupby(ENTRY):
        ratio = negatives.get(key[0]) if key[-1] == "test" else None
        card["/".join(key)] = {
            **dict(zip(ENTRY, key, strict=True)),
            "seeds": sorted({int(seed) for seed in rows["seed"]}),
            "images": int(rows["image_id"].nunique()),
            "patients": int(rows["patient_id"].nunique()),
            "level": LEVEL,
            **({} if ratio is None else {"negatives": ratio}),
        } | {kind: _block(part, validation.get(key[:3]), config, ratio) for kind, part in rows.groupby("kind")}
    return card


def _block(
    rows: pd.DataFrame, validation: pd.DataFrame | None, config: EvaluationConfig, ratio: float | None
) -> dict[str, Any]:
    fits = align(rows, list(dict.fromkeys(rows["output"])))
    if rows["kind"].iloc[0] != "probability":
        return _parts(fits, "regression", VALUES, [[0.5] * len(fits.seeds)] * len(fits.outputs), config)
    if _exclusive(fits):
        return _head(fits, "multiclass", _of_classes(fits, config), config)
    thresholds = [[_threshold(rows, validation, s, o, config.threshold) for s in fits.seeds] for o in fits.outputs]
    task = "binary" if len(fits.outputs) == 1 else "multilabel"
    block = _parts(fits, task, BINARY, thresholds, config, ratio=ratio)
    return block | {"threshold_rule": config.threshold, "thresholds": dict(zip(fits.outputs, thresholds, strict=True))}


def _parts(
    fits: Fits,
    task: str,
    metrics: Sequence[str],
    thresholds: Sequence[Sequence[float]],
    config: EvaluationConfig,
    *,
    ratio: float | None = None,
) -> dict[str, Any]:
    columns = range(len(fits.outputs))
    parts = [_of_output(fits, index, metrics, thresholds[index], config, ratio=ratio) for index in columns]
    block = _head(fits, task, {name: average([part[name] for part in parts]) for name in metrics}, config)
    if len(parts) == 1:
        return block
    named = zip(fits.outputs, parts, strict=True)
    return block | {"by_output": {output: {"metrics": _summaries(part, config)} for output, part in named}}


def _head(fits: Fits, task: str, samples: Mapping[str, Sample], config: EvaluationConfig) -> dict[str, Any]:
    known = (~np.isnan(fits.target)).sum(0)
    return {
        "task": task,
        "outputs": list(fits.outputs),
        "known": dict(zip(fits.outputs, map(int, known), strict=True)),
        "metrics": _summaries(samples, config),
    }


def _summaries(samples: Mapping[str, Sample], config: EvaluationConfig) -> dict[str, Any]:
    return {name: summarise(one, level=LEVEL, seed=config.seed) for name, one in samples.items()}


def _of_output(
    fits: Fits,
    index: int,
    metrics: Sequence[str],
    thresholds: Sequence[float],
    config: EvaluationConfig,
    *,
    ratio: float | None = None,
) -> dict[str, Sample]:
    known = ~np.isnan(fits.target[:, index])
    return sample(
        metrics,
        fits.target[known, index],
        fits.scores[:, known, index],
        fits.patients[known],
        thresholds=thresholds,
        population=fits.patients,
        draws=config.draws,
        seed=config.seed,
        negatives=ratio,
    )


def _of_classes(fits: Fits, config: EvaluationConfig) -> dict[str, Sample]:
    known = ~np.isnan(fits.target).any(1)
    return sample(
        MULTICLASS,
        fits.target[known].argmax(1),
        fits.scores[:, known],
        fits.patients[known],
        thresholds=[0.5] * len(fits.seeds),
        population=fits.patients,
        draws=config.draws,
        seed=config.seed,
    )


def _exclusive(fits: Fits) -> bool:
    """Tell whether the outputs are classes of which exactly one holds (scores within half precision of one)."""
    unknown = np.isnan(fits.target)
    if len(fits.outputs) < 2 or (unknown.any(1) != unknown.all(1)).any():
        return False
    one_hot = (fits.target[~unknown.any(1)].sum(1) == 1).all()
    return bool(one_hot and np.allclose(fits.scores.sum(2), 1, atol=5e-3))


def _threshold(rows: pd.DataFrame, validation: pd.DataFrame | None, seed: int, output: str, rule: Rule) -> float:
    """Choose the threshold of one seed and output on its fit's validation rows, of its own data set where it can."""
    if rule == "half":
        return 0.5
    found = rows.iloc[:0] if validation is None else validation
    found = found[(found["seed"] == seed) & (found["output"] == output) & (found["kind"] == "probability")]
    own = found[found["dataset"] == rows["dataset"].iloc[0]]
    chosen = found if own.empty else own
    if chosen["dataset"].nunique() != 1:
        raise DataError(
            f"threshold rule {rule}: variant {rows['variant'].iloc[0]}, seed {seed}, output {output} has validation "
            f"rows of {chosen['dataset'].nunique()} data sets, expected one; predict them or choose half"
        )
    return threshold_from_validation(rule, chosen)


def _single(fits: Fits) -> Fits:
    if len(fits.seeds) != 1:
        raise DataError(f"predictions table: rows of seeds {fits.seeds}, expected one fit; select a seed")
    return fits


def _intervals(samples: Mapping[str, Sample], level: float) -> dict[str, Interval]:
    result = {}
    for name, one in samples.items():
        if one.reason:
            warnings.warn(one.reason, UndefinedMetricWarning, stacklevel=3)
        values = one.values[0]
        result[name] = percentile_interval(float(one.points[0]), values, level=level, method="bootstrap of patients")
    return result

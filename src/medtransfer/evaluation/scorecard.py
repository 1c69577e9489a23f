"""Cells for JSON: every metric of every fit with its spread over seeds and its intervals."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.errors import DataError
from medtransfer.evaluation.cells import (
    BINARY,
    NAMES,
    Aligned,
    Cell,
    EvaluationConfig,
    Key,
    align,
    exclusive,
    measure,
    of_classes,
    of_output,
)
from medtransfer.evaluation.checks import UndefinedMetricWarning
from medtransfer.evaluation.intervals import Interval
from medtransfer.evaluation.summary import LEVEL, Sample, single_interval, summarise


def score_binary(
    rows: pd.DataFrame, *, positive: str, threshold: float, draws: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Return every metric of ``BINARY`` for the output ``positive`` of one fit on one split, intervals over patients.

    Rows with an unknown target do not count. A metric that does not exist is NaN, with a warning that says why.

    Raises:
        DataError: the rows hold more than one seed or no such output.
    """
    aligned = _single(align(rows, [positive]))
    config = EvaluationConfig(draws=draws, seed=seed)
    return _intervals(of_output(aligned, positive, BINARY, [threshold], config), level)


def score_multiclass(
    rows: pd.DataFrame, *, draws: int = 1000, seed: int = 0, level: float = 0.95
) -> dict[str, Interval]:
    """Return every metric of ``MULTICLASS`` of one fit on one split, whose outputs are exclusive classes.

    Raises:
        DataError: the rows hold more than one seed, or targets are not one-hot.
    """
    aligned = _single(align(rows, list(dict.fromkeys(rows["output"]))))
    if not exclusive(aligned):
        raise DataError(
            "predictions table: targets or scores of the outputs do not sum to one, expected exclusive classes; "
            "score such outputs one by one"
        )
    return _intervals(of_classes(aligned, EvaluationConfig(draws=draws, seed=seed)), level)


def scorecard(
    table: pd.DataFrame, config: EvaluationConfig, *, neg_pos_ratio: Mapping[Key, float] = {}
) -> dict[str, Any]:
    """Return all numbers of a study's predictions table, ready for JSON.

    One entry per (variant, condition, data set, split), keyed by these joined with ``/``, with its seeds, images,
    patients (None = not known) and one block per kind of output. A block has ``task``, ``outputs`` and ``metrics``; for
    several outputs that are not exclusive classes, ``metrics`` is their mean and ``by_output`` has a block for each.

    Args:
        table: the predictions of one study; rows with an intervention do not count.
        config: how scores become numbers.
        neg_pos_ratio: as in :func:`cells.measure`; test entries record it as ``neg_pos_ratio``.

    Example:
        card = scorecard(read_predictions(path), EvaluationConfig())
        card["resnet50_attn5/stl_n/ct/test"]["probability"]["metrics"]["auroc"]["mean"]

    Raises:
        DataError: as in :func:`cells.measure`.
    """
    cells = measure(table, config, neg_pos_ratio=neg_pos_ratio)
    entries = groupby(cells, key=lambda cell: tuple(getattr(cell, name) for name in NAMES))
    return {"/".join(names): _entry(list(kinds), config) for names, kinds in entries}


def seed_metrics(block: Mapping[str, Any], number: int, *, kind: str) -> dict[str, float]:
    """Return the metrics of the seed at an index as ``<metric>_<output>``; undefined metrics are left out.

    The mean over several outputs is by_suffix after their kind; for probabilities it has no suffix.
    """
    mean = "" if kind == "probability" else f"_{kind}"
    by_suffix = {f"_{block['outputs'][0]}": block} if len(block["outputs"]) == 1 else {mean: block}
    by_suffix |= {f"_{output}": part for output, part in block.get("by_output", {}).items()}
    return {
        f"{metric}{suffix}": value
        for suffix, part in by_suffix.items()
        for metric, summary in part["metrics"].items()
        if (value := summary["per_seed"][number]) is not None
    }


def best_fit(card: Mapping[str, Any], fits: Iterable[Key], *, dataset: str, metric: str) -> dict[str, Any]:
    """Return ``variant, condition, seed, metric, value`` of the fit with the highest metric on validation rows.

    Test rows are not read; of equal fits, the first is returned.

    Args:
        card: result of :func:`scorecard`.
        fits: (variant, condition) of the fits that compete, each with all of its seeds.
        dataset: data set whose validation rows decide.
        metric: metric of the probabilities.

    Raises:
        DataError: no fit has a value.
    """
    values = [
        {"variant": variant, "condition": condition, "seed": seed, "metric": metric, "value": value}
        for variant, condition in fits
        for entry in [card[f"{variant}/{condition}/{dataset}/val"]]
        for seed, value in zip(entry["seeds"], entry["probability"]["metrics"][metric]["per_seed"], strict=True)
        if value is not None
    ]
    if not values:
        raise DataError(
            f"{dataset}: no fit has a value of {metric} on validation rows; check that the val split has both classes"
        )
    return max(values, key=lambda fit: fit["value"])


def _entry(kinds: Sequence[Cell], config: EvaluationConfig) -> dict[str, Any]:
    first = kinds[0]
    return (
        {name: getattr(first, name) for name in NAMES}
        | {
            "seeds": sorted({seed for cell in kinds for seed in cell.seeds}),
            "images": len({image for cell in kinds for image in cell.images}),
            "patients": _patients(kinds),
            "level": LEVEL,
        }
        | ({} if first.neg_pos_ratio is None else {"neg_pos_ratio": first.neg_pos_ratio})
        | {cell.kind: _block(cell, config) for cell in kinds}
    )


def _patients(kinds: Sequence[Cell]) -> int | None:
    """Return the number of patients; None where they are not known."""
    patients = {patient for cell in kinds for patient in cell.patients}
    return None if "" in patients else len(patients)


def _block(cell: Cell, config: EvaluationConfig) -> dict[str, Any]:
    known = (~np.isnan(cell.target)).sum(0)
    block: dict[str, Any] = {
        "task": cell.task,
        "outputs": list(cell.outputs),
        "known": dict(zip(cell.outputs, map(int, known), strict=True)),
        "metrics": _summaries(cell.samples),
    }
    if len(cell.by_output) > 1:
        block["by_output"] = {o: {"metrics": _summaries(part)} for o, part in cell.by_output.items()}
    if cell.thresholds:
        block |= {"threshold_rule": config.threshold, "thresholds": dict(cell.thresholds)}
    return block


def _summaries(samples: Mapping[str, Sample]) -> dict[str, Any]:
    return {name: summarise(one, level=LEVEL) for name, one in samples.items()}


def _single(aligned: Aligned) -> Aligned:
    if len(aligned.seeds) != 1:
        raise DataError(f"predictions table: rows of seeds {aligned.seeds}, expected one fit; select a seed")
    return aligned


def _intervals(samples: Mapping[str, Sample], level: float) -> dict[str, Interval]:
    result = {}
    for name, one in samples.items():
        if one.reason:
            warnings.warn(one.reason, UndefinedMetricWarning, stacklevel=3)
        result[name] = single_interval(one, level)
    return result

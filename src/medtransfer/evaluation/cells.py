"""From the predictions table to measured cells: the one path from predictions to numbers.

A cell is one variant under one condition on one split of one data set, with its seeds aligned and its metrics
measured. Cells on the same images share their patient resamples, so their differences are paired.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from medtransfer.config import Config
from medtransfer.errors import DataError
from medtransfer.evaluation.checks import Floats
from medtransfer.evaluation.predictions import Kind, validate_predictions
from medtransfer.evaluation.summary import Sample, average, brief, sample
from medtransfer.evaluation.thresholds import Rule, threshold_from_validation

BINARY = ("auroc", "auprc", "f1", "f1_negative", "accuracy", "sensitivity", "specificity", "brier", "ece", "mse")
MULTICLASS = ("macro_auroc", "macro_auprc", "macro_f1", "top_1", "macro_ece", "macro_mse")
VALUES = ("mse", "mae", "pearson", "r2")
NAMES = ["variant", "condition", "dataset", "split"]

Key = tuple[str, str]
"""(variant, condition)"""
Cells = Mapping[Key, "Cell"]
"""Cells of one split of one data set."""
Row = dict[str, Any]
"""The names of a metric's numbers and the numbers ``mean, sd, low, high, low_seeds, high_seeds`` (None = none)."""
Task = Literal["binary", "multilabel", "multiclass", "regression"]


class EvaluationConfig(Config):
    """How scores become numbers: threshold rule, resamples, seed of the resampling."""

    threshold: Rule = "youden"
    draws: int = Field(default=1000, ge=1)
    seed: int = Field(default=0, ge=0)


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """Several seeds of one fit on the same images, ordered by image id.

    Attributes:
        seeds: ascending.
        outputs: their names.
        images: ids ``[images]``.
        patients: ``[images]``; empty where not known.
        scores: ``[seeds, images, outputs]``.
        target: ``[images, outputs]``, NaN = not known.
    """

    seeds: tuple[int, ...]
    outputs: tuple[str, ...]
    images: NDArray[np.object_]
    patients: NDArray[np.object_]
    scores: Floats
    target: Floats

    @property
    def patient_count(self) -> int | None:
        """Number of patients; None where they are not known."""
        patients = set(self.patients)
        return None if "" in patients else len(patients)

    @property
    def two_class(self) -> tuple[str, ...]:
        """Outputs whose known images are of both classes; all outputs if there are none."""
        outputs = [o for o, t in zip(self.outputs, self.target.T, strict=True) if len(np.unique(t[~np.isnan(t)])) == 2]
        return tuple(outputs) or self.outputs

    def column(self, output: str) -> tuple[Floats, Floats, NDArray[np.object_]]:
        """Return target ``[known]``, scores ``[seeds, known]`` and patients ``[known]`` of an output's known images."""
        index = self.outputs.index(output)
        known = ~np.isnan(self.target[:, index])
        return self.target[known, index], self.scores[:, known, index], self.patients[known]


@dataclass(frozen=True, kw_only=True)
class Cell(Aligned):
    """One variant under one condition on one split of one data set.

    Attributes:
        variant: names the cell together with ``condition, dataset, split``.
        kind: what the scores are.
        task: ``multiclass`` where the outputs are exclusive classes.
        samples: every metric; its mean over the outputs where there are several.
        by_output: output → every metric; empty for exclusive classes, which only have metrics together.
        thresholds: output → threshold of each seed; empty where the scores are no two-class probabilities.
        neg_pos_ratio: negatives per positive that the images are weighted to; None leaves them unweighted.
    """

    variant: str
    condition: str
    dataset: str
    split: str
    kind: Kind
    task: Task
    samples: Mapping[str, Sample]
    by_output: Mapping[str, Mapping[str, Sample]]
    thresholds: Mapping[str, Sequence[float]]
    neg_pos_ratio: float | None

    @property
    def key(self) -> Key:
        """(variant, condition)."""
        return self.variant, self.condition

    def mean_over(self, outputs: Sequence[str]) -> dict[str, Sample]:
        """Return every metric as its mean over some of the outputs."""
        parts = [self.by_output[output] for output in outputs]
        return {metric: average([part[metric] for part in parts]) for metric in parts[0]}


def align(rows: pd.DataFrame, outputs: Sequence[str]) -> Aligned:
    """Align the seeds of one cell.

    Raises:
        DataError: an output does not exist, or a seed or output lacks an image that another has.
    """
    rows = rows[rows["output"].isin(outputs)]
    absent = [name for name in outputs if name not in set(rows["output"])]
    if absent:
        raise DataError(f"predictions table: no rows of output {', '.join(absent)}; name an output of the fit")
    if rows.duplicated(["image_id", "seed", "output"]).any():
        raise DataError(
            "predictions table: an image occurs twice, expected rows of one entry; select variant, condition and split"
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
    return Aligned(
        seeds=seeds,
        outputs=tuple(outputs),
        images=wide.index.to_numpy(object),
        patients=once.drop_duplicates("image_id").set_index("image_id")["patient_id"][wide.index].to_numpy(object),
        scores=wide.to_numpy().reshape(len(wide), len(seeds), len(outputs)).swapaxes(0, 1),
        target=once.pivot(index="image_id", columns="output", values="target")[list(outputs)].to_numpy(),
    )


def measure(
    table: pd.DataFrame,
    config: EvaluationConfig,
    *,
    splits: Collection[str] = ("train", "val", "test"),
    metrics: Sequence[str] = BINARY,
    neg_pos_ratio: Mapping[Key, float] = {},
) -> list[Cell]:
    """Measure every cell of a study's predictions table, in the order of their names; interventions are left out.

    Several probabilities that sum to one are exclusive classes. Thresholds are chosen on the validation rows of the
    same fit (of the same data set where it has any), so thresholded metrics of a ``val`` cell are optimistic.

    Args:
        table: the predictions of one study.
        config: how scores become numbers.
        splits: the splits to measure.
        metrics: of two-class probabilities.
        neg_pos_ratio: negatives per positive that test rows are weighted to (``intervals.at_balance``).

    Raises:
        DataError: the table is not valid, holds two studies, lacks an image of a seed, or lacks the validation rows
            that the threshold rule needs.
    """
    table = validate_predictions(table)
    if table["study"].nunique() > 1:
        raise DataError(
            f"predictions table: holds studies {', '.join(table['study'].unique())}, expected one; split it"
        )
    table = table[table["intervention"] == ""]
    validation = dict(tuple(table[table["split"] == "val"].groupby(NAMES[:2])))
    cells = []
    for (variant, condition, *_, split, _), rows in table[table["split"].isin(splits)].groupby([*NAMES, "kind"]):
        ratio = neg_pos_ratio.get((variant, condition)) if split == "test" else None
        cells.append(_cell(rows, validation.get((variant, condition)), config, metrics, ratio))
    return cells


def estimates(cells: Iterable[Cell], metrics: Sequence[str]) -> list[Row]:
    """Return one row per cell and metric: ``variant, condition, dataset, metric`` and its numbers."""
    return [
        {"variant": cell.variant, "condition": cell.condition, "dataset": cell.dataset, "metric": metric}
        | brief(cell.samples[metric])
        for cell in cells
        for metric in metrics
    ]


def of_output(
    aligned: Aligned,
    output: str,
    metrics: Sequence[str],
    thresholds: Sequence[float],
    config: EvaluationConfig,
    *,
    neg_pos_ratio: float | None = None,
) -> dict[str, Sample]:
    """Return the metrics of one output on its known images, resampling all patients of the cell.

    Where the cell has this output alone, patients of each class are drawn apart; several outputs share their draws.
    """
    target, scores, patients = aligned.column(output)
    return sample(
        metrics,
        target,
        scores,
        patients,
        thresholds=thresholds,
        population=aligned.patients,
        draws=config.draws,
        seed=config.seed,
        neg_pos_ratio=neg_pos_ratio,
        stratified=len(aligned.outputs) == 1 and tuple(metrics) != VALUES,
    )


def of_classes(aligned: Aligned, config: EvaluationConfig) -> dict[str, Sample]:
    """Return every metric of ``MULTICLASS`` for outputs that are exclusive classes."""
    known = ~np.isnan(aligned.target).any(1)
    return sample(
        MULTICLASS,
        aligned.target[known].argmax(1),
        aligned.scores[:, known],
        aligned.patients[known],
        thresholds=[0.5] * len(aligned.seeds),
        population=aligned.patients,
        draws=config.draws,
        seed=config.seed,
        stratified=True,
    )


def exclusive(aligned: Aligned) -> bool:
    """Return whether exactly one of the outputs is true per image (scores sum to one within half precision)."""
    unknown = np.isnan(aligned.target)
    if len(aligned.outputs) < 2 or (unknown.any(1) != unknown.all(1)).any():
        return False
    one_hot = (aligned.target[~unknown.any(1)].sum(1) == 1).all()
    return bool(one_hot and np.allclose(aligned.scores.sum(2), 1, atol=5e-3))


def _cell(
    rows: pd.DataFrame,
    validation: pd.DataFrame | None,
    config: EvaluationConfig,
    metrics: Sequence[str],
    ratio: float | None,
) -> Cell:
    aligned = align(rows, list(dict.fromkeys(rows["output"])))
    outputs, kind = aligned.outputs, rows["kind"].iloc[0]
    names = vars(aligned) | {"kind": kind, "neg_pos_ratio": ratio} | rows.iloc[0][NAMES].to_dict()
    if kind == "probability" and exclusive(aligned):
        return Cell(**names, task="multiclass", samples=of_classes(aligned, config), by_output={}, thresholds={})
    if kind == "probability":
        task: Task = "binary" if len(outputs) == 1 else "multilabel"
        limits = {o: [_threshold(rows, validation, s, o, config.threshold) for s in aligned.seeds] for o in outputs}
    else:
        task, metrics, ratio, limits = "regression", VALUES, None, {}
    half = [0.5] * len(aligned.seeds)
    parts = {o: of_output(aligned, o, metrics, limits.get(o, half), config, neg_pos_ratio=ratio) for o in outputs}
    cell = Cell(**names, task=task, samples={}, by_output=parts, thresholds=limits)
    return replace(cell, samples=cell.mean_over(outputs))


def _threshold(rows: pd.DataFrame, validation: pd.DataFrame | None, seed: int, output: str, rule: Rule) -> float:
    """Choose the threshold of one seed and output on its fit's validation rows, of its own data set if it has any."""
    if rule == "half":
        return 0.5
    fit_rows = rows.iloc[:0] if validation is None else validation
    mask = (fit_rows["seed"] == seed) & (fit_rows["output"] == output) & (fit_rows["kind"] == "probability")
    own = fit_rows[mask & (fit_rows["dataset"] == rows["dataset"].iloc[0])]
    chosen = fit_rows[mask] if own.empty else own
    if chosen["dataset"].nunique() != 1:
        fit = f"variant {rows['variant'].iloc[0]}, condition {rows['condition'].iloc[0]}, seed {seed}"
        raise DataError(
            f"threshold rule {rule}: {fit}, output {output} has validation rows of {chosen['dataset'].nunique()} data "
            "sets, expected one; predict them or choose half"
        )
    return threshold_from_validation(rule, chosen)

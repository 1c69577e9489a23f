"""Figures of a run: learning curves that its fit leaves, and what is drawn of its predictions."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def learning_figure(history: Sequence[Mapping[str, float]], title: str) -> "Figure":
    """Return training losses and validation scores over the steps of a fit, side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    names = list(dict.fromkeys(name for row in history for name in row))
    _draw(left, history, [name for name in names if name.startswith("train/loss")])
    _draw(right, history, [name for name in names if name.startswith("val/") and ("auroc" in name or "auprc" in name)])
    left.set(xlabel="step", ylabel="training loss")
    right.set(xlabel="step", ylabel="validation score", ylim=(0, 1.02))
    figure.suptitle(title)
    return figure


def _draw(axes: "Axes", history: Sequence[Mapping[str, float]], names: Sequence[str]) -> None:
    for name in names:
        points = [(row["step"], row[name]) for row in history if math.isfinite(row.get(name, math.nan))]
        axes.plot(*zip(*points, strict=True) if points else ((), ()), marker=".", label=name.split("/", 1)[1])
    if names:
        axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)


def curves_figure(rows: pd.DataFrame, title: str) -> "Figure":
    """Return ROC and precision–recall curves of one output's rows (columns ``score`` and ``target``)."""
    from matplotlib.figure import Figure
    from sklearn.metrics import precision_recall_curve, roc_curve

    target, score = rows["target"].to_numpy(), rows["score"].to_numpy()
    figure = Figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    false, true, _ = roc_curve(target, score)
    left.plot(false, true, color="#0072b2")
    left.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    left.set(xlabel="1 − specificity", ylabel="sensitivity", title=f"ROC · {title}")
    precision, recall, _ = precision_recall_curve(target, score)
    right.step(recall, precision, where="post", color="#0072b2")
    right.axhline(target.mean(), color="0.7", linewidth=0.8)
    right.set(xlabel="recall", ylabel="precision", title="precision–recall", ylim=(0, 1.02))
    return figure


def confusion_figure(rows: pd.DataFrame, threshold: float, positive: str) -> "Figure":
    """Return the 2×2 table of one output's rows at a threshold, counts in the cells."""
    from matplotlib.figure import Figure

    called, truth = rows["score"] >= threshold, rows["target"] == 1
    counts = [
        [int((~truth & ~called).sum()), int((~truth & called).sum())],
        [int((truth & ~called).sum()), int((truth & called).sum())],
    ]
    figure = Figure(figsize=(4, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.imshow(counts, cmap="Blues", vmin=0, vmax=max(map(sum, counts)))
    for i, row in enumerate(counts):
        for j, count in enumerate(row):
            axes.text(j, i, str(count), ha="center", va="center")
    names = [f"non-{positive}", positive]
    axes.set(xticks=[0, 1], xticklabels=names, yticks=[0, 1], yticklabels=names, xlabel="predicted", ylabel="true")
    axes.set_title(f"threshold {threshold:.2f}, chosen on validation")
    return figure

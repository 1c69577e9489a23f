"""Figures that every fit leaves in its run."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

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

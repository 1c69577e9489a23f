"""The short report of ``medtransfer evaluate``, and the curves that are added to each tracked run."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from medtransfer.evaluation.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def evaluation_markdown(model: str, facts: Mapping[str, Any], metrics: Mapping[str, Interval] | None) -> str:
    """Return Markdown: which model on what, the metrics with their intervals, and what they do not say."""
    lines = [f"# {model} on {facts['name']}", ""]
    lines += [f"- {key.replace('_', ' ')}: {value}" for key, value in facts.items() if key != "name"]
    if metrics is None:
        return "\n".join(
            [*lines, "", "The images have no labels that the model knows: predictions only, no metrics.", ""]
        )
    lines += ["", "| metric | value | 95 % interval |", "|---|---|---|"]
    lines += [f"| {name} | {m.value:.3f} | {m.low:.3f} … {m.high:.3f} |" for name, m in metrics.items()]
    note = "Intervals draw patients with replacement. Thresholded metrics use 0.5, chosen on no data of this set."
    return "\n".join([*lines, "", note, ""])


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

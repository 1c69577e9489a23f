"""Figures that more than one study draws: estimates with intervals, and operating curves."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from medtransfer.evaluation.binary import operating_points
from medtransfer.evaluation.cells import Row
from medtransfer.evaluation.checks import Floats
from medtransfer.reporting.content import Figure
from medtransfer.reporting.drawing import QUIET, legend, svg
from medtransfer.reporting.formatting import bounds, is_missing, no_interval


class Mark(NamedTuple):
    """One estimate: the row and column of its panel, its line, the name and style of its series, and its numbers."""

    row: str
    column: str
    line: str
    series: str
    look: Mapping[str, Any]
    numbers: Row


class Curve(NamedTuple):
    """Targets and scores ``[images]`` of one classifier, and how its curves are drawn."""

    label: str
    target: Floats
    score: Floats
    style: Mapping[str, Any]


def forest(
    key: str,
    title: str,
    caption: str,
    marks: Iterable[Mark],
    *,
    label: str = "{column}",
    reference: float | None = None,
) -> Figure:
    """Draw estimates with their intervals, panels by row and column; estimates on one line are slightly offset.

    Args:
        key: of the figure.
        title: of the figure.
        caption: of the figure.
        marks: the estimates; those without a mean are left out.
        label: of the horizontal axes; ``{column}`` stands for the name of the column.
        reference: position of a dotted line.
    """
    marks = [mark for mark in marks if not is_missing(mark.numbers["mean"])]
    rows, columns, lines = (
        list(dict.fromkeys(getattr(mark, part) for mark in marks)) for part in ("row", "column", "line")
    )

    without = [mark.numbers.get("reason") for mark in marks if is_missing(bounds(mark.numbers)[0])]
    if why := sorted({no_interval(reason) for reason in without} - {""}):
        caption = f"{caption} Hollow: no interval, {' or '.join(why)}."

    def draw(figure: Any) -> None:
        axes = figure.subplots(len(rows), len(columns), sharex="col", sharey=True, squeeze=False)
        for row, panels in zip(rows, axes, strict=True):
            for column, axis in zip(columns, panels, strict=True):
                _panel(axis, [mark for mark in marks if (mark.row, mark.column) == (row, column)], lines)
                axis.set_title(" · ".join(part for part in (column, row) if part))
                if reference is not None:
                    axis.axvline(reference, color=QUIET, linewidth=0.8, linestyle=":")
                if row == rows[-1]:
                    axis.set_xlabel(label.format(column=column))
        legend(figure, axes.ravel())

    return Figure(key, title, caption, svg(draw, key, height=0.8 + len(rows) * (0.5 + 0.3 * len(lines))))


def operating_curves(key: str, title: str, caption: str, curves: Sequence[Curve]) -> Figure:
    """Draw ROC and precision-recall curves of classifiers on the same images; dotted lines are chance."""

    def draw(figure: Any) -> None:
        roc, precision = figure.subplots(1, 2)
        for curve in curves:
            _, hits, alarms = operating_points(curve.target, curve.score)
            style = {"linewidth": 1.6, **curve.style, "label": curve.label}
            share = hits / (hits + alarms)
            roc.plot([0, *(alarms / alarms[-1])], [0, *(hits / hits[-1])], **style)
            precision.plot([0, *(hits / hits[-1])], [share[0], *share], drawstyle="steps-pre", **style)
        roc.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":")
        precision.axhline(float(np.mean(curves[0].target)), color=QUIET, linewidth=0.8, linestyle=":")
        roc.set(xlabel="1 − specificity", ylabel="sensitivity", title="ROC")
        precision.set(xlabel="sensitivity", ylabel="precision", title="Precision–recall", ylim=(0, 1.03))
        roc.legend(loc="lower right")

    return Figure(key, title, caption, svg(draw, key, height=3.4))


def _panel(axis: Any, marks: Sequence[Mark], lines: Sequence[str]) -> None:
    for mark in marks:
        beside = [other.series for other in marks if other.line == mark.line]
        place = -lines.index(mark.line) - 0.28 * (beside.index(mark.series) - (len(beside) - 1) / 2)
        low, high = bounds(mark.numbers)
        style = dict(mark.look)
        if is_missing(low):
            style["markerfacecolor"] = "none"
        else:
            axis.plot([low, high], [place] * 2, color=mark.look["color"], linewidth=1.4)
        axis.plot([mark.numbers["mean"]], [place], **style, markersize=5, linestyle="none", label=mark.series)
    axis.set_yticks([-number for number in range(len(lines))], lines)
    axis.set_ylim(-len(lines) + 0.4, 0.6)

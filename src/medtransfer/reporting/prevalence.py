"""Predictive values over prevalence as figure and lines: closed form, simulated cohorts and decision curve."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from medtransfer.evaluation.prevalence import (
    OverPrevalence,
    negative_predictive_value,
    predicted_negatives,
)
from medtransfer.reporting.content import Column, Figure, Table, TableCell
from medtransfer.reporting.drawing import BLUE, GREEN, ORANGE, QUIET, legend, svg
from medtransfer.reporting.formatting import MISSING, interval, labels, number

HEADINGS = ("Prevalence", "Predicted negative", "cohorts", "NPV", "cohorts")
_HUES = (BLUE, ORANGE, GREEN)
_TICKS = (0.001, 0.01, 0.1, 1)


def prevalence_figure(key: str, title: str, about: str, found: Mapping[str, OverPrevalence]) -> Figure:
    """Draw what a threshold gives over prevalence: predicted negatives, NPV, and the decision curve beside them.

    Args:
        key: of the figure.
        title: of the figure.
        about: first sentence of the caption.
        found: one per line of the panels, by label.
    """

    def draw(figure: Any) -> None:
        negatives, npv, benefit = figure.subplots(1, 3)
        shares = np.geomspace(_TICKS[0], 0.99, 120)
        for place, (label, one) in enumerate(found.items()):
            colour = _HUES[place % len(_HUES)]
            at = [point.prevalence for point in one.points]
            for axis, closed, name in (
                (negatives, predicted_negatives, "negatives"),
                (npv, negative_predictive_value, "npv"),
            ):
                axis.plot(
                    shares,
                    [closed(one.sensitivity, one.specificity, share) for share in shares],
                    color=colour,
                    label=label,
                )
                low, high = ([getattr(point, f"{name}_{end}") for point in one.points] for end in ("low", "high"))
                axis.vlines(at, low, high, color=colour, linewidth=1.2)
                axis.plot(at, [getattr(point, f"{name}_mean") for point in one.points], "o", color=colour, markersize=3)
            benefit.plot(one.curve["threshold"], one.curve["model"], color=colour)
            benefit.plot(one.curve["threshold"], one.curve["all"], color=colour, linewidth=0.8, linestyle=":")
        for axis, name in ((negatives, "predicted negative"), (npv, "NPV")):
            axis.set(xscale="log", xlabel="prevalence", ylabel=name, ylim=(0, 1.03))
            axis.minorticks_off()
            axis.set_xticks(_TICKS, map(str, _TICKS))  # a logarithmic axis writes its own as formulas
        benefit.axhline(0, color=QUIET, linewidth=0.8)
        most = max(one.own for one in found.values())
        benefit.set(xlabel="threshold probability", ylabel="net benefit", ylim=(-0.3 * most, 1.1 * most))
        legend(figure, [negatives])

    caption = (
        f"{about} Lines: closed form; dots and bars: mean and 2.5 to 97.5 % of simulated cohorts, in which images are "
        "independent and sensitivity and specificity are known. Right: net benefit at the images' own prevalence, "
        "after temperature scaling; dotted: everyone is called positive; 0: no one is."
    )
    return Figure(key, title, caption, svg(draw, key, height=3.6))


def prevalence_table(key: str, title: str, about: str, found: Mapping[str, OverPrevalence], *, first: str) -> Table:
    """Return one row per label and prevalence; ``first`` heads the column of labels."""
    rows = tuple(
        (
            TableCell(label),
            TableCell(cells[0]),
            TableCell(cells[1], cells[2]),
            TableCell(cells[3], cells[4]) if cells[4] else MISSING,
        )
        for label, one in found.items()
        for cells in prevalence_rows(one)
    )
    columns = (*labels(first), *(Column(name) for name in (HEADINGS[0], HEADINGS[1], HEADINGS[3])))
    return Table(key, title, f"{about} Below each closed form: 2.5 to 97.5 % of simulated cohorts.", columns, rows)


def prevalence_rows(one: OverPrevalence) -> list[tuple[str, ...]]:
    """Return the texts of each prevalence, in the order of ``HEADINGS``."""
    return [
        (
            number(point.prevalence),
            number(point.negatives),
            interval(point.negatives_low, point.negatives_high),
            number(point.npv),
            interval(point.npv_low, point.npv_high),
        )
        for point in one.points
    ]

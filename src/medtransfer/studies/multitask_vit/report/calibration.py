"""Calibration of the diagnosis: one temperature per class and seed, fitted on validation images."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from medtransfer.evaluation.calibration import at_temperature, reliability_curve, temperature_from_validation
from medtransfer.evaluation.cells import Cell, of_output
from medtransfer.evaluation.summary import brief
from medtransfer.reporting.content import Column, Figure, Table, TableCell
from medtransfer.reporting.drawing import BLUE, ORANGE, QUIET, grid_rows, panels, svg
from medtransfer.reporting.formatting import READING, estimate, labels, number
from medtransfer.studies.multitask_vit.report.results import Results, one_output


def calibration_table(found: Results) -> Table:
    """Return the calibration error of every network and class, as it is and at the temperature of validation images."""
    columns = (
        *labels("Network", "Class"),
        Column("Temperature"),
        Column("as predicted", "Calibration error"),
        Column("with temperature", "Calibration error"),
    )
    rows = tuple(_row(cell, name, found) for cell in found.of("probability") for name in cell.by_output)
    intro = (
        "Above 1 a temperature says that probabilities were too far from one half. It is fitted on validation "
        f"images; the mean over seeds is shown. Calibration error over 15 equal bins. {READING}"
    )
    return Table("calibration", "Calibration", intro, columns, rows)


def calibration_figure(found: Results) -> Figure | None:
    """Draw the reliability of the main network's first seed, class by class; None without a diagnosis."""
    cell = found.cell(found.main, "probability")
    if cell is None:
        return None

    def panel(axis: Any, name: str) -> None:
        target, scores, _ = cell.column(name)
        (scaled,) = _scaled(cell, name, found).scores[:1, ~np.isnan(one_output(cell, name).target[:, 0]), 0]
        for score, colour, label in ((scores[0], BLUE, "as predicted"), (scaled, ORANGE, "with temperature")):
            points = reliability_curve(target, score)
            at = [point.probability for point in points]
            axis.vlines(
                at, [point.low for point in points], [point.high for point in points], color=colour, linewidth=0.8
            )
            axis.plot(at, [point.frequency for point in points], "o-", color=colour, markersize=3, label=label)
        axis.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":")
        axis.set(title=name, xlabel="probability", xlim=(0, 1), ylim=(0, 1.03))

    def draw(figure: Any) -> None:
        panels(figure, cell.outputs, panel, label="share of images", share=True)

    caption = (
        f"{found.main}, seed {cell.seeds[0]}, test images. Bars: Wilson intervals, which take images for independent. "
        "Dotted: perfect calibration."
    )
    height = 0.5 + 3.0 * grid_rows(len(cell.outputs))
    return Figure("reliability", "Reliability curves", caption, svg(draw, "reliability", height=height))


def temperatures(cell: Cell, output: str, found: Results) -> list[float]:
    """Return the temperature of each seed, fitted on its validation rows."""
    return [temperature_from_validation(found.validation(cell, seed, output)) for seed in cell.seeds]


def _row(cell: Cell, name: str, found: Results) -> tuple[TableCell, ...]:
    half: Sequence[float] = [0.5] * len(cell.seeds)
    after = of_output(_scaled(cell, name, found), name, ("ece",), half, found.evaluation)["ece"]
    return (
        TableCell(cell.variant),
        TableCell(name),
        TableCell(number(np.mean(temperatures(cell, name, found)))),
        estimate(brief(cell.by_output[name]["ece"])),
        estimate(brief(after)),
    )


def _scaled(cell: Cell, output: str, found: Results) -> Cell:
    """Return one output of a cell at its temperatures."""
    one, by_seed = one_output(cell, output), temperatures(cell, output, found)
    scaled = [at_temperature(score[:, 0], by)[:, None] for score, by in zip(one.scores, by_seed, strict=True)]
    return replace(one, scores=np.stack(scaled))

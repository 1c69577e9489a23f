"""Figures of a search: history, parallel coordinates, slices, importance, Pareto front."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from medtransfer.reporting.drawing import BLUE, GREEN, INK, ORANGE, QUIET, grid_rows
from medtransfer.tuning.config import Dimension
from medtransfer.tuning.results import SearchResult, TrialRecord, front


@dataclass(frozen=True)
class Drawing:
    """A figure: key, title, caption, a function that draws on matplotlib's figure, and its height in inches."""

    key: str
    title: str
    caption: str
    draw: Callable[[Any], None]
    height: float


def drawings(result: SearchResult) -> list[Drawing]:
    """Return every figure that a search has enough trials for."""
    if not result.complete:
        return []
    made = [
        Drawing("history", "History", _HISTORY, partial(_history, result), 3.2),
        Drawing("parallel", "Parallel coordinates", _PARALLEL, partial(_parallel, result), 3.6),
        Drawing("slice", "Slices", _SLICE, partial(_slices, result), 0.6 + 2.6 * grid_rows(len(result.config.space))),
    ]
    if result.importance:
        height = 1.2 + 0.35 * len(result.config.space)
        made.append(Drawing("importance", "Importance", _IMPORTANCE, partial(_importance, result), height))
    if len(result.config.objectives) > 1:
        made.append(Drawing("front", "Pareto front", _FRONT, partial(_pareto, result), 4.0))
    return made


_HISTORY = (
    "The first objective of every complete trial, and the best so far. "
    "Trials that were stopped or failed are marks below."
)
_PARALLEL = (
    "One line per complete trial over the values that it set; the thick line is the best by the first objective."
)
_SLICE = "The first objective against each value alone; other values differ too, so a slope is no effect of one value."
_IMPORTANCE = (
    "Share of each value in the variance of the objective; the bar is the mean, the line the range over seeds."
)
_FRONT = "Complete trials by both objectives; trials on the line are dominated by none. The ring is the chosen trial."


def _history(result: SearchResult, figure: Any) -> None:
    axis, objective = figure.subplots(), result.config.objectives[0]
    numbers = [trial.number for trial in result.complete]
    values = [trial.objectives[0] for trial in result.complete]
    running = np.maximum.accumulate(values) if objective.direction == "maximize" else np.minimum.accumulate(values)
    axis.plot(numbers, values, "o", color=BLUE, markersize=4, label="complete")
    axis.step(numbers, running, where="post", color=ORANGE, linewidth=1.2, label="best so far")
    stopped = [trial.number for trial in result.trials if trial.state in ("PRUNED", "FAIL")]
    floor = min(values) - 0.05 * (max(values) - min(values) or 1)
    axis.plot(stopped, [floor] * len(stopped), "x", color=QUIET, markersize=5, label="stopped or failed")
    axis.set(xlabel="trial", ylabel=objective.name)
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.legend()


def _parallel(result: SearchResult, figure: Any) -> None:
    axis, space, best = figure.subplots(), result.config.space, result.best()
    columns = [*space, result.config.objectives[0].name]
    for trial in sorted(result.complete, key=lambda one: one is best):
        heights = [_height(space[key], trial.values.get(key)) for key in space]
        heights.append(_share(trial.objectives[0], [one.objectives[0] for one in result.complete]))
        look = {"color": ORANGE, "linewidth": 2.2} if trial is best else {"color": BLUE, "linewidth": 0.8}
        axis.plot(range(len(columns)), heights, **look)
    axis.set_xticks(range(len(columns)), [_label(name, space.get(name)) for name in columns])
    axis.set(yticks=[0, 1], yticklabels=["low", "high"], ylim=(-0.05, 1.05))
    for number in range(len(columns)):
        axis.axvline(number, color=QUIET, linewidth=0.6)


def _slices(result: SearchResult, figure: Any) -> None:
    rows, space = grid_rows(len(result.config.space)), result.config.space
    columns = min(3, len(space))
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for panel, (key, dimension) in zip(panels, space.items(), strict=False):
        having = [trial for trial in result.complete if key in trial.values]
        places = [_height(dimension, trial.values[key]) for trial in having]
        at = [trial.values[key] for trial in having] if dimension.kind != "choice" else places
        panel.plot(at, [trial.objectives[0] for trial in having], "o", color=BLUE, markersize=4)
        panel.set_title(key_end(key))
        if dimension.kind == "log":
            panel.set_xscale("log")
            low, high = (
                dimension.ends
            )  # matplotlib's own labels of a logarithmic axis are formulas, which are not drawn
            middle = math.sqrt(low * high)
            panel.set_xticks([low, middle, high], [f"{low:g}", f"{middle:.2g}", f"{high:g}"])
            panel.set_xticks([], minor=True)
        if dimension.kind == "choice":
            ticks = [_height(dimension, choice) for choice in dimension.choices]
            panel.set_xticks(ticks, [words(one) for one in dimension.choices], rotation=20, ha="right")
    for panel in panels[len(space) :]:
        panel.set_visible(False)
    for panel in panels[::columns]:
        panel.set_ylabel(result.config.objectives[0].name)


def _importance(result: SearchResult, figure: Any) -> None:
    panels = figure.subplots(1, len(result.importance), squeeze=False, sharey=True)[0]
    names = list(next(iter(result.importance.values())))
    for panel, (index, shares) in zip(panels, result.importance.items(), strict=True):
        means = [float(np.mean(shares[name])) for name in names]
        panel.barh(range(len(names)), means, color=BLUE, height=0.6)
        for row, name in enumerate(names):
            panel.plot([min(shares[name]), max(shares[name])], [row, row], color=INK, linewidth=1.2)
        panel.set(xlim=(0, 1), xlabel="share of the variance", title=result.config.objectives[int(index)].name)
        panel.set_yticks(range(len(names)), [key_end(name) for name in names])


def _pareto(result: SearchResult, figure: Any) -> None:
    axis, (first, second) = figure.subplots(), result.config.objectives
    on_front = front(result.complete, result.config.objectives)
    axis.plot(*_points(result.complete), "o", color=QUIET, markersize=4, label="complete")
    axis.plot(*_points(on_front), "-o", color=BLUE, markersize=5, label="front")
    best = result.best()
    if best is not None:
        ring = {"markerfacecolor": "none", "markersize": 12, "color": GREEN}
        axis.plot(*_points([best]), "o", **ring, label=f"chosen: trial {best.number}")
    for trial in on_front:
        at = (trial.objectives[1], trial.objectives[0])
        axis.annotate(str(trial.number), at, xytext=(8, -10), textcoords="offset points")
    axis.set(xlabel=second.name, ylabel=first.name)
    axis.legend()


def _points(trials: Sequence[TrialRecord]) -> tuple[list[float], list[float]]:
    return [trial.objectives[1] for trial in trials], [trial.objectives[0] for trial in trials]


def _height(dimension: Dimension, value: Any) -> float:
    """Return where a value is between the ends of its dimension, 0 to 1; NaN where a trial has none."""
    if value is None and None not in dimension.choices:
        return math.nan
    if dimension.kind == "choice":
        return list(dimension.choices).index(value) / (len(dimension.choices) - 1)
    low, high = dimension.ends
    if dimension.kind == "log":
        return math.log(value / low) / math.log(high / low)
    return float((value - low) / (high - low))


def _share(value: float, values: Sequence[float]) -> float:
    return (value - min(values)) / (max(values) - min(values)) if max(values) > min(values) else 0.5


def _label(name: str, dimension: Dimension | None) -> str:
    if dimension is None:
        return key_end(name)
    if dimension.kind == "choice":
        return f"{key_end(name)}\n{words(dimension.choices[0])} … {words(dimension.choices[-1])}"
    return f"{key_end(name)}\n{dimension.low:g} … {dimension.high:g}"


def key_end(key: str) -> str:
    """Return the end of a dotted key that reads on its own, without the study: ``stl_n lr``, ``variants``."""
    parts = key.split(".")
    return key if len(parts) < 2 or "/" in key else " ".join(dict.fromkeys((parts[1], parts[-1])))


def words(value: Any) -> str:
    """Return a value as tables and figures show it."""
    if isinstance(value, list | tuple):
        return ", ".join(map(words, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)

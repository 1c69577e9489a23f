"""Fig. 3 to 7 as points with intervals: one row of panels a setting, one panel a metric, one line a network.

Hue and shape both tell how a network starts: orange squares RI, blue circles TL, green diamonds transfusion.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from medtransfer.reporting.content import Figure
from medtransfer.reporting.drawing import BLUE, GREEN, ORANGE, QUIET, legend, svg
from medtransfer.reporting.formatting import bounds, is_missing
from medtransfer.studies.truncated_transfer.claims import METRICS
from medtransfer.studies.truncated_transfer.report.names import (
    METRIC_TITLES,
    STRATEGIES,
    condition_title,
    network_of,
    network_title,
    strategy_of,
)
from medtransfer.studies.truncated_transfer.report.values import Row

LOOKS: dict[str, dict[str, Any]] = {
    "random": {"color": ORANGE, "marker": "s"},
    "transfer": {"color": BLUE, "marker": "o"},
    "transfusion": {"color": GREEN, "marker": "D"},
}
_HOW = (
    "Test images, mean over seeds with its 95 % interval; columns of panels: metrics, rows: task · regime · protocol."
)


class Mark(NamedTuple):
    """One point: the line that it stands on, how its network starts, and its numbers."""

    line: str
    strategy: str
    row: Row


def transfer_figure(rows: Sequence[Row], gains: Sequence[Row]) -> Figure:
    """Draw TL and RI of every network that was run with both (Fig. 3 and 4)."""
    both = {network_of(row["variant"]) for row in gains}
    marks = [
        _mark(row)
        for row in rows
        if network_of(row["variant"]) in both and strategy_of(row["variant"]) != "transfusion"
    ]
    return _forest("figure3", "Fig. 3, 4 · Transfer against random initialisation", _HOW, marks)


def cuts_figure(changes: Sequence[Row]) -> Figure:
    """Draw the relative change of cut networks against the whole one (Fig. 5)."""
    numbers = ("mean", "low", "high", "low_seeds", "high_seeds")
    scaled = [row | {name: None if row[name] is None else 100 * row[name] for name in numbers} for row in changes]
    caption = f"Per cent; the dotted line is the whole network. {_HOW}"
    return _forest("figure5", "Fig. 5 · Change against the whole network", caption, map(_mark, scaled), zero=True)


def transfusion_figure(rows: Sequence[Row], gaps: Sequence[Row]) -> Figure:
    """Draw truncated transfer and transfusion at the same depth (Fig. 6)."""
    line = {row[side]: network_title(row["variant"]) for row in gaps for side in ("variant", "variant_b")}
    marks = [Mark(line[row["variant"]], strategy_of(row["variant"]), row) for row in rows if row["variant"] in line]
    caption = f"Blue: cut after the block; green: the same blocks under a slimmer, random top. {_HOW}"
    return _forest("figure6", "Fig. 6 · Truncated transfer and transfusion", caption, marks)


def networks_figure(rows: Sequence[Row]) -> Figure:
    """Draw all variants by AUROC and AUPRC (Fig. 7)."""
    return _forest("figure7", "Fig. 7 · All networks by AUROC and AUPRC", _HOW, map(_mark, rows))


def _mark(row: Row) -> Mark:
    return Mark(network_title(row["variant"]), strategy_of(row["variant"]), row)


def _forest(key: str, title: str, caption: str, marks: Iterable[Mark], *, zero: bool = False) -> Figure:
    shown = [mark for mark in marks if not is_missing(mark.row["mean"])]
    conditions = list(dict.fromkeys(mark.row["condition"] for mark in shown))
    lines = list(dict.fromkeys(mark.line for mark in shown))

    def draw(figure: Any) -> None:
        axes = figure.subplots(len(conditions), len(METRICS), sharex="col", sharey=True, squeeze=False)
        for condition, panels in zip(conditions, axes, strict=True):
            for metric, axis in zip(METRICS, panels, strict=True):
                own = [mark for mark in shown if (mark.row["condition"], mark.row["metric"]) == (condition, metric)]
                _panel(axis, own, lines)
                axis.set_title(f"{METRIC_TITLES[metric]} · {condition_title(condition)}")
                if zero:
                    axis.axvline(0, color=QUIET, linewidth=0.8, linestyle=":")
                if condition == conditions[-1]:
                    axis.set_xlabel(METRIC_TITLES[metric] + (", %" if zero else ""))
        legend(figure, axes.ravel())

    height = 0.8 + len(conditions) * (0.5 + 0.3 * len(lines))
    return Figure(key, title, caption, svg(draw, key, height=height), keyed=False)


def _panel(axis: Any, marks: Sequence[Mark], lines: Sequence[str]) -> None:
    """Draw points with intervals; those of one line stand a little apart."""
    for mark in marks:
        beside = [other.strategy for other in marks if other.line == mark.line]
        place = -lines.index(mark.line) - 0.28 * (beside.index(mark.strategy) - (len(beside) - 1) / 2)
        look, (low, high) = LOOKS[mark.strategy], bounds(mark.row)
        if not is_missing(low):
            axis.plot([low, high], [place] * 2, color=look["color"], linewidth=1.4)
        label = STRATEGIES[mark.strategy]
        axis.plot([mark.row["mean"]], [place], **look, markersize=5, linestyle="none", label=label)
    axis.set_yticks([-number for number in range(len(lines))], lines)
    axis.set_ylim(-len(lines) + 0.4, 0.6)

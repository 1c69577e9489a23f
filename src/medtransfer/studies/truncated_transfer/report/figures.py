"""Fig. 3 to 7 as points with intervals: one row of panels per setting, one panel per metric, one line per network.

Hue and shape show how a network starts: orange squares RI, blue circles TL, green diamonds transfusion.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from medtransfer.evaluation.cells import Row
from medtransfer.reporting.content import Figure
from medtransfer.reporting.drawing import BLUE, DASHES, GREEN, ORANGE
from medtransfer.reporting.formatting import METRIC_TITLES, is_missing
from medtransfer.reporting.plots import Mark, forest
from medtransfer.studies.truncated_transfer.report.names import (
    STRATEGIES,
    condition_title,
    network_of,
    network_title,
    strategy_of,
)

LOOKS: dict[str, dict[str, Any]] = {
    "random": {"color": ORANGE, "marker": "s"},
    "transfer": {"color": BLUE, "marker": "o"},
    "transfusion": {"color": GREEN, "marker": "D"},
}
_HOW = "Test images, mean over seeds with its 95 % interval; columns: metrics; rows: task · regime · protocol."


def transfer_figure(rows: Sequence[Row], gains: Sequence[Row]) -> Figure:
    """Draw TL and RI of every network that was run with both (Fig. 3 and 4)."""
    both = {network_of(row["variant"]) for row in gains}
    rows = [r for r in rows if network_of(r["variant"]) in both and strategy_of(r["variant"]) != "transfusion"]
    return forest("figure3", "Fig. 3, 4 · Transfer against random initialisation", _HOW, _marks(rows))


def cuts_figure(changes: Sequence[Row]) -> Figure:
    """Draw the relative change of cut networks against the whole network (Fig. 5)."""
    numbers = ("mean", "low", "high", "low_seeds", "high_seeds")
    scaled = [row | {name: None if is_missing(row[name]) else 100 * row[name] for name in numbers} for row in changes]
    caption = f"Per cent; the dotted line is the whole network. {_HOW}"
    title = "Fig. 5 · Change against the whole network"
    return forest("figure5", title, caption, _marks(scaled), label="{column}, %", reference=0)


def transfusion_figure(rows: Sequence[Row], gaps: Sequence[Row]) -> Figure:
    """Draw truncated transfer and transfusion at the same depth (Fig. 6)."""
    line = {row[side]: network_title(row["variant"]) for row in gaps for side in ("variant", "variant_b")}
    marks = [
        mark._replace(line=line[row["variant"]])
        for row, mark in zip(rows, _marks(rows), strict=True)
        if row["variant"] in line
    ]
    caption = f"Blue: cut after the block; green: the same blocks under a slimmer, random top. {_HOW}"
    return forest("figure6", "Fig. 6 · Truncated transfer and transfusion", caption, marks)


def networks_figure(rows: Sequence[Row]) -> Figure:
    """Draw all variants by AUROC and AUPRC (Fig. 7)."""
    return forest("figure7", "Fig. 7 · All networks by AUROC and AUPRC", _HOW, _marks(rows))


def line_style(variant: str, variants: Sequence[str]) -> dict[str, Any]:
    """Return colour by how a variant starts, and dashes by its index among the variants that start alike."""
    alike = [other for other in variants if strategy_of(other) == strategy_of(variant)]
    return {"color": LOOKS[strategy_of(variant)]["color"], "linestyle": DASHES[alike.index(variant) % len(DASHES)]}


def _marks(rows: Iterable[Row]) -> list[Mark]:
    return [
        Mark(
            condition_title(row["condition"]),
            METRIC_TITLES[row["metric"]],
            network_title(row["variant"]),
            STRATEGIES[strategy_of(row["variant"])],
            LOOKS[strategy_of(row["variant"])],
            row,
        )
        for row in rows
    ]

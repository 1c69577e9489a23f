"""Quality against the cost of a network, with the Pareto front: the networks that no cheaper network beats."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from medtransfer.evaluation.cells import Row
from medtransfer.reporting.content import Column, Figure, Table, TableCell
from medtransfer.reporting.drawing import INK, QUIET, legend, svg
from medtransfer.reporting.formatting import MISSING, is_missing, lookup, number
from medtransfer.studies.truncated_transfer.report.figures import LOOKS
from medtransfer.studies.truncated_transfer.report.names import (
    FIT,
    STRATEGIES,
    condition_title,
    fit_cells,
    network_of,
    network_title,
    strategy_of,
)
from medtransfer.studies.truncated_transfer.report.results import Results


class Unit(NamedTuple):
    """Format of a cost: title, factor, digits, and its letter in the table."""

    title: str
    factor: float
    digits: int
    letter: str


COSTS = {
    "parameters": Unit("parameters, millions", 1e-6, 2, "P"),
    "multiply_adds": Unit("multiply-adds, millions", 1e-6, 0, "M"),
    "step_seconds": Unit("training step, ms", 1e3, 0, "S"),
    "latency_seconds": Unit("latency, ms", 1e3, 1, "L"),
}


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the (cost, quality) points that no other point beats, cheapest first.

    A point beats another if it costs no more and is no worse, and is better in at least one of the two.
    """
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    return [i for i in order if not any(_beats(other, points[i]) for other in points)]


def cost_table(results: Results, rows: Sequence[Row], costs: Mapping[str, Any]) -> Table:
    """Return cost and AUPRC of every variant; letters name the fronts that the variant is on."""
    tested = [condition.name for condition in results.conditions]
    fronts = {(c, name): _front(_points(c, rows, costs, name)) for c in tested for name in COSTS}
    quality = lookup(rows, "variant", "condition", "metric")
    body = []
    for variant in results.config.variants:
        own = costs["networks"].get(network_of(variant), {})
        cells = [_cost(own, name) for name in COSTS]
        for condition in tested:
            letters = [unit.letter for name, unit in COSTS.items() if variant in fronts[condition, name]]
            mean = quality.get((variant, condition, "auprc"), {}).get("mean")
            cells.append(TableCell(number(mean), f"front {' '.join(letters)}" if letters else ""))
        body.append((*fit_cells((variant, ""))[1:], *cells))
    return Table(
        "cost",
        "Quality against cost",
        f"AUPRC on the test images, mean over seeds. “front” names the costs (P, M, S, L as in the column heads) for "
        f"which no other variant is both as cheap and as good. {_machine(costs)}",
        (
            *FIT[1:],
            *(Column(f"{unit.title} ({unit.letter})") for unit in COSTS.values()),
            *(Column("AUPRC", condition_title(condition)) for condition in tested),
        ),
        tuple(body),
        ("The front uses means and ignores intervals; if intervals overlap, a neighbour may be on the front as well.",),
    )


def cost_figure(results: Results, rows: Sequence[Row], costs: Mapping[str, Any]) -> Figure:
    """Draw AUPRC against each cost: one row of panels per setting, with the front as a line."""
    tested = [condition.name for condition in results.conditions]

    def draw(figure: Any) -> None:
        axes = figure.subplots(len(tested), len(COSTS), sharex="col", sharey="row", squeeze=False)
        for condition, panels in zip(tested, axes, strict=True):
            for name, axis in zip(COSTS, panels, strict=True):
                _panel(axis, _points(condition, rows, costs, name))
            panels[0].set_ylabel(f"AUPRC\n{condition_title(condition)}")
        for unit, axis in zip(COSTS.values(), axes[-1], strict=True):
            axis.set_xlabel(unit.title)
        legend(figure, axes.ravel())

    caption = (
        f"The line is the front: variants that no other variant beats in both. Costs are logarithmic. {_machine(costs)}"
    )
    title = "Quality against cost, with the Pareto front"
    return Figure("pareto", title, caption, svg(draw, "pareto", height=0.6 + 2.6 * len(tested)))


def _points(condition: str, rows: Sequence[Row], costs: Mapping[str, Any], name: str) -> dict[str, tuple[float, float]]:
    """Return cost and AUPRC of every variant that has both."""
    networks = costs["networks"]
    return {
        row["variant"]: (networks[network_of(row["variant"])][name] * COSTS[name].factor, row["mean"])
        for row in rows
        if (row["condition"], row["metric"]) == (condition, "auprc")
        and network_of(row["variant"]) in networks
        and not is_missing(row["mean"])
    }


def _front(points: Mapping[str, tuple[float, float]]) -> list[str]:
    variants = list(points)
    return [variants[i] for i in pareto_front(list(points.values()))]


def _panel(axis: Any, points: Mapping[str, tuple[float, float]]) -> None:
    front = _front(points)
    corners = zip(*(points[variant] for variant in front), strict=True)
    axis.step(*corners, where="post", color=QUIET, linewidth=1, zorder=0)
    for variant, (cost, quality) in points.items():
        look = LOOKS[strategy_of(variant)]
        edge = {"markeredgecolor": INK, "markeredgewidth": 1.2} if variant in front else {}
        axis.plot([cost], [quality], **look, **edge, markersize=6, linestyle="none")
        if variant in front:
            place = {"xytext": (0, 5), "va": "bottom"} if front.index(variant) % 2 else {"xytext": (0, -5), "va": "top"}
            title = network_title(variant).replace("_to_", "\nto ")
            axis.annotate(title, (cost, quality), **place, textcoords="offset points", ha="center", fontsize=7)
    for strategy in dict.fromkeys(map(strategy_of, points)):
        axis.plot([], [], **LOOKS[strategy], linestyle="none", label=STRATEGIES[strategy])
    _plain_log(axis)
    axis.margins(x=0.3, y=0.3)


def _plain_log(axis: Any) -> None:
    """Make the horizontal axis logarithmic, with plain numbers at its ticks."""
    axis.set_xscale("log")
    axis.xaxis.get_major_locator().set_params(subs=(1.0, 2.0, 5.0))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.xaxis.set_minor_formatter(lambda *_: "")


def _beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
    return a[0] <= b[0] and a[1] >= b[1] and a != b


def _cost(own: Mapping[str, float], name: str) -> TableCell:
    unit = COSTS[name]
    return TableCell(number(own[name] * unit.factor, digits=unit.digits)) if name in own else MISSING


def _machine(costs: Mapping[str, Any]) -> str:
    machine = costs["machine"]
    where = machine["gpus"][0] if machine["device"] == "cuda" else f"{machine['cpu']}, {machine['threads']} thread(s)"
    return (
        f"Images of {costs['side']} px; a training step has {costs['batch']} images, latency is for one; measured on "
        f"{where}, {machine['precision']}."
    )

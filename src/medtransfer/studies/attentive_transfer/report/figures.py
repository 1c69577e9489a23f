"""Figures of the attentive-transfer report: estimates, operating curves, learning curves.

Blue circles are networks with ATTN, orange squares are plain ones (Okabe & Ito's palette): hue and shape both tell.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from medtransfer.evaluation.binary import operating_points
from medtransfer.reporting.content import Figure
from medtransfer.reporting.drawing import BLUE, ORANGE, QUIET, legend, svg
from medtransfer.studies.attentive_transfer.paper.values import Cell, attention_layers, network_title
from medtransfer.studies.attentive_transfer.report.names import chain_title
from medtransfer.studies.attentive_transfer.report.results import Measured

_DASHES = ("-", "--", ":", "-.")


def forest(estimates: pd.DataFrame) -> Figure:
    """Draw AUROC with its interval, one line a network and chain, one panel a data set.

    ``estimates`` are the AUROC rows of ``cells.estimates``.
    """
    order = list(dict.fromkeys(zip(estimates["chain"], estimates["network"], strict=True)))
    order.sort(key=lambda cell: list(dict.fromkeys(estimates["chain"])).index(cell[0]))
    place = {
        cell: -index - 0.6 * list(dict.fromkeys(c for c, _ in order)).index(cell[0]) for index, cell in enumerate(order)
    }

    def draw(figure: Any) -> None:
        names = list(dict.fromkeys(estimates["dataset"]))
        axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axis, name in zip(axes, names, strict=True):
            for row in estimates[estimates["dataset"] == name].itertuples():
                low, high = (row.low, row.high) if pd.isna(row.low_seeds) else (row.low_seeds, row.high_seeds)
                look = _look(row.network)
                axis.plot([low, high], [place[row.chain, row.network]] * 2, color=look["color"], linewidth=1.4)
                axis.plot([row.mean], [place[row.chain, row.network]], **look, linestyle="none")
            axis.axvline(0.5, color=QUIET, linewidth=0.8, linestyle=":")
            axis.set_title(name)
            axis.set_xlabel("AUROC")
        axes[0].set_yticks(
            [place[cell] for cell in order], [f"{chain_title(c)} · {network_title(n)}" for c, n in order]
        )

    caption = "AUROC, mean over seeds, with its 95 % interval; the dotted line is chance."
    return Figure(
        "forest", "AUROC of every network and chain", caption, svg(draw, "forest", height=0.9 + 0.26 * len(order))
    )


def operating_curves(cells: Mapping[Cell, Measured], networks: Sequence[str], chain: str) -> Figure:
    """Draw ROC and precision-recall curves of all networks after one chain, of scores averaged over seeds."""
    shown = [network for network in networks if (network, chain) in cells]

    def draw(figure: Any) -> None:
        roc, precision = figure.subplots(1, 2)
        for network in shown:
            cell = cells[network, chain]
            _, hits, alarms = operating_points(cell.target, cell.score)
            style = {**_line(network, shown), "label": network_title(network)}
            share = hits / (hits + alarms)
            roc.plot([0, *(alarms / alarms[-1])], [0, *(hits / hits[-1])], **style)
            precision.plot([0, *(hits / hits[-1])], [share[0], *share], drawstyle="steps-pre", **style)
        roc.plot([0, 1], [0, 1], color=QUIET, linewidth=0.8, linestyle=":")
        precision.axhline(next(iter(cells.values())).target.mean(), color=QUIET, linewidth=0.8, linestyle=":")
        roc.set(xlabel="1 − specificity", ylabel="sensitivity", title="ROC")
        precision.set(xlabel="sensitivity", ylabel="precision", title="Precision–recall", ylim=(0, 1.03))
        roc.legend(loc="lower right")

    caption = f"Test images, chain {chain_title(chain)}, scores averaged over seeds; dotted lines are chance."
    return Figure("curves", "Operating curves", caption, svg(draw, "curves", height=3.4))


def learning_curves(history: pd.DataFrame, phase: str, title: str, networks: Sequence[str]) -> Figure:
    """Draw training loss and validation AUROC of one phase over steps, one panel a chain, one line a network and seed.

    ``history`` is the table of ``records.curves``.
    """
    table = history[history["phase"] == phase]
    chains = list(dict.fromkeys(sorted(table["chain"], key=lambda chain: (chain.count("-"), chain))))

    def draw(figure: Any) -> None:
        axes = figure.subplots(2, len(chains), sharey="row", squeeze=False)
        for (upper, lower), chain in zip(axes.T, chains, strict=True):
            for (network, seed), part in table[table["chain"] == chain].groupby(["network", "seed"], sort=False):
                label = network_title(network) if seed == part["seed"].min() else None
                style = _line(network, networks) | {"linewidth": 1.1, "label": label}
                upper.plot(part["step"], part["loss"], **style)
                lower.plot(part["step"], part["auroc"], **style)
            upper.set_title(chain_title(chain))
            lower.set_xlabel("step")
            upper.tick_params(labelbottom=False)
        axes[0, 0].set_ylabel("training loss")
        axes[1, 0].set_ylabel("validation AUROC")
        legend(figure, axes[0])

    caption = "One line a network and seed; the chain a panel is titled with is the one that the fit completes."
    if phase == "finetuned":
        caption = "One line a network and seed; a panel is titled with the chain that the fit started from."
    return Figure(f"learning-{phase}", title, caption, svg(draw, phase, height=4.0))


def _look(network: str) -> dict[str, Any]:
    if attention_layers(network):
        return {"color": BLUE, "marker": "o", "markersize": 5}
    return {"color": ORANGE, "marker": "s", "markersize": 5}


def _line(network: str, networks: Sequence[str]) -> dict[str, Any]:
    """Return colour by kind of network and dashes by its place among the networks of that kind."""
    kind = [name for name in networks if bool(attention_layers(name)) == bool(attention_layers(network))]
    dash = _DASHES[kind.index(network) % len(_DASHES)]
    return {"color": _look(network)["color"], "linestyle": dash, "linewidth": 1.6}

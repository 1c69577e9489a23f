"""Figures of the attentive-transfer report: estimates, operating curves, learning curves.

Blue circles are networks with ATTN, orange squares plain ones, green diamonds the control of ATTN (Okabe & Ito's
palette): hue and shape differ.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from medtransfer.reporting.content import Figure
from medtransfer.reporting.drawing import BLUE, DASHES, GREEN, ORANGE, legend, svg
from medtransfer.reporting.plots import Curve, Mark, forest, operating_curves
from medtransfer.studies.attentive_transfer.report.results import Results
from medtransfer.studies.attentive_transfer.titles import chain_title, inserted_layers, is_control, network_title

KINDS = {
    "with ATTN": {"color": BLUE, "marker": "o"},
    "convolution only": {"color": ORANGE, "marker": "s"},
    "control": {"color": GREEN, "marker": "D"},
}
"""Colour and marker of each kind of network."""


def forest_figure(results: Results) -> Figure:
    """Draw AUROC with its interval, one line per chain and network, one panel per data set."""
    marks = [
        Mark("", name, f"{chain_title(c)} · {network_title(n)}", kind(n), look(n), results.known[name, n, c, "auroc"])
        for name, cells in results.grid.items()
        for n, c in sorted(cells, key=lambda key: results.config.chains.index(key[1]))
    ]
    caption = "AUROC, mean over seeds, with its 95 % interval; the dotted line is chance."
    return forest("forest", "AUROC of every network and chain", caption, marks, label="AUROC", reference=0.5)


def curves_figure(results: Results, chain: str) -> Figure:
    """Draw ROC and precision-recall curves of all networks after one chain; scores are averaged over seeds."""
    networks = [network for network in results.config.networks if (network, chain) in results.cells]
    curves = []
    for network in networks:
        cell = results.cells[network, chain]
        target, scores, _ = cell.column(cell.outputs[0])
        curves.append(Curve(network_title(network), target, scores.mean(0), line_style(network, networks)))
    caption = f"Test images, chain {chain_title(chain)}, scores averaged over seeds; dotted lines are chance. "
    caption += colours(networks)
    return operating_curves("curves", "Operating curves", caption, curves)


def learning_curves(history: pd.DataFrame, key: str, title: str, caption: str, networks: Sequence[str]) -> Figure:
    """Draw training loss and validation AUROC over steps, one panel per chain, one line per network and seed.

    ``history`` is the table of ``records.curves``.
    """
    chains = sorted(set(history["condition"]), key=lambda chain: (chain.count("-"), chain))

    def draw(figure: Any) -> None:
        axes = figure.subplots(2, len(chains), sharey="row", squeeze=False)
        for (upper, lower), chain in zip(axes.T, chains, strict=True):
            own = history[history["condition"] == chain]
            for (network, seed), part in own.groupby(["variant", "seed"], sort=False):
                label = network_title(network) if seed == part["seed"].min() else None
                style = line_style(network, networks) | {"linewidth": 1.1, "label": label}
                upper.plot(part["step"], part["loss"], **style)
                lower.plot(part["step"], part["auroc"], **style)
            upper.set_title(chain_title(chain).replace(" → ", "\n→ "))  # one step per line: panels are narrow
            lower.set_xlabel("step")
            upper.tick_params(labelbottom=False)
        axes[0, 0].set_ylabel("training loss")
        axes[1, 0].set_ylabel("validation AUROC")
        legend(figure, axes[0])

    return Figure(key, title, f"{caption} {colours(networks)}", svg(draw, key, height=4.0))


def kind(network: str) -> str:
    """Return the kind of a network, as legends write it."""
    if is_control(network):
        return "control"
    return "with ATTN" if inserted_layers(network) else "convolution only"


def look(network: str) -> dict[str, Any]:
    """Return colour and marker of a network by its kind."""
    return dict(KINDS[kind(network)])


def colours(networks: Sequence[str]) -> str:
    """State which colour is which kind of network."""
    control = "; green: their control" if any(map(is_control, networks)) else ""
    return f"Blue: networks with ATTN; orange: convolution only{control}."


def line_style(network: str, networks: Sequence[str]) -> dict[str, Any]:
    """Return colour by kind of network and dashes by its index among the networks of that kind."""
    alike = [name for name in networks if kind(name) == kind(network)]
    return {"color": look(network)["color"], "linestyle": DASHES[alike.index(network) % len(DASHES)]}

"""Whether attention is at work: what the fits recorded of their ATTN layers, and what switching them off changes."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from medtransfer.reporting.content import Column, Table, Text
from medtransfer.reporting.formatting import (
    MISSING,
    is_missing,
    number,
    signed,
)
from medtransfer.reporting.records import Fit, kept_values
from medtransfer.studies.attentive_transfer.paper.values import attention_layers, network_title
from medtransfer.studies.attentive_transfer.report.names import chain_title

_GAMMA, _ENTROPY = "attention/gamma_abs_", "attention/entropy_"


def layer_frame(fits: Iterable[Fit]) -> pd.DataFrame:
    """Return what fine-tuning recorded of every ATTN layer at the step whose weights were kept.

    A row a fit and layer. Columns: ``network, chain, seed``; ``place`` of the layer in running order from 0, ``site``;
    ``gamma`` (mean |γ| of its last batch norm) and ``entropy`` (of its attention on the first validation batch,
    relative to that of looking at all places alike).
    """
    rows = []
    for names, folder in fits:
        if names["phase"] != "finetuned" or not attention_layers(names["network"]):
            continue
        kept = kept_values(folder)
        sites = [key.removeprefix(_GAMMA) for key in kept if key.startswith(_GAMMA)]
        rows += [
            names | {"place": place, "site": site, "gamma": kept[_GAMMA + site], "entropy": kept[_ENTROPY + site]}
            for place, site in enumerate(sites)
        ]
    return pd.DataFrame(rows, columns=["network", "chain", "seed", "place", "site", "gamma", "entropy"])


def attention_table(
    layers: pd.DataFrame, change: pd.DataFrame, networks: Sequence[str], chains: Sequence[str]
) -> Table:
    """Lay out a frame of :func:`layer_frame` beside one of ``cells.attention_change``: a row a network and chain."""
    places = range(1 + int(layers["place"].max()) if len(layers) else 0)
    recorded = dict(tuple(layers.groupby(["network", "chain", "place"])))
    changed = change.set_index(["network", "chain"])
    rows = []
    for cell in ((network, chain) for network in networks for chain in chains if attention_layers(network)):
        found = changed.loc[cell] if cell in changed.index else None
        if found is not None or (*cell, 0) in recorded:
            values = [_layer(recorded.get((*cell, place))) for place in places]
            rows.append((Text(network_title(cell[0])), Text(chain_title(cell[1])), *values, *_change(found)))
    return Table(
        "attention",
        "Is attention at work?",
        "Mean |γ| of each ATTN layer of the fine-tuned networks in running order, mean over seeds: γ weighs what a "
        "layer adds to its map, at 0 it is the identity. Below it the entropy of its attention, from 0 (all look at "
        "one place) to 1 (at all places alike). Change: of the predicted probability on switching all ATTN layers "
        "off, over all validation, test and outside images; its mean (± sd over seeds) and the largest of any image "
        "and seed. Beside it what the layers add to the AUROC of the test images: as trained − switched off.",
        (
            *(Column(name, number=False) for name in ("Network", "Chain")),
            *(Column(str(place + 1), "|γ| by ATTN layer") for place in places),
            *(Column(name, "change without ATTN") for name in ("mean", "largest")),
            Column("added by ATTN", "AUROC"),
        ),
        tuple(rows),
        tuple(_sites_note(network, part) for network, part in layers.groupby("network", sort=False)),
    )


def _layer(rows: pd.DataFrame | None) -> Text:
    if rows is None:
        return MISSING
    low, high = (number(value, digits=4) for value in (rows["gamma"].min(), rows["gamma"].max()))
    hover = f"{rows['site'].iloc[0]}; |γ| of the seeds: {low} to {high}"
    return Text(number(rows["gamma"].mean(), digits=4), f"entropy {number(rows['entropy'].mean())}", hover)


def _change(found: Any) -> tuple[Text, ...]:
    if found is None:
        return MISSING, MISSING, MISSING
    spread = "" if is_missing(found["sd"]) else f" ± {number(found['sd'])}"
    largest = Text(number(found["largest"]), "attention inactive" if found["inactive"] else "")
    return Text(number(found["mean"]) + spread), largest, Text(signed(found["auroc"]))


def _sites_note(network: str, rows: pd.DataFrame) -> str:
    sites = rows.drop_duplicates("place").sort_values("place")["site"]
    return f"Layers of {network_title(network)}: {', '.join(sites)}."

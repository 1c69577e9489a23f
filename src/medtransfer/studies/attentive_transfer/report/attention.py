"""Whether inserted layers are active: the fits' records of them, and the effect of switching them off."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from medtransfer.evaluation.binary import auroc
from medtransfer.evaluation.cells import Key, Row
from medtransfer.evaluation.interventions import INSERTED_OFF, inactive
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import MISSING, is_missing, labels, number, signed, spread
from medtransfer.reporting.records import Fit, kept_values
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig
from medtransfer.studies.attentive_transfer.titles import chain_title, inserted_layers, is_control, network_title

_CELL = ["variant", "condition"]
_GAMMA, _ENTROPY = "inserted/gamma_abs_", "inserted/entropy_"


def attention_change(rows: pd.DataFrame, config: AttentiveTransferConfig) -> dict[Key, Row]:
    """Return how much switching the inserted layers off changes probabilities, and how much AUROC the layers add.

    Args:
        rows: rows of the predictions table for the positive class, with and without the intervention.
        config: the study's parameters.

    Returns:
        For every network with inserted layers and chain, over all images and seeds: ``largest`` change of a
        probability; ``mean`` and ``sd`` over seeds of the mean change over images (``sd`` NaN with one seed);
        ``auroc``, on − off on the study's own test images, mean over seeds; ``inactive``, whether ``largest`` is too
        small to count.
    """
    image = [*_CELL, "seed", "dataset", "split", "image_id"]
    off = rows[rows["intervention"] == INSERTED_OFF].set_index(image)[["score", "target"]]
    if off.empty:  # no network of the study has inserted layers
        return {}
    on = rows[rows["intervention"] == ""].set_index(image)[["score", "target"]].loc[off.index]
    seeds = (on["score"] - off["score"]).abs().groupby([*_CELL, "seed"]).agg(["mean", "max"])
    fits = seeds.groupby(_CELL)
    change = pd.DataFrame({"largest": fits["max"].max(), "mean": fits["mean"].mean(), "sd": fits["mean"].std()})
    change["auroc"] = _mean_auroc(on, config) - _mean_auroc(off, config)
    change["inactive"] = change["largest"].map(inactive)
    return {(network, chain): dict(row) for (network, chain), row in change.to_dict("index").items()}


def _mean_auroc(rows: pd.DataFrame, config: AttentiveTransferConfig) -> pd.Series:
    """Return the AUROC by network and chain on the study's own test images, mean over seeds."""
    own = rows.query("split == 'test' and dataset == @config.finetune.dataset and target.notna()")
    seeds = own.groupby([*_CELL, "seed"])
    areas = pd.Series({fit: auroc(part["target"], part["score"]) for fit, part in seeds}, dtype=float)
    return areas.groupby(level=[0, 1]).mean()


def layer_frame(fits: Iterable[Fit]) -> pd.DataFrame:
    """Return what fine-tuning recorded about every inserted layer at the step whose weights were kept.

    One row per fit and layer. Columns: ``variant, condition, seed``; ``place`` of the layer in forward order from 0,
    ``site``; ``gamma`` (mean |γ| of its last batch norm) and ``entropy`` (of its attention on the first validation
    batch, relative to uniform attention; NaN of a control, which has none).
    """
    rows = []
    for names, folder in fits:
        if names["phase"] != "finetune" or not inserted_layers(names["variant"]):
            continue
        values = kept_values(folder)
        sites = [key.removeprefix(_GAMMA) for key in values if key.startswith(_GAMMA)]
        rows += [
            names
            | {"place": place, "site": site, "gamma": values[_GAMMA + site]}
            | {"entropy": values.get(_ENTROPY + site, np.nan)}
            for place, site in enumerate(sites)
        ]
    return pd.DataFrame(rows, columns=[*_CELL, "seed", "place", "site", "gamma", "entropy"])


def attention_table(layers: pd.DataFrame, change: Mapping[Key, Row], keys: Sequence[Key]) -> Table:
    """Return the state of the inserted layers (:func:`layer_frame`) and the effect of switching them off."""
    places = range(1 + int(layers["place"].max()) if len(layers) else 0)
    recorded = dict(tuple(layers.groupby([*_CELL, "place"])))
    rows = [
        (
            TableCell(network_title(key[0])),
            TableCell(chain_title(key[1])),
            *(_layer(recorded.get((*key, place))) for place in places),
            *_change(key[0], change.get(key)),
        )
        for key in keys
        if inserted_layers(key[0]) and (key in change or (*key, 0) in recorded)
    ]
    return Table(
        "attention",
        "Is attention active?",
        "Mean |γ| of each inserted layer of the fine-tuned networks in forward order, mean over seeds: γ scales what a "
        "layer adds to its feature map; at 0 the layer is the identity. Below it the entropy of its attention, from 0 "
        "(all attention on one position) to 1 (uniform). Change: of the predicted probability when the inserted layers "
        "are switched off, over all validation, test and outside images: its mean (± sd over seeds) and the largest "
        "over images and seeds. AUROC added by them: on the test images, as trained − switched off.",
        (
            *labels("Network", "Chain"),
            *(Column(str(place + 1), "|γ| by inserted layer") for place in places),
            *(Column(name, "change without them") for name in ("mean", "largest")),
            Column("added by them", "AUROC"),
        ),
        tuple(rows),
        tuple(_sites_note(network, part) for network, part in layers.groupby("variant", sort=False)),
    )


def _layer(rows: pd.DataFrame | None) -> TableCell:
    if rows is None:
        return MISSING
    low, high = (number(value, digits=4) for value in (rows["gamma"].min(), rows["gamma"].max()))
    hover = f"{rows['site'].iloc[0]}; |γ| of the seeds: {low} to {high}"
    entropy = rows["entropy"].mean()
    detail = "" if is_missing(entropy) else f"entropy {number(entropy)}"
    return TableCell(number(rows["gamma"].mean(), digits=4), detail, hover)


def inactive_mark(network: str, change: Row) -> str:
    """Return the mark of a network whose inserted layers are asleep; empty when they are awake."""
    return f"{'control' if is_control(network) else 'attention'} inactive" if change["inactive"] else ""


def _change(network: str, change: Row | None) -> tuple[TableCell, ...]:
    if change is None:
        return MISSING, MISSING, MISSING
    largest = TableCell(number(change["largest"]), inactive_mark(network, change))
    return TableCell(spread(change["mean"], change["sd"])), largest, TableCell(signed(change["auroc"]))


def _sites_note(network: str, rows: pd.DataFrame) -> str:
    sites = rows.drop_duplicates("place").sort_values("place")["site"]
    return f"Layers of {network_title(network)}: {', '.join(sites)}."

"""The numbers that Liu & Ji 2021 printed, as data, and a check of their arithmetic.

They are the CSV files in ``paper/``, typed from Tables 1–6; a number that is not there is not available. All values are
fractions of 1, where the paper prints per cent.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

Cell = tuple[str, str]
"""(network, chain)"""
PAPER = Path(__file__).parent / "paper"
NO_TRANSFER = "none"
WHOLE_CHAIN = "stl_n-stl_m-sstl_m"
_CHAINS = {
    "no_tl": NO_TRANSFER,
    "stl-n": "stl_n",
    "stl-m": "none-stl_m",
    "tl": WHOLE_CHAIN,
    "stl-n+stl-m+sstl-m": WHOLE_CHAIN,
    "stl-n+stl-m+ours": WHOLE_CHAIN,
    "stl-n+stl-m+moco": "stl_n-stl_m-moco",
    "stl-n+stl-m+simclr": "stl_n-stl_m-simclr",
}
_ATTENTION = {"baseline": 0, "1attn": 1, "5attn": 5}
_METRICS = {"accuracy": "accuracy", "f1": "f1", "auc": "auroc"}


def attention_layers(network: str) -> int:
    """Return the number of ATTN layers that a network's name ``<backbone>_attn<number>`` states."""
    return int(network.rpartition("_attn")[2])


def plain(network: str) -> str:
    """Return the name of the same backbone without ATTN."""
    return f"{network.rpartition('_attn')[0]}_attn0"


@dataclass(frozen=True)
class PaperTable:
    """A results table of the paper: its chains, and what its improvements are taken against."""

    number: int
    title: str
    chains: tuple[str, ...]
    against: Literal["plain network", "no transfer"]

    def reference(self, cell: Cell) -> Cell:
        """Return the cell that a cell's improvement is taken against."""
        network, chain = cell
        return (plain(network), chain) if self.against == "plain network" else (network, NO_TRANSFER)


TABLES = (
    PaperTable(2, "Networks after the whole chain", (WHOLE_CHAIN,), "plain network"),
    PaperTable(4, "The whole chain against no transfer", (NO_TRANSFER, WHOLE_CHAIN), "no transfer"),
    PaperTable(5, "Natural and medical pretraining alone", (NO_TRANSFER, "stl_n", "none-stl_m"), "no transfer"),
)


@cache
def printed() -> pd.DataFrame:
    """Return the printed cells of Tables 2–5.

    Columns: ``table, network, chain, metric, value, gain``; ``gain`` is the printed improvement, NaN where none is.
    Networks are ``resnet<depth>_attn<number>``.
    """
    raw = pd.concat(pd.read_csv(PAPER / f"mstl_table{number}.csv").assign(table=number) for number in (2, 3, 4, 5))
    raw["network"] = [
        f"{network}{depth}_attn{_ATTENTION[variant]}"
        for network, depth, variant in raw[["network", "depth", "variant"]].itertuples(index=False)
    ]
    raw["chain"] = raw["setting"].map(_CHAINS)
    raw["part"] = np.where(raw["metric"].str.endswith("_improvement"), "gain", "value")
    raw["metric"] = raw["metric"].str.removesuffix("_improvement").map(_METRICS)
    wide = raw.pivot(index=["table", "network", "chain", "metric"], columns="part", values="value") / 100
    return (
        wide.round(4).reset_index()[["table", "network", "chain", "metric", "value", "gain"]].rename_axis(None, axis=1)
    )


@cache
def arithmetic_errors() -> pd.DataFrame:
    """Return printed improvements that are not the difference of the printed values, by half a printed digit or more.

    Columns of :func:`printed` and ``difference``, what the printed values give.
    """
    cells = printed().dropna(subset="gain")
    value = cells.set_index(["table", "network", "chain", "metric"])["value"]
    tables = {table.number: table for table in TABLES}
    before = [
        value[row.table, *tables[row.table].reference((row.network, row.chain)), row.metric]
        for row in cells.itertuples()
    ]
    cells = cells.assign(difference=(cells["value"] - before).round(4))
    return cells[(cells["gain"] - cells["difference"]).abs() > 0.0005].reset_index(drop=True)

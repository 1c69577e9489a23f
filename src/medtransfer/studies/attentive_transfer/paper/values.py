"""The printed numbers of Liu & Ji 2021 as data, and a check of their arithmetic.

They are in the CSV files of ``paper/``, typed from Tables 1–6; a missing number is not available. All values are
fractions of 1, where the paper prints per cent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from medtransfer.evaluation.cells import Key
from medtransfer.studies.attentive_transfer.titles import plain

PAPER = Path(__file__).parent
NO_TRANSFER = "none"
WHOLE_CHAIN = "stl_n-stl_m-sstl_m"
CHAINS = {
    "no_tl": NO_TRANSFER,
    "stl-n": "stl_n",
    "stl-m": "none-stl_m",
    "tl": WHOLE_CHAIN,
    "stl-n+stl-m+sstl-m": WHOLE_CHAIN,
    "stl-n+stl-m+ours": WHOLE_CHAIN,
    "stl-n+stl-m+moco": "stl_n-stl_m-moco",
    "stl-n+stl-m+simclr": "stl_n-stl_m-simclr",
}
ATTENTION = {"baseline": 0, "1attn": 1, "5attn": 5}
METRICS = {"accuracy": "accuracy", "f1": "f1", "auc": "auroc"}


@dataclass(frozen=True)
class PaperTable:
    """A results table of the paper: its chains, and the reference of its improvements."""

    number: int
    title: str
    chains: tuple[str, ...]
    against: Literal["plain network", "no transfer", "multi-scale method"]

    def reference(self, key: Key) -> Key:
        """Return the (network, chain) that is the reference of the improvement of ``key``."""
        network, chain = key
        if self.against == "plain network":
            return plain(network), chain
        return network, NO_TRANSFER if self.against == "no transfer" else WHOLE_CHAIN

    def rows(self, chains: Sequence[str]) -> tuple[str, ...]:
        """Return the table's chains; the comparison of methods is extended by methods that the paper does not have."""
        if self.against != "multi-scale method":
            return self.chains
        return (*self.chains, *(chain for chain in method_chains(chains) if chain not in self.chains))


def method_chains(chains: Sequence[str]) -> list[str]:
    """Return the chains that differ from the whole chain only in their self-supervised method."""
    before = WHOLE_CHAIN.rpartition("-")[0]
    return [chain for chain in chains if chain.rpartition("-")[0] == before and chain != WHOLE_CHAIN]


TABLES = (
    PaperTable(2, "Networks after the whole chain", (WHOLE_CHAIN,), "plain network"),
    PaperTable(
        3,
        "Self-supervised methods as the last stage of pretraining",
        ("stl_n-stl_m-moco", "stl_n-stl_m-simclr", WHOLE_CHAIN),
        "multi-scale method",
    ),
    PaperTable(4, "The whole chain against no transfer", (NO_TRANSFER, WHOLE_CHAIN), "no transfer"),
    PaperTable(5, "Natural and medical pretraining alone", (NO_TRANSFER, "stl_n", "none-stl_m"), "no transfer"),
)


@cache
def printed() -> pd.DataFrame:
    """Return the printed cells of Tables 2–5.

    Columns: ``table, network, chain, metric, value, gain``; ``gain`` is the printed improvement, NaN if there is none.
    Networks are ``resnet<depth>_attn<number>``.
    """
    raw = pd.concat(pd.read_csv(PAPER / f"mstl_table{number}.csv").assign(table=number) for number in (2, 3, 4, 5))
    raw["network"] = [
        f"{network}{depth}_attn{ATTENTION[variant]}"
        for network, depth, variant in raw[["network", "depth", "variant"]].itertuples(index=False)
    ]
    raw["chain"] = raw["setting"].map(CHAINS)
    raw["part"] = np.where(raw["metric"].str.endswith("_improvement"), "gain", "value")
    raw["metric"] = raw["metric"].str.removesuffix("_improvement").map(METRICS)
    wide = raw.pivot(index=["table", "network", "chain", "metric"], columns="part", values="value") / 100
    return (
        wide.round(4).reset_index()[["table", "network", "chain", "metric", "value", "gain"]].rename_axis(None, axis=1)
    )


@cache
def arithmetic_errors() -> pd.DataFrame:
    """Return printed improvements that differ from the difference of the printed values by more than half a digit.

    Columns of :func:`printed` and ``difference``, computed from the printed values.
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


@cache
def printed_sources() -> pd.DataFrame:
    """Return the printed cells of Table 1: accuracy of STL-N on ImageNet's validation images.

    Columns: ``network, metric`` (``top_1``, ``top_5``), ``value``.
    """
    raw = pd.read_csv(PAPER / "mstl_table1.csv")
    raw = raw[raw["metric"].isin(("top1", "top5"))]
    names = [f"{row.network}{row.depth}_attn{ATTENTION[row.variant]}" for row in raw.itertuples()]
    return pd.DataFrame(
        {
            "network": names,
            "metric": raw["metric"].str.replace("top", "top_").to_numpy(),
            "value": raw["value"].to_numpy() / 100,
        }
    )

"""The margins and counts stated in the text of Liu & Ji 2021, and those that follow from its tables and sums."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.evaluation.cells import Key
from medtransfer.studies.attentive_transfer.paper.values import (
    ATTENTION,
    CHAINS,
    METRICS,
    NO_TRANSFER,
    PAPER,
    WHOLE_CHAIN,
    printed,
)
from medtransfer.studies.attentive_transfer.titles import plain

BACKBONES = ("resnet50", "resnet101")


@cache
def text_margins() -> pd.DataFrame:
    """Return the margins of sections 6.3 to 6.6 (``paper/mstl_text.csv``) and those computed from the printed values.

    Columns: ``section``; ``contrast``: ``attention`` (over the plain network), ``method`` (the paper's
    self-supervision over another) or ``benefit`` (of ATTN to the gain from a chain); ``networks``, over which the
    margin is a mean; ``chain, metric``; ``value``, as printed; ``difference``, computed from the printed values.
    """
    raw = pd.read_csv(PAPER / "mstl_text.csv", keep_default_na=False, dtype={"section": str})
    frame = pd.DataFrame(
        {
            "section": raw["section"],
            "contrast": raw["contrast"],
            "networks": [_networks(*names) for names in zip(raw["backbone"], raw["variant"], strict=True)],
            "chain": raw["setting"].map(CHAINS),
            "metric": raw["metric"].map(METRICS),
            "value": (raw["value"] / 100).round(4),
        }
    )
    return frame.assign(difference=[_difference(row) for row in frame.to_dict("records")])


@cache
def covidx_images() -> dict[str, int]:
    """Return the images of COVIDx that section 6.1 counts, by class and in ``total`` (``paper/mstl_covidx.csv``)."""
    counts = pd.read_csv(PAPER / "mstl_covidx.csv")
    return {str(name): int(images) for name, images in zip(counts["class"], counts["images"], strict=True)}


def _networks(backbone: str, variant: str) -> tuple[str, ...]:
    """Return the networks over which a margin is a mean; an empty name means all."""
    layers = [ATTENTION[variant]] if variant else list(ATTENTION.values())
    return tuple(f"{name}_attn{number}" for name in ([backbone] if backbone else BACKBONES) for number in layers)


def _difference(row: Mapping[str, Any]) -> float:
    cells = printed()
    cells = cells[cells["metric"] == row["metric"]].drop_duplicates(["network", "chain"])
    values = dict(zip(zip(cells["network"], cells["chain"], strict=True), cells["value"], strict=True))
    margin = _MARGINS[row["contrast"]]
    return round(float(np.mean([margin(values, network, row["chain"]) for network in row["networks"]])), 6)


def _attention(values: Mapping[Key, float], network: str, chain: str) -> float:
    return values[network, chain] - values[plain(network), chain]


def _method(values: Mapping[Key, float], network: str, chain: str) -> float:
    return values[network, WHOLE_CHAIN] - values[network, chain]


def _benefit(values: Mapping[Key, float], network: str, chain: str) -> float:
    return _attention(values, network, chain) - _attention(values, network, NO_TRANSFER)


_MARGINS: dict[str, Callable[[Mapping[Key, float], str, str], float]] = {
    "attention": _attention,
    "method": _method,
    "benefit": _benefit,
}

"""The numbers that Peng et al. 2021 print in their text, as data, and what they call their networks.

The results are bars in figures; no table holds them. Only what the text prints is here, typed into ``paper/``.
"""

import re
from functools import cache
from pathlib import Path

import pandas as pd

PAPER = Path(__file__).parent


TITLES = {
    "densenet121": "DenseNet-121",
    "resnet50": "ResNet-50",
    "cbr_larget": "CBR-LargeT",
    "cbr_largew": "CBR-LargeW",
    "cbr_small": "CBR-Small",
    "cbr_tiny": "CBR-Tiny",
    "cbr_tiny_w32": "CBR-Tiny of width 32",
}
"""Network → its name in the paper; cut and slim ones: :func:`network_title`."""

_MADE = re.compile(r"(?:(?P<dens>densenet121|dens)|resnet50|res)_(?P<kind>[ts])(?P<after>\d)")


def network_title(network: str) -> str:
    """Return what the paper calls a network, ``Dens-T1`` for ``densenet121_t1``; any other keeps its own name."""
    if made := _MADE.fullmatch(network):
        return f"{'Dens' if made['dens'] else 'Res'}-{made['kind'].upper()}{made['after']}"
    padded = network.endswith("_same")
    title = TITLES.get(network.removesuffix("_same") if padded else network, network)
    return f"{title}, padded" if padded and title != network else title


@cache
def paper_values() -> pd.DataFrame:
    """Return the numbers of the text: columns ``group, item, value``; ratios are negatives to one positive."""
    return pd.read_csv(PAPER / "peng_text_numbers.csv")

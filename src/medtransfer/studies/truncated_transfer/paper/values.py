"""The numbers in the text of Peng et al. 2021 as data, and the paper's names of networks.

The results are bars in figures and in no table. Only the numbers of the text are here, typed into ``paper/``.
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
"""Network → its name in the paper; cut and slim networks: :func:`network_title`."""

_CHANGED = re.compile(r"(?:(?P<dens>densenet121|dens)|resnet50|res)_(?P<kind>[ts])(?P<after>\d)")


def network_title(network: str) -> str:
    """Return the paper's name of a network, ``Dens-T1`` for ``densenet121_t1``; others keep their own name."""
    if changed := _CHANGED.fullmatch(network):
        return f"{'Dens' if changed['dens'] else 'Res'}-{changed['kind'].upper()}{changed['after']}"
    padded = network.endswith("_same")
    title = TITLES.get(network.removesuffix("_same") if padded else network, network)
    return f"{title}, padded" if padded and title != network else title


@cache
def paper_values() -> pd.DataFrame:
    """Return the numbers of the text: columns ``group, item, value``; ratios are negatives per positive."""
    return pd.read_csv(PAPER / "peng_text_numbers.csv")

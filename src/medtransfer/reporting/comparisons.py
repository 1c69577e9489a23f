"""Attention against convolution after the same chain: DeLong's test, Holm's correction, what could have been seen."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import pandas as pd

from medtransfer.evaluation.compare import delong_test, holm, smallest_detectable_difference
from medtransfer.evaluation.summary import LEVEL
from medtransfer.reporting.cells import Measured
from medtransfer.studies.attentive_transfer.claims import attention_pairs
from medtransfer.studies.attentive_transfer.printed import Cell

COLUMNS = (
    "chain",
    "network",
    "plain",
    "auroc",
    "auroc_plain",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
    "detectable",
)


def attention_against_convolution(
    cells: Mapping[Cell, Measured], networks: Sequence[str], chains: Sequence[str]
) -> pd.DataFrame:
    """Compare every network with ATTN to its plain backbone after the same chain, on scores averaged over seeds.

    Columns: ``chain, network, plain, auroc, auroc_plain, difference, low, high, p, p_holm, detectable``. The interval
    is the normal one of DeLong's variance, p is two-sided and ``p_holm`` adjusted over all rows, ``detectable`` is the
    true difference that these images would show in 80 of 100 such studies at p < 0.05. Images count as independent.
    """
    quantile = NormalDist().inv_cdf((1 + LEVEL) / 2)
    rows = []
    for chain in chains:
        for network, plain in attention_pairs(networks):
            if (network, chain) not in cells or (plain, chain) not in cells:
                continue
            first, second = cells[network, chain], cells[plain, chain]
            test = delong_test(first.target, first.score, second.score)
            half = quantile * math.sqrt(test.variance)
            detectable = smallest_detectable_difference(first.target, first.score, second.score)
            bounds = (test.difference - half, test.difference + half)
            rows.append(
                (chain, network, plain, test.auroc_a, test.auroc_b, test.difference, *bounds, test.p, detectable)
            )
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "p_holm"])
    return table.assign(p_holm=holm(table["p"].to_numpy(float)))[list(COLUMNS)]

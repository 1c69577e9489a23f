"""Paired comparisons on the same test images: DeLong's test, Holm's correction, and what could have been seen."""

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import pandas as pd

from medtransfer.evaluation.compare import delong_test, holm, smallest_detectable_difference
from medtransfer.evaluation.summary import LEVEL
from medtransfer.studies.attentive_transfer.claims import attention_pairs
from medtransfer.studies.attentive_transfer.paper.values import WHOLE_CHAIN, Cell, method_chains
from medtransfer.studies.attentive_transfer.report.results import Measured

COLUMNS = (
    "network",
    "chain",
    "network_b",
    "chain_b",
    "auroc",
    "auroc_b",
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
    """Compare every network with ATTN to its plain backbone after the same chain; see :func:`compare`."""
    pairs = [((a, chain), (b, chain)) for chain in chains for a, b in attention_pairs(networks)]
    return compare(cells, pairs)


def method_against_method(
    cells: Mapping[Cell, Measured], networks: Sequence[str], chains: Sequence[str]
) -> pd.DataFrame:
    """Compare the paper's self-supervised method to every other in its place, network by network."""
    pairs = [((n, WHOLE_CHAIN), (n, chain)) for n in networks for chain in method_chains(chains)]
    return compare(cells, pairs)


def compare(cells: Mapping[Cell, Measured], pairs: Sequence[tuple[Cell, Cell]]) -> pd.DataFrame:
    """Compare the first cell of each pair to the second on scores averaged over seeds; unmeasured pairs are left out.

    Columns: ``COLUMNS``. The interval is the normal one of DeLong's variance, p is two-sided and ``p_holm`` adjusted
    over all pairs, ``detectable`` is the true difference that these images would show in 80 of 100 such studies at
    p < 0.05. A patient's images belong together: the variance is that of whole patients.
    """
    quantile = NormalDist().inv_cdf((1 + LEVEL) / 2)
    rows = []
    for a, b in pairs:
        if a not in cells or b not in cells:
            continue
        first, second = cells[a], cells[b]
        images = first.target, first.score, second.score, first.patient
        test = delong_test(*images)
        half = quantile * math.sqrt(test.variance)
        detectable = smallest_detectable_difference(*images)
        bounds = (test.difference - half, test.difference + half)
        rows.append((*a, *b, test.auroc_a, test.auroc_b, test.difference, *bounds, test.p, detectable))
    table = pd.DataFrame(rows, columns=[name for name in COLUMNS if name != "p_holm"])
    return table.assign(p_holm=holm(table["p"].to_numpy(float)))[list(COLUMNS)]

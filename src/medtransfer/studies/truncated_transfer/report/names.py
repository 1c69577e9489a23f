"""Titles of variants and conditions, and the study's own terms."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from medtransfer.evaluation.cells import Key
from medtransfer.reporting.content import TableCell
from medtransfer.reporting.formatting import labels, with_caveat
from medtransfer.studies.truncated_transfer.claims import left_out
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig
from medtransfer.studies.truncated_transfer.paper import values as printed

T = TypeVar("T")
STRATEGIES = {"random": "RI", "transfer": "TL", "transfusion": "transfusion"}
GLOSSARY = {
    "TL": "transfer learning: training starts from pretrained weights",
    "RI": "random initialisation: training starts from random weights",
    "transfusion": "pretrained bottom under a slimmer, random top (Raghu et al. 2019)",
    "CKA": "centred kernel alignment: similarity of two networks’ features of the same images (Kornblith et al. 2019)",
    "Pareto front": "the variants that no other variant beats in both cost and quality",
}
FIT = labels("Setting", "Network", "Start")
"""Columns of :func:`fit_cells`."""


def network_of(variant: str) -> str:
    """Return the network of a variant, from its name: ``densenet121_t1``."""
    return variant.rpartition("-")[0]


def network_title(variant: str) -> str:
    """Return how the network of a variant is written: ``Dens-T1``, the paper's name if it has one."""
    return printed.network_title(network_of(variant))


def strategy_of(variant: str) -> str:
    """Return how a variant starts: ``random``, ``transfer`` or ``transfusion``."""
    return variant.rpartition("-")[2]


def start_title(variant: str) -> str:
    """Return how a variant starts, as tables write it: ``RI``, ``TL``, ``transfusion``."""
    return STRATEGIES[strategy_of(variant)]


def variant_title(variant: str) -> str:
    """Return how a variant is written: ``Dens-T1 · TL``."""
    return f"{network_title(variant)} · {start_title(variant)}"


def condition_title(condition: str) -> str:
    """Return how a condition is written: ``covid_ct · tenth · tuned``."""
    return condition.replace("-", " · ")


def fit_cells(key: Key) -> tuple[TableCell, TableCell, TableCell]:
    """Return setting, network and start of a (variant, condition)."""
    variant, condition = key
    network = TableCell(network_title(variant), hover=network_of(variant))
    return TableCell(condition_title(condition)), network, with_caveat(start_title(variant), left_out([variant]))


def in_order(config: TruncatedTransferConfig, parts: Mapping[Key, T]) -> Iterator[tuple[Key, T]]:
    """Yield the entries of a mapping by (variant, condition) in the order of the study, condition by condition."""
    for condition in config.conditions():
        yield from (
            ((v, condition.name), parts[v, condition.name]) for v in config.variants if (v, condition.name) in parts
        )

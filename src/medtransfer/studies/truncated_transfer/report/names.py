"""How variants and conditions are written."""

from medtransfer.studies.truncated_transfer.config import Condition
from medtransfer.studies.truncated_transfer.paper import values as printed

STRATEGIES = {"random": "RI", "transfer": "TL", "transfusion": "transfusion"}
METRIC_TITLES = {"auroc": "AUROC", "auprc": "AUPRC"}


def network_of(variant: str) -> str:
    """Return the network of a variant's name: ``densenet121_t1``."""
    return variant.rpartition("-")[0]


def network_title(variant: str) -> str:
    """Return how the network of a variant is written: ``Dens-T1``, as in the paper where it has a name for it."""
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


def condition_title(condition: Condition) -> str:
    """Return how a condition is written: ``covid_ct · tenth · tuned``."""
    return " · ".join(condition)

"""How arms and cells are written."""

from medtransfer.studies.truncated_transfer.config import Cell
from medtransfer.studies.truncated_transfer.paper import values as printed

STRATEGIES = {"random": "RI", "transfer": "TL", "transfusion": "transfusion"}
METRIC_TITLES = {"auroc": "AUROC", "auprc": "AUPRC"}


def network_of(arm: str) -> str:
    """Return the network of an arm's name: ``densenet121_t1``."""
    return arm.rpartition("-")[0]


def network_title(arm: str) -> str:
    """Return how the network of an arm is written: ``Dens-T1``, as in the paper where it has a name for it."""
    return printed.network_title(network_of(arm))


def strategy_of(arm: str) -> str:
    """Return how an arm starts: ``random``, ``transfer`` or ``transfusion``."""
    return arm.rpartition("-")[2]


def start_title(arm: str) -> str:
    """Return how an arm starts, as tables write it: ``RI``, ``TL``, ``transfusion``."""
    return STRATEGIES[strategy_of(arm)]


def arm_title(arm: str) -> str:
    """Return how an arm is written: ``Dens-T1 · TL``."""
    return f"{network_title(arm)} · {start_title(arm)}"


def cell_title(cell: Cell) -> str:
    """Return how a cell is written: ``covid_ct · tenth · tuned``."""
    return " · ".join(cell)

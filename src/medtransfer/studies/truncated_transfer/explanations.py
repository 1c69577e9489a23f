"""Which networks the gallery shows: few of different depth, on the first task with all its data."""

from medtransfer.studies.base import Explained
from medtransfer.studies.truncated_transfer import study
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig

SHOWN = 3
"""Networks side by side: each one costs a fit on permuted labels."""


def explained(config: TruncatedTransferConfig) -> Explained:
    """Return fits under the first condition, for the positive class or the first finding of its task.

    One variant per network, the last one listed; of many networks the first, the last and those evenly between.
    """
    condition = config.conditions()[0]
    task = config.tasks[condition.task]
    of_network = {config.variant(name).network: name for name in config.variants}
    variants, last = list(of_network.values()), len(of_network) - 1
    shown = {variants[round(number * last / (SHOWN - 1))]: None for number in range(SHOWN)}
    networks = {variant: study.fitted(variant, condition.name, config.seeds[0]) for variant in shown}
    return Explained(networks=networks, dataset=task.dataset, positive=task.positive or task.findings[0])

"""Which networks the gallery shows: every variant on the first task, all data, tuned or as the paper trains."""

from medtransfer.studies.base import Explained
from medtransfer.studies.truncated_transfer import study
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig


def explained(config: TruncatedTransferConfig) -> Explained:
    """Return every variant under the first condition, for the positive class or the first finding of its task."""
    condition = config.conditions()[0]
    task = config.tasks[condition.task]
    networks = {variant: study.fitted(variant, condition.name, config.seeds[0]) for variant in config.variants}
    return Explained(networks=networks, dataset=task.dataset, positive=task.positive or task.findings[0])

"""Which networks the gallery shows: all of them, for the disease."""

from medtransfer.studies.base import Explained
from medtransfer.studies.two_heads import study
from medtransfer.studies.two_heads.config import TwoHeadsConfig


def explained(config: TwoHeadsConfig) -> Explained:
    """Return every network with its first seed."""
    networks = {network: study.fitted(network, config.seeds[0]) for network in config.networks}
    return Explained(networks=networks, dataset=config.multitask.dataset, positive="covid")

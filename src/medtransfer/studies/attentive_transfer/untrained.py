"""The phase ``start``: untrained networks, from which all chains of a network and seed start."""

from collections.abc import Sequence

from medtransfer.studies.attentive_transfer import study
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig
from medtransfer.training.fitting import Setting
from medtransfer.training.initialization import write_untrained
from medtransfer.training.run import Plan


def plan(
    config: AttentiveTransferConfig, phase: str, variant: str, conditions: Sequence[str], setting: Setting
) -> Plan:
    """Return the plan that writes random weights for every seed: the chain ``none``."""
    del phase, setting
    seeds = sorted({*config.seeds, *config.pretrain_seeds})
    fits = [study.source(variant, condition, seed) for condition in conditions for seed in seeds]
    return Plan(write=lambda: write_untrained(config.network(variant), fits))

"""Truncated transfer: networks and how they start (variants) × task, regime and protocol (conditions) × seeds."""

from typing import TYPE_CHECKING

from medtransfer.paths import FitPaths
from medtransfer.studies.phases import Phase

if TYPE_CHECKING:  # the wiring is read by verbs that load neither data nor networks
    from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig

NAME = "truncated_transfer"
PAPER = "Peng et al. 2021"
PRETRAIN, FINETUNE = "pretrain", "finetune"
PHASES = {"pretrain": Phase("pretraining", PRETRAIN), "finetune": Phase("finetuning", FINETUNE)}
SOURCE = "source"
"""The one condition of a pretrained network: fits start from it."""
PRETRAINED_SEED = 0
"""All fits start from one pretrained network, as the paper uses one ImageNet checkpoint."""


def variants(config: "TruncatedTransferConfig", phase: str) -> tuple[str, ...]:
    """Return the whole networks that are pretrained, or the variants that are fine-tuned."""
    return tuple(config.start) if phase == "pretrain" else config.variants


def conditions(config: "TruncatedTransferConfig", phase: str, variant: str) -> tuple[str, ...]:
    """Return the conditions under which a variant is trained."""
    del variant
    return (SOURCE,) if phase == "pretrain" else tuple(condition.name for condition in config.conditions())


def datasets(config: "TruncatedTransferConfig") -> tuple[str, ...]:
    """Return the data sets of the tasks, and that of pretraining if it is done here."""
    pretrained = any(start.kind == "train" for start in config.start.values())
    tasks = (task.dataset for task in config.tasks.values())
    return tuple(dict.fromkeys((*((config.pretrain.dataset,) if pretrained and config.pretrain else ()), *tasks)))


def source(backbone: str) -> FitPaths:
    """Return where the weights of a whole pretrained network are."""
    return FitPaths(study=NAME, folder=PRETRAIN, variant=backbone, condition=SOURCE, seed=PRETRAINED_SEED)


def fitted(variant: str, condition: str, seed: int) -> FitPaths:
    """Return where the weights of a fine-tuned network are."""
    return FitPaths(study=NAME, folder=FINETUNE, variant=variant, condition=condition, seed=seed)

"""Truncated transfer: networks and how they start (variants) × task, regime and protocol (conditions) × seeds."""

from medtransfer.data.packed import PackedDataset
from medtransfer.data.regimes import RegimeConfig, apply_regime
from medtransfer.paths import FitPaths
from medtransfer.studies.phases import Phase
from medtransfer.studies.truncated_transfer.config import TaskConfig, TruncatedTransferConfig

NAME = "truncated_transfer"
PAPER = "Peng et al. 2021"
PRETRAINED, FINETUNED = "pretrained", "finetuned"
PHASES = {"pretrain": Phase("pretraining", PRETRAINED), "finetune": Phase("finetuning", FINETUNED)}
SOURCE = "source"
"""The one condition of a pretrained network: fits start from it."""
PRETRAINED_SEED = 0
"""All fits start from one pretrained network, as there is one ImageNet checkpoint in the paper."""


def variants(config: TruncatedTransferConfig, phase: str) -> tuple[str, ...]:
    """Return the whole networks that are pretrained, or the networks with the strategy of each."""
    return tuple(config.start) if phase == "pretrain" else config.variants


def conditions(config: TruncatedTransferConfig, phase: str, variant: str) -> tuple[str, ...]:
    """Return the conditions under which a variant is trained."""
    del variant
    return (SOURCE,) if phase == "pretrain" else tuple(condition.name for condition in config.conditions())


def datasets(config: TruncatedTransferConfig) -> tuple[str, ...]:
    """Return the data sets of the tasks, and that of pretraining where it is done here."""
    pretrained = any(start.kind == "train" for start in config.start.values())
    tasks = (task.dataset for task in config.tasks.values())
    return tuple(dict.fromkeys((*((config.pretrain.dataset,) if pretrained else ()), *tasks)))


def source(backbone: str) -> FitPaths:
    """Return where the weights of a whole pretrained network are."""
    return FitPaths(study=NAME, folder=PRETRAINED, variant=backbone, condition=SOURCE, seed=PRETRAINED_SEED)


def fitted(variant: str, condition: str, seed: int) -> FitPaths:
    """Return where the weights of a fine-tuned network are."""
    return FitPaths(study=NAME, folder=FINETUNED, variant=variant, condition=condition, seed=seed)


def under_regime(data: PackedDataset, task: TaskConfig, regime: RegimeConfig, seed: int) -> PackedDataset:
    """Return the same images with only the cases of a regime in the splits; each seed draws its own few cases."""
    manifest = apply_regime(data.manifest, regime, positive=task.positive, findings=task.findings, seed=seed)
    return PackedDataset(data.folder, manifest, data.meta)

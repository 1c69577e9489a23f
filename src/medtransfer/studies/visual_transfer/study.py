"""Visual transfer: columns of the paper's table and tried augmentations (variants), under one condition × seeds."""

from typing import TYPE_CHECKING

from medtransfer.paths import FitPaths, workspace
from medtransfer.studies.phases import Phase

if TYPE_CHECKING:  # the wiring is read by verbs that load neither data nor networks
    from medtransfer.studies.visual_transfer.config import VisualTransferConfig

NAME = "visual_transfer"
PAPER = "West et al. 2020"
START, FINETUNE, PRETRAIN = "start", "finetune", "pretrain"
PHASES = {START: Phase("starting", PRETRAIN), FINETUNE: Phase("finetuning", FINETUNE)}
SOURCE = "source"
"""The condition of a pretrained base: columns start from it."""
AGAINST_REST = "against_rest"
"""The condition of every fit: one class against all others."""
BASE_SEED = 0
"""A base has one seed, as the paper has one checkpoint of each."""
TRIED = "benchmark-"
"""What the name of a benchmark CNN with a tried augmentation begins with."""


def variants(config: "VisualTransferConfig", phase: str) -> tuple[str, ...]:
    """Return the pretrained bases, or the columns whose weights are declared and the tried augmentations."""
    return tuple(config.bases) if phase == START else config.variants


def conditions(config: "VisualTransferConfig", phase: str, variant: str) -> tuple[str, ...]:
    """Return the one condition of each phase."""
    del config, variant
    return (SOURCE,) if phase == START else (AGAINST_REST,)


def datasets(config: "VisualTransferConfig") -> tuple[str, ...]:
    """Return the images of the question, and those of this workspace that bases were pretrained on."""
    learnt = (base.dataset for base in config.bases.values() if base.dataset)
    return tuple(dict.fromkeys((config.dataset, *learnt)))


def base(name: str) -> FitPaths:
    """Return where the weights of a pretrained base are."""
    return FitPaths(study=NAME, folder=PRETRAIN, variant=name, condition=SOURCE, seed=BASE_SEED)


def fitted(variant: str, seed: int) -> FitPaths:
    """Return where the weights of a column or of a tried augmentation are."""
    return FitPaths(study=NAME, folder=FINETUNE, variant=variant, condition=AGAINST_REST, seed=seed)


def available(config: "VisualTransferConfig", variant: str) -> bool:
    """Whether the base of a variant has weights here: without them the phase ``start`` has written none."""
    name = config.column(variant).base
    return not name or (workspace() / base(name).weights / "config.json").exists()

"""Multi-task ViT: corpus backbones, and networks on them (variants), each under one condition × seeds."""

from typing import TYPE_CHECKING

from medtransfer.paths import FitPaths
from medtransfer.studies.phases import Phase

if TYPE_CHECKING:  # the wiring is read by verbs that load neither data nor networks
    from medtransfer.studies.multitask_vit.config import MultitaskVitConfig

NAME = "multitask_vit"
PAPER = "Park et al. 2022"
CORPUS, FINETUNE = "corpus", "finetune"
PRETRAIN = "pretrain"
PHASES = {CORPUS: Phase("corpus", PRETRAIN), FINETUNE: Phase("finetuning", FINETUNE)}
FINDINGS = "findings"
"""The condition of a corpus backbone: trained on findings, or ready-made."""
POOLED = "pooled"
"""The condition of a network: all sources together. Sources held out in turn are conditions of their own, not built."""
CORPUS_SEED = 0
"""All fits start from one backbone, as in the paper."""


def variants(config: "MultitaskVitConfig", phase: str) -> tuple[str, ...]:
    """Return the corpus backbones, or the networks."""
    return tuple(config.start) if phase == CORPUS else tuple(config.variants)


def conditions(config: "MultitaskVitConfig", phase: str, variant: str) -> tuple[str, ...]:
    """Return the one condition of each phase."""
    del config, variant
    return (FINDINGS,) if phase == CORPUS else (POOLED,)


def datasets(config: "MultitaskVitConfig") -> tuple[str, ...]:
    """Return the data sets of the corpus, if it is trained here, of the diagnosis and of the severity."""
    trained = any(start.kind == "train" for start in config.start.values())
    tasks = (config.finetune.label.dataset, config.finetune.zones.dataset)
    return tuple(dict.fromkeys((*((config.corpus.dataset,) if trained else ()), *tasks)))


def backbone(name: str) -> FitPaths:
    """Return where the weights of a corpus backbone are."""
    return FitPaths(study=NAME, folder=PRETRAIN, variant=name, condition=FINDINGS, seed=CORPUS_SEED)


def fitted(variant: str, seed: int) -> FitPaths:
    """Return where the weights of a network are."""
    return FitPaths(study=NAME, folder=FINETUNE, variant=variant, condition=POOLED, seed=seed)

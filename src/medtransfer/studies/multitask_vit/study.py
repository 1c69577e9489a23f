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
READY, FINDINGS = "ready", "findings"
"""The conditions of a backbone: ready-made weights, and trained on findings from these or from random ones."""
POOLED = "pooled"
"""The condition of a network: all hospitals together."""
WITHOUT = "without_"
"""Before the name of a hospital: the condition of a network that is trained without it."""
SPLITS = ("train", "val", "test")
CORPUS_SEED = 0
"""All fits start from one backbone, as in the paper."""


def variants(config: "MultitaskVitConfig", phase: str) -> tuple[str, ...]:
    """Return the corpus backbones, or the networks."""
    return tuple(config.backbones) if phase == CORPUS else tuple(config.variants)


def conditions(config: "MultitaskVitConfig", phase: str, variant: str) -> tuple[str, ...]:
    """Return what a backbone ends as, or which hospitals a network is trained on."""
    if phase == CORPUS:
        return (FINDINGS,) if config.backbones[variant].findings else (READY,)
    rotated = config.hospitals.held_out if variant in config.hospitals.variants else ()
    return (POOLED, *(f"{WITHOUT}{name}" for name in rotated))


def datasets(config: "MultitaskVitConfig") -> tuple[str, ...]:
    """Return the data sets of the corpus, if it is trained here, of the diagnosis and of the severity."""
    trained = any(backbone.findings for backbone in config.backbones.values())
    tasks = (config.finetune.label.dataset, config.finetune.zones.dataset)
    return tuple(dict.fromkeys((*((config.corpus.dataset,) if trained else ()), *tasks)))


def backbone(name: str, condition: str = FINDINGS) -> FitPaths:
    """Return where the weights of a backbone are."""
    return FitPaths(study=NAME, folder=PRETRAIN, variant=name, condition=condition, seed=CORPUS_SEED)


def pretrained(config: "MultitaskVitConfig", name: str) -> FitPaths:
    """Return where the weights are that networks on a backbone start from."""
    return backbone(name, *conditions(config, CORPUS, name))


def fitted(variant: str, seed: int, condition: str = POOLED) -> FitPaths:
    """Return where the weights of a network are."""
    return FitPaths(study=NAME, folder=FINETUNE, variant=variant, condition=condition, seed=seed)


def held_out(config: "MultitaskVitConfig", condition: str) -> str:
    """Return the ``source`` that a condition leaves out of training and validation; empty where it is none."""
    return "" if condition == POOLED else config.hospitals.held_out[condition.removeprefix(WITHOUT)]

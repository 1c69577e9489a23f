"""Multi-stage attentive transfer: networks (variants) × chains of pretraining (conditions) × seeds."""

from typing import TYPE_CHECKING

from medtransfer.paths import FitPaths
from medtransfer.studies.phases import Phase

if TYPE_CHECKING:  # the wiring is read by verbs that load neither data nor networks
    from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig

NAME = "attentive_transfer"
PAPER = "Liu & Ji 2021"
PRETRAIN, FINETUNE = "pretrain", "finetune"
PHASES = {
    "start": Phase("untrained", PRETRAIN),
    "stl_n": Phase("supervised", PRETRAIN),
    "stl_m": Phase("supervised", PRETRAIN),
    "sstl_m": Phase("self_supervised", PRETRAIN),
    "finetune": Phase("supervised", FINETUNE),
}


def variants(config: "AttentiveTransferConfig", phase: str) -> tuple[str, ...]:
    """Return the study's networks."""
    del phase
    return config.networks


def conditions(config: "AttentiveTransferConfig", phase: str, variant: str) -> tuple[str, ...]:
    """Return the chains that a pretraining phase completes, or that fine-tuning starts from."""
    del variant
    return {
        "start": ("none",),
        "stl_n": ("stl_n",),
        "stl_m": tuple(f"{after}-stl_m" for after in config.stl_m_after),
        "sstl_m": (
            *(f"{after}-sstl_m" for after in config.sstl_m_after),
            *(f"{after}-{method}" for after in config.methods_after for method in config.methods),
        ),
        "finetune": config.chains,
    }[phase]


def datasets(config: "AttentiveTransferConfig") -> tuple[str, ...]:
    """Return the data sets of the pretraining phases in use, of fine-tuning, and the outside sets."""
    used = {chain: conditions(config, chain, "") for chain in ("stl_m", "sstl_m")}
    chains = [*config.chains, *(chain for of_phase in used.values() for chain in of_phase)]
    natural = config.start.kind == "train" and any(chain.startswith("stl_n") for chain in chains)
    names = [config.stl_n.dataset] if natural else []
    names += [getattr(config, phase).dataset for phase, of_phase in used.items() if of_phase]
    return tuple(dict.fromkeys((*names, config.finetune.dataset, *config.outside)))


def source(network: str, chain: str, seed: int) -> FitPaths:
    """Return where the weights of a network after a chain of pretraining are."""
    return FitPaths(study=NAME, folder=PRETRAIN, variant=network, condition=chain, seed=seed)


def finetuned(network: str, chain: str, seed: int) -> FitPaths:
    """Return where the weights of a fine-tuned network are."""
    return FitPaths(study=NAME, folder=FINETUNE, variant=network, condition=chain, seed=seed)


def source_seed(config: "AttentiveTransferConfig", chain: str, seed: int) -> int:
    """Return the pretraining seed that a fine-tuning seed starts from; without transfer it is the seed itself."""
    return seed if chain == "none" else config.pretrain_seeds[config.seeds.index(seed) % len(config.pretrain_seeds)]

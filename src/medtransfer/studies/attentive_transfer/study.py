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
    "warm_up": Phase("supervised", PRETRAIN),
    "stl_m": Phase("supervised", PRETRAIN),
    "sstl_m": Phase("self_supervised", PRETRAIN),
    "finetune": Phase("supervised", FINETUNE),
}


def variants(config: "AttentiveTransferConfig", phase: str) -> tuple[str, ...]:
    """Return the networks that go through a phase."""
    return config.warmed.networks if phase == "warm_up" else config.networks


def conditions(config: "AttentiveTransferConfig", phase: str, variant: str) -> tuple[str, ...]:
    """Return the chains that a pretraining phase completes, or that fine-tuning of a network starts from."""
    if phase == "finetune":
        return config.chains_of(variant)
    return _completed(config, phase, warmed=variant in config.warmed.networks)


def _completed(config: "AttentiveTransferConfig", phase: str, *, warmed: bool) -> tuple[str, ...]:
    """Return the chains that a pretraining phase completes, with those after a warm-up for a network that has one."""
    if phase in ("start", "stl_n"):
        return ("none",) if phase == "start" else ("stl_n",)
    after = {"warm_up": (), "stl_m": config.stl_m_after, "sstl_m": config.sstl_m_after}[phase]
    more = getattr(config.warmed, f"{phase}_after") if warmed else ()
    chains = [f"{chain}-{phase}" for chain in (*after, *more)]
    if phase == "sstl_m":
        chains += [f"{chain}-{method}" for chain in config.methods_after for method in config.methods]
    return tuple(chains)


def datasets(config: "AttentiveTransferConfig") -> tuple[str, ...]:
    """Return the data sets of the pretraining phases in use, of fine-tuning, and the outside sets."""
    warmed = bool(config.warmed.networks)
    used = {phase: _completed(config, phase, warmed=warmed) for phase in ("warm_up", "stl_m", "sstl_m")}
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

"""Two heads: networks (variants), all from random weights (the one condition) × seeds."""

from typing import TYPE_CHECKING

from medtransfer.paths import FitPaths
from medtransfer.studies.phases import Phase

if TYPE_CHECKING:  # the wiring is read by verbs that load neither data nor networks
    from medtransfer.studies.two_heads.config import TwoHeadsConfig

NAME = "two_heads"
PAPER = "made up"
MULTITASK = "multitask"
PHASES = {MULTITASK: Phase("fitting", MULTITASK)}
SCRATCH = "scratch"


def variants(config: "TwoHeadsConfig", phase: str) -> tuple[str, ...]:
    """Return the study's networks."""
    del phase
    return config.networks


def conditions(config: "TwoHeadsConfig", phase: str, variant: str) -> tuple[str, ...]:
    """Return the one condition: training from random weights."""
    del config, phase, variant
    return (SCRATCH,)


def datasets(config: "TwoHeadsConfig") -> tuple[str, ...]:
    """Return the one data set."""
    return (config.multitask.dataset,)


def fitted(network: str, seed: int) -> FitPaths:
    """Return where the weights of a network are."""
    return FitPaths(study=NAME, folder=MULTITASK, variant=network, condition=SCRATCH, seed=seed)

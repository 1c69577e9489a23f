"""The Optuna study of a search: made or joined, asked for trials within the budget, freed of trials of the dead."""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from medtransfer.errors import ConfigError
from medtransfer.files import read_json
from medtransfer.processes import started
from medtransfer.tuning.config import SearchConfig
from medtransfer.tuning.storage import folder, where

SPACE, RUN_KEY = "space_hash", "run_key"
"""Attributes of a study."""
RUNNER, REACHED, RETRY_OF, SURPLUS = "runner", "reached", "retry_of", "surplus"
"""Attributes of a trial: who runs it, what came of it, the trial whose place it takes, begun beyond the budget."""
RESULT = "result.json"
"""In a trial's folder: what it reached, written before it is told."""


@dataclass(frozen=True)
class Runner:
    """A process that runs trials. Its start distinguishes it from a later process of the same number."""

    host: str
    pid: int
    started: str
    worker: int = 0

    @classmethod
    def this(cls, worker: int) -> "Runner":
        """Return the present process."""
        return cls(socket.gethostname(), os.getpid(), started(os.getpid()), worker)

    @property
    def is_dead(self) -> bool:
        """Whether it was on this machine and is gone; of other machines nothing is known."""
        return self.host == socket.gethostname() and started(self.pid) != self.started


def open_study(name: str, search: SearchConfig, space_hash: str, storage: Any, address: str | None, worker: int) -> Any:
    """Create the study of a search, or join it.

    Raises:
        ConfigError: the storage has a study of this name over another space, other parameters or other data.
    """
    study = optuna.create_study(
        study_name=name,
        storage=storage,
        directions=[objective.direction for objective in search.objectives],
        load_if_exists=True,
        pruner=_pruner(search),
    )
    known = study.user_attrs.get(SPACE)
    if known is None:
        study.set_user_attr(SPACE, space_hash)
    elif known != space_hash:
        raise ConfigError(
            f"tuning.{name}: {where(name, address)} has a search of this name over another space, other parameters or "
            f"other data (hash {known}, this is {space_hash}); give this one another name, or delete that one"
        )
    begun = len(study.get_trials(deepcopy=False))
    seed = search.seed * 1_000_003 + worker * 1_009 + begun  # no worker and no resumed search repeats random draws
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=search.startup)
    return study


def _pruner(search: SearchConfig) -> Any:
    if search.pruning is None or len(search.objectives) > 1:
        return optuna.pruners.NopPruner()
    return optuna.pruners.MedianPruner(search.pruning.startup, search.pruning.warmup)


def next_trial(study: Any, budget: int, runner: Runner) -> Any:
    """Ask for a trial; None when the budget is used up. The caller holds the machine's lock.

    A trial that waits takes the place of one that was lost. Where other machines ask at the same moment, a trial whose
    number is beyond the budget is given back.
    """
    trials = study.get_trials(deepcopy=False)
    if len(counted(trials)) >= budget and not any(trial.state == TrialState.WAITING for trial in trials):
        return None
    trial = study.ask()
    trial.set_user_attr(RUNNER, vars(runner))
    earlier = [one for one in counted(study.get_trials(deepcopy=False)) if one.number < trial.number]
    if len(earlier) < budget:
        return trial
    trial.set_user_attr(SURPLUS, True)
    study.tell(trial, state=TrialState.FAIL)
    return None


def counted(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that use up the budget: all but those whose place another took or that were given back."""
    lost = {trial.user_attrs.get(RETRY_OF) for trial in trials}
    return [trial for trial in trials if trial.number not in lost and not trial.user_attrs.get(SURPLUS)]


def reclaim(study: Any, name: str, *, everything: bool = False) -> list[int]:
    """End the trials of processes of this machine that are dead; return their numbers.

    What such a trial has reached and not told is told. Any other fails, and waits to be run once more unless it was a
    second attempt already.

    Args:
        study: of the search.
        name: of the search.
        everything: also trials that name no process, when no other process can be asking.
    """
    ended = []
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        known = trial.user_attrs.get(RUNNER)
        if not (Runner(**known).is_dead if known else everything):
            continue
        ended.append(trial.number)
        result = trial_folder(name, trial.number) / RESULT
        if result.exists():
            annotate(study, trial, REACHED, read_json(result))
            tell(study, trial.number, read_json(result))
            continue
        again = RETRY_OF not in trial.user_attrs
        note = "its process ended" + (", so it was queued once more" if again else " a second time")
        annotate(study, trial, REACHED, {"state": "FAIL", "values": [], "reason": note})
        study.tell(trial.number, state=TrialState.FAIL)
        if again:
            study.enqueue_trial(trial.params, user_attrs={RETRY_OF: trial.number})
    return ended


def tell(study: Any, number: int, reached: Mapping[str, Any]) -> None:
    """Tell what a trial reached: ``{state, values}`` as its result file has them."""
    state = TrialState[reached["state"]]
    study.tell(number, reached["values"] if state == TrialState.COMPLETE else None, state=state)


def annotate(study: Any, trial: FrozenTrial, key: str, value: Any) -> None:
    """Set an attribute of a trial that another process asked for; Optuna offers it for one's own trials alone."""
    study._storage.set_trial_user_attr(trial._trial_id, key, value)


def trial_folder(name: str, number: int) -> Path:
    """Return the folder of a trial, relative to the workspace."""
    return folder(name) / f"trial{number:d}"

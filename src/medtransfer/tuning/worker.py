"""What one worker process does: ask, run, write down, tell, until the budget is used up."""

import os
import resource
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from filelock import FileLock
from optuna.trial import TrialState

from medtransfer.errors import ConfigError, MedTransferError
from medtransfer.files import write_json
from medtransfer.tuning.pruning import Watch
from medtransfer.tuning.space import suggest
from medtransfer.tuning.storage import folder, open_storage, patient, where
from medtransfer.tuning.study import REACHED, RESULT, RUN_KEY, Runner, next_trial, open_study, tell, trial_folder
from medtransfer.tuning.trial import Reached, Search, run_trial

ASK_LOCK = "ask.lock"
FAILURES = 3
"""So many failed trials, and none that reached anything, end a search."""
GIB = 2**30

RunTrial = Callable[..., Reached]


def work(
    search: Search,
    address: str | None,
    *,
    worker: int = 0,
    threads: int = 1,
    until: float | None = None,
    run: RunTrial = run_trial,
) -> int:
    """Run trials until the budget is used up, and return how many.

    Args:
        search: the search.
        address: of the storage; None is the journal file.
        worker: number of this worker, part of the sampler's seed.
        threads: of torch.
        until: time of the clock ``time.time`` after which no trial begins.
        run: runs one trial.

    Raises:
        TrackingError: the storage is down for too long.
        MedTransferError: something that ends every trial: missing weights, damaged data.
    """
    at, parent, done = where(search.name, address), os.getppid(), 0
    _limit_memory(search)
    storage = patient(lambda: open_storage(search.name, address), at=at)
    study = patient(lambda: open_study(search.name, search.config, search.space_hash, storage, address, worker), at=at)
    runner, lock = Runner.this(worker), FileLock(folder(search.name) / ASK_LOCK)
    while (until is None or time.time() < until) and os.getppid() == parent:
        trial = patient(lambda: _ask(study, search.config.budget.trials, runner, lock), at=at)
        if trial is None:
            break
        _run_one(search, study, trial, threads, at, run)
        done += 1
        patient(lambda: _require_some_success(search, study), at=at)
    return done


def _ask(study: Any, budget: int, runner: Runner, lock: FileLock) -> Any:
    with lock:
        return next_trial(study, budget, runner)


def _run_one(search: Search, study: Any, trial: Any, threads: int, at: str, run: RunTrial) -> None:
    values = patient(lambda: suggest(trial, search.config.space), at=at)
    watch, own = Watch(_Patient(trial, at), search.config), trial_folder(search.name, trial.number)
    try:
        reached = run(
            search,
            values,
            watch,
            number=trial.number,
            folder=own,
            threads=threads,
            nested_in=study.user_attrs.get(RUN_KEY, ""),
        )
    except MedTransferError as error:
        failed = Reached("FAIL", reason=str(error))
        write_json(own / RESULT, asdict(failed))
        patient(lambda: _tell(study, trial, asdict(failed)), at=at)
        raise
    patient(lambda: _tell(study, trial, asdict(reached)), at=at)


def _tell(study: Any, trial: Any, reached: dict[str, Any]) -> None:
    """Tell what a trial reached; twice is once, should the answer to the first have been lost."""
    if study.get_trials(deepcopy=False)[trial.number].state.is_finished():
        return
    trial.set_user_attr(REACHED, reached)
    tell(study, trial.number, reached)


def _require_some_success(search: Search, study: Any) -> None:
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    reasons = [
        t.user_attrs[REACHED]["reason"] for t in trials if t.state == TrialState.FAIL and REACHED in t.user_attrs
    ]
    if len(reasons) >= FAILURES and len(reasons) == len(trials):
        raise ConfigError(
            f"tuning.{search.name}: the first {len(reasons)} trials failed ({reasons[0]}); change the search, "
            f"and delete {folder(search.name)} to begin again"
        )


def _limit_memory(search: Search) -> None:
    """Let the system refuse memory beyond the limit, so that a trial fails and its worker goes on."""
    if search.config.memory_gb:
        limit = int(search.config.memory_gb * GIB)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, resource.getrlimit(resource.RLIMIT_DATA)[1]))


class _Patient:
    """Optuna's trial as pruning sees it, which waits for a storage that is down."""

    def __init__(self, trial: Any, at: str) -> None:
        self._trial, self._at, self.study = trial, at, trial.study

    def report(self, value: float, step: int) -> None:
        patient(lambda: self._trial.report(value, step), at=self._at)

    def should_prune(self) -> bool:
        return bool(patient(self._trial.should_prune, at=self._at))

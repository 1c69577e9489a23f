"""From Optuna's study to the result of a search, with the importance of each key."""

import math
import warnings
from typing import Any

import optuna
from optuna.trial import TrialState

from medtransfer.tuning.results import EVALUATOR_SEEDS, SearchResult, TrialRecord
from medtransfer.tuning.space import decode
from medtransfer.tuning.study import REACHED, RETRY_OF, RUN_KEY, SURPLUS
from medtransfer.tuning.trial import Search

FEWEST = 4
"""Complete trials without which there is no importance."""


def collect(search: Search, study: Any, profile: str, base: dict[str, Any], data: dict[str, str]) -> SearchResult:
    """Return everything that is known of a search."""
    trials = [trial for trial in study.get_trials(deepcopy=False) if not trial.user_attrs.get(SURPLUS)]
    return SearchResult(
        name=search.name,
        config=search.config,
        profile=profile,
        space_hash=search.space_hash,
        base=base,
        data=data,
        run_key=study.user_attrs.get(RUN_KEY, ""),
        trials=tuple(_record(search, trial) for trial in trials),
        importance=importance(study),
    )


def _record(search: Search, trial: Any) -> TrialRecord:
    reached = trial.user_attrs.get(REACHED, {})
    return TrialRecord(
        number=trial.number,
        state=trial.state.name,
        values=decode(search.config.space, trial.params),
        objectives=tuple(trial.values or ()) if trial.state == TrialState.COMPLETE else (),
        reason=reached.get("reason", ""),
        retry_of=trial.user_attrs.get(RETRY_OF),
        seconds=reached.get("seconds", 0.0),
        watched=tuple(reached.get("watched", ())),
        run_key=reached.get("run_key", ""),
        code=reached.get("code", ""),
    )


def importance(study: Any) -> dict[str, dict[str, tuple[float, ...]]]:
    """Return the share of each key in the variance of each objective, once per seed of the evaluator.

    Keys that not all complete trials have are left out, as fANOVA needs; with few trials there is none.
    """
    complete = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if len(complete) < FEWEST:
        return {}
    found = {}
    for index in range(len(study.directions)):
        values = [trial.values[index] for trial in complete]
        if max(values) - min(values) > 0:
            found[str(index)] = _shares(study, index)
    return found


def _shares(study: Any, index: int) -> dict[str, tuple[float, ...]]:
    by_seed = []
    for seed in range(EVALUATOR_SEEDS):
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shares = optuna.importance.get_param_importances(
                study, evaluator=evaluator, target=lambda trial: trial.values[index]
            )
        by_seed.append(shares)
    names = sorted({name for shares in by_seed for name in shares})
    return {name: tuple(_finite(shares.get(name, 0.0)) for shares in by_seed) for name in names}


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else 0.0

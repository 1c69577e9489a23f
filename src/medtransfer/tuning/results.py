"""The result of a search, a file of its own: page, adoption and confirmation need neither storage nor Optuna."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from medtransfer import paths
from medtransfer.config import Config
from medtransfer.errors import ConfigError, DataError
from medtransfer.files import write_text
from medtransfer.tuning.config import Objective, SearchConfig

RESULT = "trials.json"
EVALUATOR = "fANOVA (Hutter et al. 2014), Optuna's FanovaImportanceEvaluator"
EVALUATOR_SEEDS = 8
"""Random forests from which an importance is estimated."""


class TrialRecord(Config):
    """One trial as it ended.

    Attributes:
        number: of the trial.
        state: ``COMPLETE``, ``PRUNED`` (stopped early, or not valid), ``FAIL``, ``RUNNING`` or ``WAITING``.
        values: dotted key → what it set.
        objectives: what it reached; empty unless complete.
        reason: why it was stopped or failed.
        retry_of: the lost trial whose place it took.
        seconds: of its run.
        watched: the watched metric at each validation; None where it is not a number.
        run_key: of its run in the tracker.
        code: hash of the code of its fits.
    """

    number: int
    state: str
    values: dict[str, Any]
    objectives: tuple[float, ...] = ()
    reason: str = ""
    retry_of: int | None = None
    seconds: float = 0.0
    watched: tuple[float | None, ...] = ()
    run_key: str = ""
    code: str = ""


class SearchResult(Config):
    """A search and its trials.

    Attributes:
        name: of the search.
        config: its section of params.yaml when it ran.
        profile: name of the parameter profile.
        space_hash: its identity.
        base: the parameters that all trials shared, by dotted key.
        data: content hash of every data set of the study.
        run_key: of its run in the tracker.
        trials: in order, without those that were begun beyond the budget.
        importance: objective → key → share of the variance by each seed of the evaluator; empty when there is none.
    """

    name: str
    config: SearchConfig
    profile: str
    space_hash: str
    base: dict[str, Any]
    data: dict[str, str]
    run_key: str
    trials: tuple[TrialRecord, ...]
    importance: dict[str, dict[str, tuple[float, ...]]] = Field(default_factory=dict)

    @property
    def complete(self) -> list[TrialRecord]:
        """Trials that reached all objectives."""
        return [trial for trial in self.trials if trial.state == "COMPLETE"]

    def best(self) -> TrialRecord | None:
        """Return the complete trial with the best first objective; of equal trials the earlier one."""
        best: TrialRecord | None = None
        for trial in self.complete:
            if best is None or self.config.objectives[0].better(trial.objectives[0], best.objectives[0]):
                best = trial
        return best

    def trial(self, number: int) -> TrialRecord:
        """Return a trial that reached its objectives.

        Raises:
            ConfigError: there is no such trial, or it reached nothing.
        """
        found = next((trial for trial in self.trials if trial.number == number), None)
        usable = ", ".join(str(trial.number) for trial in self.complete) or "none"
        if found is None:
            raise ConfigError(f"tuning.{self.name}: there is no trial {number}; complete are {usable}")
        if found.state != "COMPLETE":
            raise ConfigError(
                f"tuning.{self.name}: trial {number} is {found.state} ({found.reason or 'it has not ended'}); choose a "
                f"complete one: {usable}"
            )
        return found


def front(trials: Sequence[TrialRecord], objectives: Sequence[Objective]) -> list[TrialRecord]:
    """Return the trials that no other one dominates, by the first objective."""
    kept = [trial for trial in trials if not any(_dominates(other, trial, objectives) for other in trials)]
    return sorted(kept, key=lambda trial: trial.objectives[0])


def _dominates(one: TrialRecord, other: TrialRecord, objectives: Sequence[Objective]) -> bool:
    pairs = list(zip(objectives, one.objectives, other.objectives, strict=True))
    return not any(o.better(b, a) for o, a, b in pairs) and any(o.better(a, b) for o, a, b in pairs)


def write_result(result: SearchResult) -> None:
    """Write ``out/tuning/<name>/trials.json``."""
    write_text(file_of(result.name), result.model_dump_json(indent=1) + "\n")


def read_result(name: str) -> SearchResult:
    """Read the result of a search.

    Raises:
        DataError: there is none, or it is damaged.
    """
    file = file_of(name)
    if not file.exists():
        raise DataError(f"{file}: no result of this search; run: medtransfer tune {name}")
    try:
        return SearchResult.model_validate_json(file.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise DataError(f"{file}: not the result of a search; run: medtransfer tune {name}") from error


def file_of(name: str) -> Path:
    """Return the file of a search's result, relative to the workspace."""
    return paths.tuning(name) / RESULT

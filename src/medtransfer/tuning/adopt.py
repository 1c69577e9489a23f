"""Adoption: the values of a trial become those of params.yaml, as a small diff that names search and trial."""

from collections.abc import Mapping
from typing import Any

import yaml
from filelock import FileLock

from medtransfer import paths
from medtransfer.errors import ConfigError
from medtransfer.files import write_text
from medtransfer.params import parse_params
from medtransfer.tuning.config import SearchConfig
from medtransfer.tuning.edit import with_values
from medtransfer.tuning.notes import Note
from medtransfer.tuning.records import Adoption, read_adoption, write_record
from medtransfer.tuning.results import SearchResult, TrialRecord
from medtransfer.tuning.space import Absent, base_of, look_up


def adopt(result: SearchResult, number: int | None) -> Adoption:
    """Write a trial's values into params.yaml, and beside the result what was adopted.

    Args:
        result: of the search.
        number: of the trial; None = the best by the first objective.

    Raises:
        ConfigError: the trial reached nothing, a value that the search was run with is no longer that in params.yaml,
            or the file changed while it was read.
    """
    trial = _chosen(result, number)
    file = paths.workspace() / paths.PARAMS
    text = file.read_text(encoding="utf-8")
    tree = yaml.safe_load(text)
    _require_same_base(result, tree)
    ended = sum(one.state in ("COMPLETE", "PRUNED", "FAIL") for one in result.trials)
    note = Note(result.name, trial.number, ended)
    changed = with_values(text, trial.values, note)
    parse_params(yaml.safe_load(changed))
    before = read_adoption(result.name)
    former = {key: look_up(tree, key) for key in trial.values}
    if before and all(former[key] == before.values.get(key) for key in former):
        former = {**before.former}  # adopted again, or another trial: what was there before all searching
    adoption = Adoption(
        search=result.name,
        trial=trial.number,
        trials=ended,
        values=trial.values,
        former={key: value for key, value in former.items() if value is not Absent} | result.config.former,
    )
    with FileLock(paths.workspace() / paths.SCRATCH / "adopt.lock"):
        if file.read_text(encoding="utf-8") != text:
            raise ConfigError(f"{paths.PARAMS}: changed while the values were written; look at it and adopt again")
        write_text(file, changed)
    write_record(adoption)
    return adoption


def _chosen(result: SearchResult, number: int | None) -> TrialRecord:
    if number is not None:
        return result.trial(number)
    best = result.best()
    if best is None:
        raise ConfigError(f"tuning.{result.name}: no trial is complete, so there is nothing to adopt")
    return best


def _require_same_base(result: SearchResult, tree: Mapping[str, Any]) -> None:
    """Refuse when trials ran with other values than those now in params.yaml.

    Raises:
        ConfigError: the first keys that differ.
    """
    section: SearchConfig = parse_params(tree).search(result.name)
    searched = {key: dimension.model_dump(mode="json") for key, dimension in section.space.items()}
    if searched != {key: dimension.model_dump(mode="json") for key, dimension in result.config.space.items()}:
        raise ConfigError(f"tuning.{result.name}.space: changed since the search ran; run the search again")
    now, then = base_of(tree, section), result.base
    changed = [key for key in sorted(now.keys() | then.keys()) if now.get(key) != then.get(key)]
    if changed:
        words = "; ".join(f"{key}: {then.get(key)!r} -> {now.get(key)!r}" for key in changed[:3])
        raise ConfigError(f"{paths.PARAMS}: changed since the search {result.name} ran ({words}); run the search again")

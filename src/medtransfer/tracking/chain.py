"""The chain of fits behind a run, from its records, and the commands that make it again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medtransfer.tracking.mlflow_tracker import RUN, opening

Opening = Mapping[str, Any]
"""Body of a run's first event: ``run_key``, ``name``, ``tags``, ``datasets``, ``parents``, …"""


def chain_of(records: Path, below: Path) -> list[Opening]:
    """Return the openings of a run and of all fits that it starts from, the first fit first.

    Args:
        records: the record of the run.
        below: folder below which the records of its parents are.
    """
    known = {body["run_key"]: body for body in (opening(path.parent) for path in sorted(below.glob(f"**/{RUN}")))}
    return ancestors(opening(records), known)


def ancestors(run: Opening, known: Mapping[str, Opening]) -> list[Opening]:
    """Return a run and its parents, parents first, each once; parents that are not known are left out."""
    found: dict[str, Opening] = {}
    for key in run["parents"]:
        if key in known:
            found |= {each["run_key"]: each for each in ancestors(known[key], known)}
    return [*found.values(), run]


def in_words(run: Opening) -> str:
    """Return one step of a chain: name, data sets, commit and run key."""
    tags = run["tags"]
    data = ", ".join(f"{each['name']} {each['digest'][:8]}" for each in run["datasets"]) or "no data"
    commit = f"commit {tags.get('git_commit', 'unknown')[:8]}"
    return f"{run['name']}: data {data}; {commit}{' with changes' if is_dirty(run) else ''}; run key {run['run_key']}"


def is_dirty(run: Opening) -> bool:
    """Return whether a run's code had changes that its commit does not hold."""
    return str(run["tags"].get("git_dirty")) == "True"


def rebuild(runs: Sequence[Opening], target: str) -> list[str]:
    """Return the commands that make a run again, and what follows from it.

    Args:
        runs: the run's chain, the run itself last.
        target: the stage of the pipeline that makes what is wanted.
    """
    tags = runs[-1]["tags"]
    profile = tags.get("profile", "sample")
    commands = [f"git checkout {tags.get('git_commit', 'UNKNOWN')}", "make setup", "dvc pull data.dvc"]
    if any(is_dirty(run) for run in runs):
        commands.insert(0, "# a fit ran with uncommitted changes: the commit alone does not give its code")
    if profile != "sample":
        commands += [f"medtransfer workspace rebuilt --profile {profile}", "cd workspaces/rebuilt"]
    return [*commands, f"dvc repro {target}"]

"""Descriptions and tags that later stages give to runs which exist, and one summary run per study."""

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from medtransfer.errors import TrackingError
from medtransfer.tracking.address import tracking_uri, ui_address
from medtransfer.tracking.lineage import git_state
from medtransfer.tracking.refusals import meaning
from medtransfer.tracking.store import DESCRIPTION, RUN_KEY, client, experiment_id
from medtransfer.tracking.views import FIT

SUMMARY = "summary"
REPLACED_BY = "replaced_by"
"""Tag of a run whose fit was trained again: the key of the run that took its place."""
_PRIMARY = "mlflow.experiment.primaryMetric"
_LINK = re.compile(r"run:([0-9a-f]{32})")
log = logging.getLogger("medtransfer.tracking")


class Place(NamedTuple):
    """Where a run is: its id in the store, and the address of its page in the tracker."""

    run_id: str
    address: str


def places_of_runs(experiment: str, *, uri: str | None = None) -> dict[str, Place]:
    """Return where the runs of an experiment are, by run key; none and a warning when the store is down."""
    found: dict[str, Place] = {}

    def work(store: Any) -> None:
        if home := store.get_experiment_by_name(experiment):
            pages = f"{ui_address(tracking_uri(uri))}/#/experiments/{home.experiment_id}/runs"
            runs = {key: run.info.run_id for key, run in _runs(store, home.experiment_id).items()}
            found.update({key: Place(run_id, f"{pages}/{run_id}") for key, run_id in runs.items()})

    _attempt(uri, "the runs have no links", work)
    return found


def describe_runs(
    experiment: str, notes: Mapping[str, str], tags: Mapping[str, Mapping[str, str]], *, uri: str | None = None
) -> None:
    """Give runs their descriptions and further tags. A store that is down costs a warning; the next call does it.

    Args:
        experiment: name of their experiment.
        notes: run key → Markdown, in which ``run:<key>`` stands for the address of a run.
        tags: run key → tags.
        uri: tracking address.
    """

    def work(store: Any) -> None:
        home = store.get_experiment_by_name(experiment)
        runs = _runs(store, home.experiment_id) if home else {}
        places = {key: f"#/experiments/{home.experiment_id}/runs/{run.info.run_id}" for key, run in runs.items()}
        for key in notes.keys() & runs.keys():
            note = _LINK.sub(lambda found: places.get(found[1], ""), notes[key])
            for name, value in {**tags.get(key, {}), DESCRIPTION: note}.items():
                if runs[key].data.tags.get(name) != value:
                    store.set_tag(runs[key].info.run_id, name, value)
            if other := runs[key].data.tags.get(REPLACED_BY):  # it is back: its successor was undone
                store.delete_tag(runs[key].info.run_id, REPLACED_BY)
                _replace(store, runs, other, key)

    _attempt(uri, "the runs were not described", work)


def mark_replaced(experiment: str, newer: Mapping[str, str], *, uri: str | None = None) -> None:
    """Say of runs that another took their place, and take them out of the comparisons, which would average over both.

    Args:
        experiment: name of their experiment.
        newer: run key → key of the run that took its place.
        uri: tracking address.
    """

    def work(store: Any) -> None:
        home = store.get_experiment_by_name(experiment)
        runs = _runs(store, home.experiment_id) if home else {}
        for old, new in newer.items():
            _replace(store, runs, old, new)

    if newer:
        _attempt(uri, f"{len(newer)} runs were not marked as replaced", work)


def _replace(store: Any, runs: Mapping[str, Any], old: str, new: str) -> None:
    if old not in runs or new not in runs:
        return
    run, other = runs[old], runs[new].info
    note = f"Replaced by [{other.run_name}](#/experiments/{other.experiment_id}/runs/{other.run_id})."
    store.set_tag(run.info.run_id, REPLACED_BY, new)
    store.set_tag(run.info.run_id, DESCRIPTION, f"{note}\n\n{run.data.tags.get(DESCRIPTION, '')}".strip())
    if FIT in run.data.tags:
        store.delete_tag(run.info.run_id, FIT)


def describe_experiment(experiment: str, note: str, metric: str, *, uri: str | None = None) -> None:
    """Give an experiment its description and the metric that its list of runs shows first."""

    def work(store: Any) -> None:
        home = store.get_experiment_by_name(experiment)
        tags = {DESCRIPTION: note, f"{_PRIMARY}.name": metric, f"{_PRIMARY}.greaterIsBetter": "true"}
        for name, value in tags.items() if home else ():
            if home.tags.get(name) != value:
                store.set_experiment_tag(home.experiment_id, name, value)

    _attempt(uri, "the experiment was not described", work)


def write_summary(experiment: str, note: str, tags: Mapping[str, str], files: Path, *, uri: str | None = None) -> None:
    """Write the one run of an experiment whose phase is ``summary``; a later call replaces its content.

    Args:
        experiment: name of the study.
        note: its description.
        tags: further tags.
        files: folder with its artefacts.
        uri: tracking address.
    """

    def work(store: Any) -> None:
        home = experiment_id(store, experiment, uri=uri)
        found = store.search_runs([home], f"tags.phase = '{SUMMARY}' and tags.study = '{experiment}'", max_results=1)
        run = found[0] if found else store.create_run(home, run_name=f"{SUMMARY} · tables with intervals and report")
        git = {name: str(value) for name, value in git_state(Path.cwd()).items() if value is not None}
        for name, value in {"phase": SUMMARY, "study": experiment, **git, **tags, DESCRIPTION: note}.items():
            store.set_tag(run.info.run_id, name, value)
        store.log_artifacts(run.info.run_id, str(files))
        store.set_terminated(run.info.run_id)

    _attempt(uri, "the summary run was not written", work)


def _runs(store: Any, experiment: str) -> dict[str, Any]:
    """Return all runs of an experiment by run key."""
    found: dict[str, Any] = {}
    token: str | None = ""
    while token is not None:
        page = store.search_runs([experiment], max_results=1000, page_token=token or None)
        found |= {run.data.tags[RUN_KEY]: run for run in page if RUN_KEY in run.data.tags}
        token = page.token or None
    return found


def _attempt(uri: str | None, what: str, work: Callable[[Any], None]) -> None:
    """Do something with a client; a store that is down or refuses costs a warning."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    address = tracking_uri(uri)
    try:
        work(client(address))
    except TrackingError as error:
        log.warning("%s; %s; the next run of this stage does it", error, what)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        log.warning("%s; %s; the next run of this stage does it", meaning(address, error), what)

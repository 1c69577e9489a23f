"""Numbered logs in the tracking store whose entries are written once, however many processes write.

MLflow's registry has no compare-and-swap: an alias and a tag belong to whoever writes last. A run's parameter is
different: its second value is refused by the primary key of the database, on SQLite, PostgreSQL and behind a server. So
the parameter ``<model>/<alias>/000007`` of one run *is* entry 7 of a log, and only one of two writers gets it.

The run has to be the only one: its experiment is made under a fresh name with the run already in it, and then renamed
to ``registry``. Names of experiments are unique, so one of several processes succeeds and the others use its run.
"""

import uuid
from typing import Any

from medtransfer.errors import TrackingError
from medtransfer.tracking.address import portable_uri
from medtransfer.tracking.store import DESCRIPTION, artefact_folder

EXPERIMENT = "registry"
_BOOK = "medtransfer.ledger"
_DRAFT = "registry-draft-"
_DONE = "moved"
_LONGEST = 6000  # MLflow's limit of a parameter
_ABOUT = (
    "History of the model registry, written by `medtransfer registry` and `medtransfer register`; read it with "
    "`medtransfer registry log MODEL`. Parameters are written once and never changed. Do not delete."
)


class Ledger:
    """The log of one alias of one registered model.

    ``read`` gives all entries and the numbers of those that were carried out; ``claim`` writes the entry of a number
    unless somebody else has; ``done`` notes that an entry was carried out.
    """

    def __init__(self, store: Any, model: str, alias: str) -> None:
        self._store = store
        self._topic = f"{model}/{alias}/"
        self._run = _book(store)

    def read(self) -> tuple[list[str], set[int]]:
        """Return the entries in the order of their numbers, the first is number 1, and the numbers carried out.

        Raises:
            TrackingError: an entry is missing in between, which nothing here can cause.
        """
        params = self._store.get_run(self._run).data.params
        own = {key.removeprefix(self._topic): value for key, value in params.items() if key.startswith(self._topic)}
        entries = {int(key): value for key, value in own.items() if key.isdecimal()}
        if sorted(entries) != list(range(1, len(entries) + 1)):
            raise TrackingError(f"{self._topic[:-1]}: the history in the store is damaged: restore the store's backup")
        return [entries[number] for number in sorted(entries)], {
            int(key.partition("/")[0]) for key in own if key.endswith(f"/{_DONE}")
        }

    def claim(self, number: int, text: str) -> bool:
        """Write entry ``number`` and return True, or return False if that entry exists with another text.

        Raises:
            TrackingError: the text is too long.
        """
        from mlflow.exceptions import MlflowException

        if len(text) > _LONGEST:
            raise TrackingError(f"{self._topic[:-1]}: the entry has {len(text)} characters: give shorter reasons")
        try:
            self._store.log_param(self._run, self._key(number), text)
        except MlflowException:
            entries, _ = self.read()  # fails too where the store is the reason
            if len(entries) < number:
                raise
            return entries[number - 1] == text
        return True

    def done(self, number: int) -> None:
        """Note that an entry was carried out; twice is once."""
        self._store.log_param(self._run, f"{self._key(number)}/{_DONE}", "yes")

    def _key(self, number: int) -> str:
        return f"{self._topic}{number:06d}"


def _book(store: Any) -> str:
    """Return the id of the one run that holds all logs; made at first use.

    Raises:
        TrackingError: it was deleted.
    """
    home = store.get_experiment_by_name(EXPERIMENT) or _publish(store)
    runs = store.search_runs([home.experiment_id], f"tags.`{_BOOK}` = 'promotions'", max_results=2)
    if home.lifecycle_stage != "active" or len(runs) != 1:
        raise TrackingError(
            f"{portable_uri(store.tracking_uri)}: the experiment {EXPERIMENT!r} with the history of the registry was "
            "deleted or changed: restore it in the UI"
        )
    return str(runs[0].info.run_id)


def _publish(store: Any) -> Any:
    """Make the experiment with its run under a fresh name and rename it; return the one that got the name."""
    from mlflow.exceptions import MlflowException

    try:
        _draft(store)
    except MlflowException:
        if store.get_experiment_by_name(EXPERIMENT) is None:  # nobody was faster: a real refusal
            raise
    for left in store.search_experiments(filter_string=f"name LIKE '{_DRAFT}%'"):  # the loser's, or a killed process's
        try:
            store.delete_experiment(left.experiment_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":  # else another process has removed it
                raise
    return store.get_experiment_by_name(EXPERIMENT)


def _draft(store: Any) -> None:
    """Make the experiment and rename it; every step fails where a faster process has removed the draft."""
    place, tags = artefact_folder(EXPERIMENT, store.tracking_uri), {DESCRIPTION: _ABOUT}
    draft = store.create_experiment(f"{_DRAFT}{uuid.uuid4().hex}", place, tags=tags)
    run = store.create_run(draft, tags={_BOOK: "promotions", DESCRIPTION: _ABOUT}, run_name="promotions")
    store.set_terminated(run.info.run_id)
    store.rename_experiment(draft, EXPERIMENT)

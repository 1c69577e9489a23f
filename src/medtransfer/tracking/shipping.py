"""From the journal to the MLflow store: in order, in batches, exactly once.

The cursor (number of the last event that arrived) is a tag of the run itself and travels in the same batch as the
events, so it is right whichever store, machine or process continues. An event that is sent twice changes nothing:
MLflow keeps one point for the same key, time, step and value, and everything else is set, not added.
"""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from medtransfer.errors import TrackingError
from medtransfer.files import write_json
from medtransfer.tracking.address import portable_uri, tracking_uri
from medtransfer.tracking.journal import EVENTS, Event, points, read_events
from medtransfer.tracking.names import artefact_path, check_run_key, refuse_weights
from medtransfer.tracking.recorder import ARTEFACTS
from medtransfer.tracking.refusals import first_line, meaning
from medtransfer.tracking.store import RUN_KEY, SHIPPED, client, experiment_id, find_run

NOTE = "shipped.json"
NESTED = "mlflow.parentRunId"
FLUSH_SECONDS = 5.0
FLUSH_POINTS = 1000
MAX_WAIT_SECONDS = 60.0
CLOSE_SECONDS = 60.0
_MAX_METRICS = 900  # MLflow takes 1000 entries a batch, metrics and tags together,
CODE = 6  # digits of the run key before the name: lists cut long names, which begin alike
_MAX_PAIRS = 100  # and 100 tags or params

_RESULTS = ("best/", "test/", "outside_")

T = TypeVar("T")
log = logging.getLogger("medtransfer.tracking")


class Shipment:
    """Delivers the journal in ``folder`` to one store; ``deliver`` may be called again and again.

    With ``note=True`` it leaves ``shipped.json`` {run_id, tracking_uri, seq} beside the journal for ``finish``; folders
    that are outputs of a stage are only read.
    """

    def __init__(self, folder: Path, uri: str | None, *, note: bool = True) -> None:
        self.folder = folder
        self.uri = tracking_uri(uri)
        self.run_id = ""
        self._note = note
        self._store: Any = None
        self._offset = 0
        self._cursor = -1
        self._main = True
        self._known: dict[str, dict[int, float]] = {}

    def deliver(self) -> int:
        """Send every event that the store lacks; return how many were sent."""
        events, offset = read_events(self.folder / EVENTS, self._offset)
        if self._store is None:
            self._connect(events[0])
        new = [event for event in events if event.seq > self._cursor]
        for group in _groups(new):
            self._send(group)
        self._offset = offset
        if new and self._note:
            note = {"run_id": self.run_id, "tracking_uri": portable_uri(self.uri), "seq": self._cursor}
            write_json(self.folder / NOTE, note)
        return len(new)

    def _connect(self, first: Event) -> None:
        store = client(self.uri)
        run = find_run(store, first.body["run_key"], first.body["experiment"])
        if first.kind == "open":
            run = run or _create_run(store, first, self.uri)
            self._cursor = int(run.data.tags.get(SHIPPED, -1))
        elif run is None:
            raise TrackingError(f"run {first.body['run_key']} is not in the tracking store: import its record first")
        else:
            self._main = False
            self._known = {key: {} for key in run.data.metrics}
        self._store, self.run_id = store, run.info.run_id

    def _send(self, group: list[Event]) -> None:
        """Send some metrics events, or one event of another kind, and with them the cursor."""
        from mlflow.entities import Metric, RunTag

        last = group[-1]
        if send := _SENDERS.get(last.kind):
            send(self, last)
        metrics = [
            Metric(key, value, int(event.time * 1000), step)
            for event in group
            for key, step, value in _shown(points([event]))
            if not self._has(key, step, value)
        ]
        *full, rest = _chunks(metrics, _MAX_METRICS)
        for chunk in full:
            self._store.log_batch(self.run_id, metrics=chunk)
        # a stage that appends to a finished run has a journal of its own, so the cursor is not its to move
        self._store.log_batch(self.run_id, metrics=rest, tags=[RunTag(SHIPPED, str(last.seq))] if self._main else [])
        self._cursor = last.seq

    def _has(self, key: str, step: int, value: float) -> bool:
        """Return whether the newest point of a finished run at this step has this value already.

        The whole history of the key is read: the step is in general not the last one of a fit's curve.
        """
        if key not in self._known:
            return False
        if not self._known[key]:
            history = self._store.get_metric_history(self.run_id, key)
            self._known[key] = {point.step: point.value for point in sorted(history, key=lambda each: each.timestamp)}
        return repr(self._known[key].get(step)) == repr(value)  # so that NaN is NaN

    def _open(self, event: Event) -> None:
        self._tags(event.body["tags"])
        for dataset in event.body["datasets"]:
            self._dataset(dataset)

    def _params(self, values: dict[str, str]) -> None:
        from mlflow.entities import Param

        for pairs in _chunks(list(values.items()), _MAX_PAIRS):
            self._store.log_batch(self.run_id, params=[Param(key, value) for key, value in pairs])

    def _tags(self, values: dict[str, str]) -> None:
        from mlflow.entities import RunTag

        for pairs in _chunks(list(values.items()), _MAX_PAIRS):
            self._store.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in pairs])

    def _dataset(self, body: dict[str, str]) -> None:
        from mlflow.entities import Dataset, DatasetInput, InputTag

        data = Dataset(body["name"], body["digest"], "local", json.dumps({"uri": body["path"]}))
        self._store.log_inputs(self.run_id, [DatasetInput(data, [InputTag("mlflow.data.context", body["split"])])])

    def _artefact(self, event: Event) -> None:
        name = event.body["name"]
        refuse_weights(name)
        path = artefact_path(self.folder / ARTEFACTS, name)
        self._store.log_artifact(self.run_id, str(path), name.rpartition("/")[0] or None)

    def _status(self, event: Event) -> None:
        self._store.set_terminated(self.run_id, event.body["status"], int(event.time * 1000))

    def _resume(self, event: Event) -> None:
        self._store.update_run(self.run_id, "RUNNING")
        self._store.set_tag(self.run_id, "resumes", str(event.body["count"]))


_SENDERS: dict[str, Callable[[Shipment, Event], None]] = {
    "open": Shipment._open,
    "params": lambda shipment, event: shipment._params(event.body["values"]),
    "tags": lambda shipment, event: shipment._tags(event.body["values"]),
    "dataset": lambda shipment, event: shipment._dataset(event.body),
    "artefact": Shipment._artefact,
    "status": Shipment._status,
    "resume": Shipment._resume,
}


def deliver(shipment: Shipment) -> int:
    """Send what the store lacks and return how many events that were.

    Raises:
        TrackingError: the store refuses.
    """
    from mlflow.exceptions import MlflowException

    try:
        return shipment.deliver()
    except (MlflowException, OSError) as error:
        raise TrackingError(meaning(shipment.uri, error)) from error


class Shipper:
    """A thread that delivers a journal every few seconds, or sooner when many points wait.

    A store that is down costs the caller nothing: the thread tries again after 5, 10, 20, … at most 60 s, and what has
    not arrived at the end stays in the journal for ``replay``.
    """

    def __init__(self, folder: Path, uri: str | None) -> None:
        self._shipment = Shipment(folder, uri)
        self._wake = threading.Event()
        self._stop = False
        self._waiting = 0
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._thread.start()

    def points(self, count: int) -> None:
        """Count new points; wake the thread when a batch is full."""
        self._waiting += count
        if self._waiting >= FLUSH_POINTS:
            self._waiting = 0
            self._wake.set()

    def stop(self) -> bool:
        """Deliver what is left and end the thread; return whether everything arrived (at most 60 s)."""
        self._stop = True
        self._wake.set()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            log.warning(
                "the tracking store did not take the last events in %.0f s; they wait for a replay", CLOSE_SECONDS
            )
        elif self._error is not None:
            log.warning("tracking store: %s; the events wait in the journal for a replay", self._error)
        return not self._thread.is_alive() and self._error is None

    def _run(self) -> None:
        wait = 0.0
        while not self._stop:
            self._wake.wait(wait)
            self._wake.clear()
            wait = FLUSH_SECONDS if self._try() else min(max(2 * wait, FLUSH_SECONDS), MAX_WAIT_SECONDS)
        self._try()

    def _try(self) -> bool:
        try:
            self._shipment.deliver()
        except Exception as error:  # whatever the store does, training goes on and the journal keeps the events
            if self._error is None:
                log.warning("tracking store: %s; training goes on, events are kept", first_line(error))
            self._error = error
        else:
            self._error = None
        return self._error is None


def _create_run(store: Any, first: Event, uri: str) -> Any:
    body = first.body
    home = experiment_id(store, body["experiment"], description=body["description"], uri=uri)
    tags = {RUN_KEY: check_run_key(body["run_key"])} | _nesting(store, body)
    name = f"{body['run_key'][:CODE]} · {body['name']}"
    return store.create_run(home, int(first.time * 1000), tags=tags, run_name=name)


def _nesting(store: Any, body: dict[str, Any]) -> dict[str, str]:
    """Return the tags that put a run below another one; ``nested_in`` alone where the store lacks that one."""
    if not (key := body.get("nested_in")):
        return {}
    above = find_run(store, key, body["experiment"])
    return {"nested_in": key} | ({NESTED: above.info.run_id} if above else {})


def _shown(exact: Iterator[tuple[str, int, float]]) -> Iterator[tuple[str, int, float]]:
    """Yield points with results rounded to three decimals, for people's eyes; the exact ones are in the journal."""
    for key, step, value in exact:
        yield key, step, round(value, 3) if key.startswith(_RESULTS) else value


def _groups(events: list[Event]) -> Iterator[list[Event]]:
    """Yield runs of metrics events with at most one batch of points, and every other event alone."""
    group: list[Event] = []
    size = 0
    for event in events:
        count = len(event.body["values"]) if event.kind == "metrics" else _MAX_METRICS
        if group and (size + count > _MAX_METRICS or event.kind != "metrics"):
            yield group
            group, size = [], 0
        group.append(event)
        size += count
    if group:
        yield group


def _chunks(items: list[T], size: int) -> list[list[T]]:
    """Cut a list into pieces of at most ``size``; an empty list is one empty piece."""
    return [items[i : i + size] for i in range(0, len(items), size)] or [[]]

"""Runs: open, resume, finish, replay, import, and append to a run whose record came out of DVC's cache.

A run's identity is its run key, made once and kept as the journal's first event and as a tag of the MLflow run, so a
resumed, replayed or imported run is always found again and "the latest run" is never asked for.
"""

import logging
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from medtransfer.config import fingerprint
from medtransfer.errors import TrackingError
from medtransfer.files import read_json, write_sealed
from medtransfer.paths import SCRATCH, workspace
from medtransfer.tracking.address import tracking_uri
from medtransfer.tracking.journal import EVENTS, Event, Journal, read_events
from medtransfer.tracking.lineage import collect_lineage
from medtransfer.tracking.names import check_key, check_run_key
from medtransfer.tracking.open_runs import mark_open
from medtransfer.tracking.recorder import Recorder
from medtransfer.tracking.shipping import NOTE, Shipment, Shipper, deliver
from medtransfer.tracking.store import import_mlflow
from medtransfer.tracking.system import SystemMetrics
from medtransfer.tracking.tracker import RunSpec, Status, Tracker

RUN = "run.json"
log = logging.getLogger("medtransfer.tracking")


@contextmanager
def open_run(spec: RunSpec, folder: Path, *, uri: str | None = None) -> Iterator[Tracker]:
    """Open the run whose journal is in ``folder``, or begin one there, and ship it to MLflow in the background.

    Leaving the block ends the run: ``FINISHED``, ``FAILED`` after an exception, ``KILLED`` after Ctrl-C. After a
    SIGKILL the same call goes on with the same MLflow run. A store that is down never stops the block.

    Args:
        spec: What the run is.
        folder: Its journal and artefacts; survives kills, and moves to the stage's ``records/`` at the end.
        uri: Tracking address; ``MLFLOW_TRACKING_URI`` or the workspace's SQLite file by default.

    Raises:
        TrackingError: ``folder`` holds another run, another process records there, or the address is unusable.
    """
    address = tracking_uri(uri)
    import_mlflow()  # here, in the main thread: a loader's worker forked during an import in the thread could hang
    journal = Journal(folder)
    try:
        opened = mark_open(_begin(journal, spec), spec.experiment, folder, address)
        shipper = Shipper(folder, address)
    except BaseException:
        journal.close()
        raise
    tracker = Recorder(journal, on_points=shipper.points, system=SystemMetrics().sample)
    status: Status = "FAILED"
    try:
        tracker.params(spec.params)
        yield tracker
        status = "FINISHED"
    except KeyboardInterrupt:
        status = "KILLED"
        raise
    finally:
        try:
            tracker.close(status)
        finally:
            if shipper.stop():
                opened.unlink(missing_ok=True)


def finish(folder: Path) -> dict[str, Any]:
    """Write ``folder/run.json``, the identity of a closed run, and return it.

    Keys: ``run_key``, ``run_id`` (None when no store has taken the run yet), ``experiment``, ``name``, ``tracking_uri``
    (without credentials and absolute folders), ``git_commit``, ``git_dirty``, ``data`` {path or name: digest},
    ``params_fingerprint``, ``parents``, ``status``.

    Raises:
        TrackingError: there is no run in the folder, or it is still open.
    """
    events, first = _history(folder)
    if events[-1].kind != "status":
        raise TrackingError(f"{folder.name}: the run is not closed: leave its with-block before finish()")
    shipped = read_json(folder / NOTE) if (folder / NOTE).exists() else {"run_id": None, "tracking_uri": None}
    body = first.body
    datasets = [*body["datasets"], *(event.body for event in events if event.kind == "dataset")]
    record = {
        "run_key": body["run_key"],
        "run_id": shipped["run_id"],
        "experiment": body["experiment"],
        "name": body["name"],
        "tracking_uri": shipped["tracking_uri"],
        "git_commit": body["lineage"]["git_commit"],
        "git_dirty": body["lineage"]["git_dirty"],
        "data": body["lineage"]["data"] | {data["name"]: data["digest"] for data in datasets},
        "params_fingerprint": body["params_fingerprint"],
        "parents": body["parents"],
        "status": events[-1].body["status"],
    }
    write_sealed(folder / RUN, record)
    return record


def close_run(folder: Path, status: Status, tags: Mapping[str, str], *, uri: str | None = None) -> None:
    """End the run that a process which is gone left open in a folder, and send what its store has not taken.

    A run that is closed, or a folder without one, stays as it is; events of a store that is down wait for a replay.

    Raises:
        TrackingError: a process is recording there.
    """
    if not (folder / EVENTS).exists():
        return
    if not end_run(folder, status, tags):
        return
    try:
        replay(folder, uri=uri)
    except TrackingError as error:
        log.warning("%s; the end of the run waits for a replay", error)


def end_run(folder: Path, status: Status, tags: Mapping[str, str]) -> bool:
    """End the open run in a folder without sending anything; return False, and change nothing, where it is closed.

    Raises:
        TrackingError: a process is recording there.
    """
    journal = Journal(folder)
    tracker = Recorder(journal)
    if not journal.events or journal.events[-1].kind == "status":
        tracker.leave()
        return False
    tracker.tags(tags)
    tracker.close(status)
    return True


def replay(folder: Path, *, uri: str | None = None) -> int:
    """Send the events of a journal that its store has not taken; return how many were sent. Twice is once.

    Raises:
        TrackingError: another process still records there, or the store refuses.
    """
    with closing(Journal(folder)):
        return deliver(Shipment(folder, uri))


def import_run(records: Path, *, uri: str | None = None) -> str:
    """Return the MLflow run id of a record, after rebuilding the run when the store lacks it (or a part of it).

    ``records`` (run.json, events.jsonl, artifacts/) is only read, because it is the output of a DVC stage.

    Raises:
        TrackingError: the record is incomplete, or its two files belong to different runs.
    """
    record = read_run(records)
    _, first = _history(records)
    if first.body["run_key"] != record["run_key"]:
        raise TrackingError(f"{records.name}: run.json and {EVENTS} belong to different runs: restore the folder")
    shipment = Shipment(records, uri, note=False)
    deliver(shipment)
    return shipment.run_id


def read_run(records: Path) -> dict[str, Any]:
    """Return the content of ``run.json``.

    Raises:
        TrackingError: the file is missing or is not a run's record.
    """
    try:
        record: dict[str, Any] = read_json(records / RUN)
        check_run_key(record["run_key"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrackingError(f"{records / RUN}: not a readable record of a run; run the stage that writes it") from error
    return record


def opening(records: Path) -> dict[str, Any]:
    """Return the body of a record's first event: ``run_key, experiment, name, tags, datasets, parents, …``.

    Raises:
        TrackingError: the record is incomplete or damaged.
    """
    return _history(records)[1].body


@contextmanager
def append(records: Path, *, uri: str | None = None) -> Iterator[Tracker]:
    """Add metrics, tags and artefacts of a later stage to the run that a record names, which is imported if need be.

    A metric that the run already has with this value at this step is not doubled. When the store is down the events
    wait under ``.scratch/tracking/`` for the next ``append`` to the same run. Nothing is sent after an exception.
    """
    record = read_run(records)
    address = tracking_uri(uri)
    spool = workspace() / SCRATCH / "tracking" / record["run_key"]
    folder = spool / uuid.uuid4().hex
    journal = Journal(folder)
    journal.append("append", {"run_key": record["run_key"], "experiment": record["experiment"]})
    tracker = Recorder(journal)
    try:
        yield tracker
    except BaseException:
        tracker.leave()
        shutil.rmtree(folder)
        raise
    tracker.leave()
    try:
        import_run(records, uri=address)
        _drain(spool, address)
    except TrackingError as error:
        log.warning("%s; the events of this stage wait for the next one", error)


def _drain(spool: Path, uri: str) -> None:
    """Deliver and remove the spooled journals of a run, oldest first; one that another process holds is left to it."""
    waiting = [(read_events(path)[0], path.parent) for path in spool.glob(f"*/{EVENTS}")]
    for _, folder in sorted((events[0].time, folder) for events, folder in waiting if events):
        try:
            journal = Journal(folder)
        except TrackingError:
            continue
        with closing(journal):
            deliver(Shipment(folder, uri, note=False))
            shutil.rmtree(folder)


def _begin(journal: Journal, spec: RunSpec) -> str:
    """Write the first event of a new run, or check that the journal holds this run and note that it goes on.

    Returns the run key.
    """
    for key in spec.tags:
        check_key(key)
    if not journal.events:
        opening = _opening(spec, collect_lineage(()))
        journal.append("open", opening)
        return str(opening["run_key"])
    first = _first(journal.events, journal.path.parent)
    mine = {"experiment": spec.experiment, "params_fingerprint": _params_fingerprint(spec)}
    for key, value in mine.items():
        if first.body[key] != value:
            raise TrackingError(
                f"{journal.path.parent.name} holds a run with {key} {first.body[key]!r}, not {value!r}: "
                "use another folder"
            )
    journal.append("resume", {"count": 1 + sum(event.kind == "resume" for event in journal.events)})
    return check_run_key(first.body["run_key"])


def _params_fingerprint(spec: RunSpec) -> str:
    """Return the caller's fingerprint when its tags hold one, so that tag and record say the same."""
    return spec.tags.get("params_fingerprint") or fingerprint(spec.params)


def _opening(spec: RunSpec, lineage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of the first event. It is one line, so a kill leaves all of it or nothing."""
    versions = {f"version.{name}": text for name, text in lineage["versions"].items()}
    machine = {f"machine.{key}": str(value) for key, value in lineage["machine"].items()}
    git = {key: str(lineage[key]) for key in ("git_commit", "git_dirty") if lineage[key] is not None}
    parents = {"parent_run": ",".join(spec.parents)} if spec.parents else {}
    return {
        "run_key": uuid.uuid4().hex,
        "experiment": spec.experiment,
        "name": spec.name,
        "description": spec.description,
        "tags": versions | machine | git | parents | spec.tags,
        "datasets": [dataset.model_dump() for dataset in spec.datasets],
        "parents": list(spec.parents),
        "nested_in": spec.nested_in,
        "params_fingerprint": _params_fingerprint(spec),
        "lineage": lineage,
    }


def _history(folder: Path) -> tuple[list[Event], Event]:
    if not (folder / EVENTS).exists():
        raise TrackingError(f"{folder}: no {EVENTS}: run the stage that records it, or restore it")
    events, _ = read_events(folder / EVENTS)
    return events, _first(events, folder)


def _first(events: list[Event], folder: Path) -> Event:
    if not events or events[0].kind != "open":
        raise TrackingError(f"{folder.name}: {EVENTS} does not begin with the opening of a run: restore the folder")
    return events[0]

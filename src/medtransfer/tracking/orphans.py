"""Runs that a killed process left open, or whose store was down at their end, closed and completed later."""

import logging
from collections.abc import Iterator

from filelock import FileLock, Timeout

from medtransfer.errors import TrackingError
from medtransfer.tracking.address import tracking_uri
from medtransfer.tracking.journal import EVENTS, read_events
from medtransfer.tracking.mlflow_tracker import end_run
from medtransfer.tracking.open_runs import OpenRun, marks, orphans
from medtransfer.tracking.refusals import refused
from medtransfer.tracking.shipping import Shipment, deliver
from medtransfer.tracking.store import client, find_run

REASON = {"interrupted": "its process ended without closing the run"}
"""The tag of a run that was closed for its process; it stays should the run be resumed."""
log = logging.getLogger("medtransfer.tracking")


def close_orphans(*, uri: str | None = None) -> Iterator[str]:
    """Close the runs that dead processes left open, and send what the store lacks of them; yield a line each.

    A run that is closed here can still be resumed. Runs of living processes, of other machines and of other stores stay
    as they are; so do all where the store is down, which is warned of. Nothing is imported when there is no such run.
    """
    address = tracking_uri(uri)
    try:
        if orphans(address):
            with FileLock(marks() / "sweep.lock", timeout=0):
                for run in orphans(address):
                    yield _close(run, address)
                    run.file.unlink(missing_ok=True)
    except Timeout:  # another process closes them
        return
    except TrackingError as error:
        log.warning("%s; runs of ended processes are closed at a later start", error)


def _close(run: OpenRun, address: str) -> str:
    """Close one run and return what was done.

    Raises:
        TrackingError: the store refuses, or another process goes on with the run since a moment ago.
    """
    title = f"{run.experiment} run {run.run_key[:12]}"
    if not (run.folder / EVENTS).exists():
        _end_in_store(run, address)
        return f"{title}: closed as KILLED; its process ended and its records were deleted"
    if was_open := not _is_closed(run):
        end_run(run.folder, "KILLED", REASON)
    # records that are an output of a stage are only read
    deliver(Shipment(run.folder, address, note=False))
    return f"{title}: closed as KILLED; its process ended" if was_open else f"{title}: the store has all of it now"


def _is_closed(run: OpenRun) -> bool:
    events, _ = read_events(run.folder / EVENTS)
    return bool(events) and events[-1].kind == "status"


def _end_in_store(run: OpenRun, address: str) -> None:
    store = client(address)
    with refused(store, f"run {run.run_key} was deleted meanwhile: repeat"):
        known = find_run(store, run.run_key, run.experiment)
        if known is None or known.info.status != "RUNNING":
            return
        for key, value in REASON.items():
            store.set_tag(known.info.run_id, key, value)
        store.set_terminated(known.info.run_id, "KILLED")

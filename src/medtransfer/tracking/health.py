"""The state of a tracking store, looked at without making, repairing or writing anything."""

import os
import sqlite3
from contextlib import closing

from medtransfer.errors import TrackingError
from medtransfer.tracking.address import database_file
from medtransfer.tracking.database import _is_half_made
from medtransfer.tracking.open_runs import orphans
from medtransfer.tracking.refusals import meaning
from medtransfer.tracking.store import client


def store_state(address: str) -> str:
    """Return in words what a store holds: not made yet, or its number of experiments and of runs that a kill left open.

    Args:
        address: tracking address, as ``tracking_uri`` returns it.

    Raises:
        TrackingError: it cannot be reached, read or written, or its making was interrupted; says what to do.
    """
    if address.startswith("sqlite"):
        file = database_file(address)
        known = next(place for place in (file, *file.parents) if place.exists())
        if not os.access(known, os.W_OK) or (file.exists() and not os.access(file.parent, os.W_OK)):
            raise TrackingError(f"{file.name}: cannot be written; give yourself the right to write it and its folder")
        if not file.exists():
            return "not made yet; the first run makes it"
        if _is_half_made(file):
            return "half-made by a killed process; the next run moves it aside"
        _require_whole(address)
    elif not address.startswith("http") and not _has_tables(address):
        return "not made yet; the first run makes its tables"
    from mlflow.exceptions import MlflowException

    try:
        count = len(client(address).search_experiments())
    except MlflowException as error:
        raise TrackingError(meaning(address, error)) from error
    left = orphans(address)
    return f"{count} experiments" + (
        f", {len(left)} runs of killed processes, which the next fit closes" if left else ""
    )


def _has_tables(address: str) -> bool:
    """Return whether a database holds MLflow's tables, which opening it as a store would make."""
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError

    try:
        engine = create_engine(address)
        with closing(engine.connect()) as connection:
            return inspect(connection).has_table("experiments")
    except (SQLAlchemyError, ImportError) as error:
        raise TrackingError(meaning(address, error)) from error


def _require_whole(address: str) -> None:
    """Read the file's own list of tables: MLflow tries a damaged one again for minutes."""
    try:
        with closing(sqlite3.connect(database_file(address), timeout=10)) as store:
            store.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        raise TrackingError(meaning(address, error)) from error

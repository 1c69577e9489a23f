"""A project that was moved or copied: its local store still names the old folder as the place of every artefact."""

import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlsplit

from medtransfer.errors import TrackingError
from medtransfer.paths import workspace
from medtransfer.tracking.address import database_file, portable_uri, tracking_uri
from medtransfer.tracking.refusals import meaning

FOLDER = "mlartifacts"
_LOCATIONS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)


def relink(uri: str | None = None) -> int:
    """Let every artefact location that leads nowhere point into this workspace; return how many were changed.

    A location is changed if its file or folder is not there and the same one exists below ``mlartifacts`` here, so
    whatever lies elsewhere stays as it is. All changes are one transaction.

    Raises:
        TrackingError: the store is a server or another database, whose locations are its administrator's, or it
            cannot be changed.
    """
    address = tracking_uri(uri)
    path = database_file(address)
    if not address.startswith("sqlite"):
        raise TrackingError(f"{portable_uri(address)}: only the locations of a local mlflow.db can be changed")
    if not path.is_file():
        raise TrackingError(f"{portable_uri(address)}: there is no such file: run this in the project's folder")
    changed = 0
    try:
        with sqlite3.connect(path) as store:
            for table, column in _LOCATIONS:
                known = store.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL").fetchall()
                for (old,) in known:
                    if new := _moved(old):
                        rows = store.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (new, old))
                        changed += rows.rowcount
    except sqlite3.Error as error:
        raise TrackingError(meaning(address, error)) from error
    return changed


def _moved(location: str) -> str:
    """Return where a location is now; empty if it need not or cannot be changed."""
    parts = urlsplit(location)
    old = Path(unquote(parts.path))
    if parts.scheme not in ("", "file") or FOLDER not in old.parts or old.exists():
        return ""
    behind = old.parts[old.parts.index(FOLDER) + 1 :]
    new = workspace().absolute().joinpath(FOLDER, *behind)
    known = new if len(behind) < 2 else new.parent
    if not (new.exists() or known.exists()):
        return ""
    return new.as_uri() if parts.scheme else str(new)

"""The address of a tracking store: which one is used, and how it is written beside results."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from medtransfer.errors import TrackingError
from medtransfer.paths import workspace

UI = "http://127.0.0.1:5000"
"""Where ``make ui`` serves the runs of a database."""
SQL_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}


def tracking_uri(uri: str | None = None) -> str:
    """Return the given address, else ``MLFLOW_TRACKING_URI``, else ``sqlite:///<workspace>/mlflow.db`` (absolute).

    Raises:
        TrackingError: the scheme is not a database or a server.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or _local()
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme not in {"sqlite", "http", "https", *SQL_PORTS}:
        raise TrackingError(
            f"the tracking address has the scheme {scheme!r}: use sqlite:///, postgresql+psycopg://, mysql://, http:// "
            "or https:// (MLflow's file store is retired)"
        )
    return uri


def portable_uri(uri: str) -> str:
    """Return the address without credentials, options and absolute folders, fit to be written beside results."""
    parts = urlsplit(uri)
    if parts.scheme.startswith("sqlite"):
        path, root = database_file(uri), workspace().absolute()
        return f"sqlite:///{path.relative_to(root) if path.is_relative_to(root) else path.name}"
    host = parts.hostname or ""
    return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"


def ui_address(uri: str) -> str:
    """Return where a browser finds the runs of a store: the server itself or, for a database, ``make ui``."""
    return portable_uri(uri).rstrip("/") if uri.startswith("http") else UI


def database_file(uri: str) -> Path:
    """Return the file of a SQLite address."""
    return Path(unquote(uri.split("///", 1)[-1].partition("?")[0]))


def _local() -> str:
    """Return the address of the workspace's own store; SQLAlchemy reads % as the beginning of an escape."""
    return f"sqlite:///{workspace().absolute() / 'mlflow.db'}".replace("%", "%25")

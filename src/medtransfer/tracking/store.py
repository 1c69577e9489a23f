"""The MLflow store: address, schema, experiments, and the one way to find a run (by its run key)."""

import hashlib
import os
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from medtransfer.errors import TrackingError
from medtransfer.paths import below, workspace
from medtransfer.tracking.address import SQL_PORTS, database_file, portable_uri, tracking_uri
from medtransfer.tracking.database import make_database
from medtransfer.tracking.names import check_run_key
from medtransfer.tracking.refusals import meaning

if TYPE_CHECKING:
    from filelock import BaseFileLock

RUN_KEY = "medtransfer.run_key"
SHIPPED = "medtransfer.shipped"
DESCRIPTION = "mlflow.note.content"
_CONNECT_SECONDS = 3.0


def prepare_store(uri: str | None = None) -> None:
    """Create the schema of a database store once, however many processes open it at the same time.

    A server (http) makes its own schema. Raises ``TrackingError`` when a database cannot be reached, or has a schema of
    another MLflow version.
    """
    client(uri)


def client(uri: str | None = None, *, new: bool = True) -> Any:
    """Return an ``MlflowClient`` of a prepared store, which tracks runs and holds the model registry.

    Args:
        uri: tracking address.
        new: make a local store that does not exist yet; otherwise that is refused.
    """
    address = tracking_uri(uri)
    if not new and address.startswith("sqlite") and not database_file(address).is_file():
        raise TrackingError(
            f"{portable_uri(address)}: there is no such store; run this in the folder of a project, or set "
            "MLFLOW_TRACKING_URI"
        )
    import_mlflow()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    if address.startswith("http"):
        return MlflowClient(address, registry_uri=address)
    _reach(address)
    try:
        with _schema_lock(address):
            if address.startswith("sqlite"):
                make_database(database_file(address))
            made = MlflowClient(address, registry_uri=address)
            made.search_experiments(max_results=1)  # the first use of a database store creates its tables
    except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
        raise TrackingError(meaning(address, error)) from error
    return made


def import_mlflow() -> Any:
    """Import MLflow with pickles refused, telemetry off and short waits for a server that is down."""
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    import mlflow

    return mlflow


def experiment_id(store: Any, name: str, *, description: str = "", uri: str | None = None) -> str:
    """Return the id of an experiment, which is created (with its description) when it does not exist.

    Raises:
        TrackingError: the experiment was deleted in the store.
    """
    from mlflow.exceptions import MlflowException

    if (known := store.get_experiment_by_name(name)) is None:
        try:
            return str(store.create_experiment(name, artefact_folder(name, uri), tags={DESCRIPTION: description}))
        except MlflowException:
            if (known := store.get_experiment_by_name(name)) is None:  # another process was not faster: a real refusal
                raise
    if known.lifecycle_stage != "active":
        raise TrackingError(f"experiment {name!r} was deleted in the tracking store: restore it or choose another name")
    return str(known.experiment_id)


def find_run(store: Any, run_key: str, experiment: str) -> Any:
    """Return the MLflow run that carries a run key, or None."""
    if (home := store.get_experiment_by_name(experiment)) is None:
        return None
    query = f"tags.`{RUN_KEY}` = '{check_run_key(run_key)}'"
    runs = store.search_runs([home.experiment_id], query, max_results=1)
    return runs[0] if runs else None


def artefact_folder(experiment: str, uri: str | None) -> str | None:
    """Return the artefact folder of an experiment; None = the server decides."""
    if tracking_uri(uri).startswith("http"):
        return None
    return below(workspace().absolute() / "mlartifacts", experiment, "experiment").as_uri()


def _schema_lock(address: str) -> "BaseFileLock":
    from filelock import FileLock

    if address.startswith("sqlite"):
        database = database_file(address)
        database.parent.mkdir(parents=True, exist_ok=True)
        return FileLock(database.with_name(f"{database.name}.lock"))
    digest = hashlib.sha256(address.encode()).hexdigest()[:16]
    return FileLock(Path(tempfile.gettempdir()) / f"medtransfer-schema-{digest}.lock")


def _reach(address: str) -> None:
    """Fail within seconds when a database server does not listen (SQLAlchemy's own retries take minutes)."""
    parts = urlsplit(address)
    port = parts.port or SQL_PORTS.get(parts.scheme.partition("+")[0])
    if not parts.hostname or port is None:
        return
    try:
        socket.create_connection((parts.hostname, port), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise TrackingError(f"{portable_uri(address)}: the tracking database does not answer ({error})") from error

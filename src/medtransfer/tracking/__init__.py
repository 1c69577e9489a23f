"""What happened: runs recorded in a journal and shipped to MLflow, lineage, and the model registry."""

from medtransfer.tracking.lineage import collect_lineage
from medtransfer.tracking.mlflow_tracker import append, close_run, finish, import_run, open_run, replay
from medtransfer.tracking.promotions import promote, promotions, rollback
from medtransfer.tracking.registry import fetch_model, register_model
from medtransfer.tracking.store import prepare_store
from medtransfer.tracking.tracker import DatasetInput, MemoryTracker, NullTracker, RunSpec, Tracker
from medtransfer.tracking.views import RunView, save_view

__all__ = [
    "DatasetInput",
    "MemoryTracker",
    "NullTracker",
    "RunSpec",
    "RunView",
    "Tracker",
    "append",
    "close_run",
    "collect_lineage",
    "fetch_model",
    "finish",
    "import_run",
    "open_run",
    "prepare_store",
    "promote",
    "promotions",
    "register_model",
    "replay",
    "rollback",
    "save_view",
]

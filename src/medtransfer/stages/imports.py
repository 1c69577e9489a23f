"""``medtransfer import [FOLDER]``: runs of restored or copied outputs enter the tracker, each once."""

from argparse import Namespace

from medtransfer.errors import DataError
from medtransfer.tracking.mlflow_tracker import import_run
from medtransfer.training.progress import console


def run(options: Namespace) -> None:
    """Import every run recorded below the folder."""
    records = sorted(path.parent for path in options.folder.rglob("run.json"))
    if not records:
        raise DataError(f"{options.folder}: no run.json below it; give a folder of stage outputs")
    for folder in records:
        console.print(f"{folder}: run {import_run(folder)}")
    console.print("test metrics and figures are added by: medtransfer score <study>")

"""``medtransfer import [FOLDER]``: add the runs of restored or copied outputs to the tracker, each once."""

from argparse import Namespace

from medtransfer.errors import DataError
from medtransfer.stages import leftovers
from medtransfer.tracking.mlflow_tracker import import_run
from medtransfer.training.progress import console


def run(options: Namespace) -> None:
    """Import every run recorded below the folder."""
    records = sorted(path.parent for path in options.folder.rglob("run.json"))
    if not records:
        raise DataError(f"{options.folder}: there is no run.json below it; give a folder of stage outputs")
    leftovers.clear()
    for folder in records:
        console.print(f"{folder}: run {import_run(folder)}")
    console.print("to add test metrics and figures, run: medtransfer score <study>")

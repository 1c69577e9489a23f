"""What killed processes left behind, cleared away before new work: open runs and unfinished files."""

from medtransfer import paths
from medtransfer.files import remove_leftovers
from medtransfer.tracking.orphans import close_orphans
from medtransfer.training.progress import console


def clear() -> None:
    """Close orphaned runs and delete unfinished files below ``out/``, ``metrics/`` and ``.scratch/``, and say so."""
    for line in close_orphans():
        console.print(line, markup=False, soft_wrap=True)
    for folder in (paths.OUT, paths.METRICS, paths.SCRATCH):
        for path in remove_leftovers(paths.workspace() / folder):
            console.print(
                f"{path.relative_to(paths.workspace())}: unfinished, its process ended; deleted",
                markup=False,
                soft_wrap=True,
            )

"""Marks of the runs that a process is recording, so that those of a killed process are found and closed.

A mark is ``.scratch/tracking/open/<run key>.json``. It is made when a run is opened and removed when the store
has all of it: what is left of a process that is gone is a run that is open, or that its store shows as open.
"""

from dataclasses import dataclass
from pathlib import Path

from medtransfer.errors import TrackingError
from medtransfer.files import read_json, write_json
from medtransfer.paths import SCRATCH, workspace
from medtransfer.processes import is_gone, this_process
from medtransfer.tracking.address import portable_uri
from medtransfer.tracking.names import check_run_key


@dataclass(frozen=True)
class OpenRun:
    """A mark: its file, the run, the folder of its journal, the process that records, the store without credentials."""

    file: Path
    run_key: str
    experiment: str
    folder: Path
    process: str
    store: str

    @property
    def is_orphan(self) -> bool:
        """Whether its process was on this machine and is gone."""
        return is_gone(self.process)


def marks() -> Path:
    """Return the folder of the marks."""
    return workspace() / SCRATCH / "tracking" / "open"


def mark_open(run_key: str, experiment: str, folder: Path, address: str) -> Path:
    """Mark a run as recorded by this process; return the mark, to be deleted when its store has everything."""
    file = (marks() / f"{check_run_key(run_key)}.json").absolute()
    place = folder.absolute()
    if place.is_relative_to(workspace().absolute()):
        place = place.relative_to(workspace().absolute())  # a project that is moved takes its marks with it
    body = {"experiment": experiment, "folder": str(place), "process": this_process(), "store": portable_uri(address)}
    write_json(file, body)
    return file


def orphans(address: str) -> list[OpenRun]:
    """Return the marked runs of processes that are gone and that record in this store.

    Raises:
        TrackingError: a mark is damaged.
    """
    found = [_read(file) for file in sorted(marks().glob("*.json"))]
    return [run for run in found if run.store == portable_uri(address) and run.is_orphan]


def _read(file: Path) -> OpenRun:
    try:
        body = read_json(file)
        folder = workspace() / body["folder"]
        run = OpenRun(file, check_run_key(file.stem), body["experiment"], folder, body["process"], body["store"])
        is_gone(run.process)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrackingError(f"{file}: not a readable mark of an open run; delete it") from error
    return run

"""A tracker that writes to a journal and keeps artefact files beside it; nothing here knows MLflow."""

import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtransfer.config import flatten
from medtransfer.errors import TrackingError
from medtransfer.files import write_atomic, write_text
from medtransfer.tracking.journal import Journal
from medtransfer.tracking.names import artefact_path, check_key, refuse_weights
from medtransfer.tracking.tracker import DatasetInput, Status

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ARTEFACTS = "artifacts"


class Recorder:
    """The ``Tracker`` of a running fit: every call is one appended line, artefacts are files in ``folder/artifacts``.

    ``on_points(n)`` is told how many metric points were added, so that a shipper can flush on a size bound; ``system``
    gives the system metrics that are due at a step, which join the values of that call.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        on_points: Callable[[int], None] = lambda count: None,
        system: Callable[[int], Mapping[str, float]] = lambda step: {},
    ) -> None:
        self._journal = journal
        self._artefacts = journal.path.parent / ARTEFACTS
        self._on_points, self._system = on_points, system
        self._params = _recorded_params(journal)
        self._checked: set[str] = set()
        self._closed = False

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters, nested ones under dotted names; see ``Tracker.params``."""
        flat = {key: str(value) for key, value in flatten(values).items()}
        for key, value in flat.items():
            check_key(key)
            if self._params.get(key, value) != value:
                raise TrackingError(
                    f"parameter {key} is {self._params[key]} in this run and cannot become {value}: start another run"
                )
        new = {key: value for key, value in flat.items() if key not in self._params}
        if new:
            self._record("params", {"values": new})
            self._params.update(new)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record metric points; see ``Tracker.metrics``. NaN and infinity are kept."""
        for key in values:
            if key not in self._checked:
                check_key(key)
                self._checked.add(key)
        self._open()
        if count := self._journal.append_points({**values, **self._system(step)}, step):
            self._on_points(count)

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags; see ``Tracker.tags``."""
        for key in values:
            check_key(key)
        self._record("tags", {"values": {key: str(value) for key, value in values.items()}})

    def text(self, name: str, content: str) -> None:
        """Store a text artefact; see ``Tracker.text``."""
        self._artefact(name, lambda path: write_text(path, content))

    def figure(self, name: str, figure: "Figure") -> None:
        """Store a figure; see ``Tracker.figure``."""
        kind = name.rpartition(".")[2]
        if kind not in ("png", "svg", "pdf"):
            raise TrackingError(f"figure {name!r}: the name must end in .png, .svg or .pdf")
        self._artefact(name, lambda path: write_atomic(path, lambda staged: figure.savefig(staged, format=kind)))

    def file(self, path: Path, folder: str) -> None:
        """Store a copy of a file; see ``Tracker.file``. Weights are refused."""
        if not path.is_file():
            raise TrackingError(f"{path}: no such file to track")
        name = f"{folder}/{path.name}" if folder else path.name
        self._artefact(name, lambda target: write_atomic(target, partial(_copy, path)))

    def dataset(self, dataset: DatasetInput) -> None:
        """Record a data set; see ``Tracker.dataset``."""
        self._record("dataset", dataset.model_dump())

    def close(self, status: Status) -> None:
        """End the run and flush the journal to disk; a second call does nothing."""
        if not self._closed:
            self._record("status", {"status": status})
            self._closed = True
            self._journal.close()

    def leave(self) -> None:
        """Stop recording without ending the run (for stages that append to a finished run)."""
        self._closed = True
        self._journal.close()

    def _artefact(self, name: str, write: Callable[[Path], None]) -> None:
        refuse_weights(name)
        self._open()
        write(artefact_path(self._artefacts, name))
        self._record("artefact", {"name": name})

    def _record(self, kind: str, body: Mapping[str, Any]) -> None:
        self._open()
        self._journal.append(kind, body)

    def _open(self) -> None:
        if self._closed:
            raise TrackingError("the run is closed: record before leaving its with-block")


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _recorded_params(journal: Journal) -> dict[str, str]:
    known: dict[str, str] = {}
    for event in journal.events:
        if event.kind == "params":
            known.update(event.body["values"])
    return known

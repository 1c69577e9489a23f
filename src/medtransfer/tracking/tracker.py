"""What training and evaluation see of tracking: the ``Tracker`` contract, a silent one and one in memory."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import Field

from medtransfer.config import Config, Name

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Status = Literal["FINISHED", "FAILED", "KILLED"]


class DatasetInput(Config):
    """One data set that a run reads: its name, content digest (DVC md5), relative path and split."""

    name: str = Field(min_length=1, max_length=500)
    digest: str = Field(min_length=1, max_length=36)
    path: str = ""
    split: str = "train"


class RunSpec(Config):
    """Everything that is known about a run before it starts.

    Attributes:
        experiment: MLflow experiment, one per study.
        name: Readable name, ``finetune · resnet50+5attn · stl_n→stl_m · seed 0``.
        description: Shown as the experiment's description when this run creates the experiment.
        tags: For filters and group-by.
        params: Nested or flat parameters; they are tracked under dotted names.
        datasets: Data sets that the run reads.
        parents: Run keys of the fits whose checkpoints this run starts from.
        nested_in: Run key of the run below which the tracker's pages show this one; empty = at the top.
    """

    experiment: Name
    name: str = Field(min_length=1, max_length=500)
    description: str = ""
    tags: dict[str, str] = Field(default_factory=dict)
    params: dict[str, Any] = Field(default_factory=dict)
    datasets: tuple[DatasetInput, ...] = ()
    parents: tuple[str, ...] = ()
    nested_in: str = ""


class Tracker(Protocol):
    """Where a run's events go. No method waits for a server; none does anything unless a class says how."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters; a parameter is written once, another value for it is an error."""
        return

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record metric points at a step; a point that is already recorded is dropped."""
        return

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags; the last value counts."""
        return

    def text(self, name: str, content: str) -> None:
        """Store a text artefact under a relative name."""
        return

    def figure(self, name: str, figure: "Figure") -> None:
        """Store a matplotlib figure under a relative name that ends in .png, .svg or .pdf."""
        return

    def file(self, path: Path, folder: str) -> None:
        """Store a copy of a file in an artefact folder (empty = top)."""
        return

    def dataset(self, dataset: DatasetInput) -> None:
        """Record a data set that the run reads."""
        return

    def close(self, status: Status) -> None:
        """End the run; later calls are errors, a second ``close`` does nothing."""
        return


class NullTracker(Tracker):
    """Records nothing; for ranks other than 0 and for runs without tracking."""


class MemoryTracker(Tracker):
    """Keeps everything in lists and dictionaries, for tests."""

    def __init__(self) -> None:
        self.recorded_params: dict[str, Any] = {}
        self.points: list[tuple[str, int, float]] = []
        self.recorded_tags: dict[str, str] = {}
        self.artefacts: dict[str, Any] = {}
        self.datasets: list[DatasetInput] = []
        self.status: Status | None = None

    def params(self, values: Mapping[str, Any]) -> None:
        """Keep parameters."""
        self.recorded_params.update(values)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Keep ``(key, step, value)`` triples."""
        self.points.extend((key, step, float(value)) for key, value in values.items())

    def tags(self, values: Mapping[str, str]) -> None:
        """Keep tags."""
        self.recorded_tags.update(values)

    def text(self, name: str, content: str) -> None:
        """Keep the text."""
        self.artefacts[name] = content

    def figure(self, name: str, figure: "Figure") -> None:
        """Keep the figure."""
        self.artefacts[name] = figure

    def file(self, path: Path, folder: str) -> None:
        """Keep the path."""
        self.artefacts[f"{folder}/{path.name}".lstrip("/")] = path

    def dataset(self, dataset: DatasetInput) -> None:
        """Keep the data set."""
        self.datasets.append(dataset)

    def close(self, status: Status) -> None:
        """Keep the first status."""
        self.status = self.status or status
